"""Reports compare usage with the settlements of the same time."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0011_rows_show_to_their_workspace'),
        ('billing', '0007_limits_version'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='operation',
            index=models.Index(condition=models.Q(('kind', 'settle')), fields=['workspace', 'side', 'created_at'], name='settlement_by_time'),
        ),
    ]
