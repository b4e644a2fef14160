"""Retention finds ended jobs by their age."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0011_rows_show_to_their_workspace'),
        ('inference', '0006_rows_show_to_their_workspace'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('finished_at__isnull', False)), fields=['finished_at'], name='job_by_end'),
        ),
    ]
