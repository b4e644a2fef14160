"""The balance row tells whoever locks it that quotas have changed."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0006_rows_show_to_their_workspace'),
    ]

    operations = [
        migrations.AddField(
            model_name='balance',
            name='limits_version',
            field=models.PositiveBigIntegerField(db_default=0),
        ),
    ]
