"""The zone of a workspace's periods, and the date on which it is deleted."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_keys_begin_their_lineages")]
    operations = [
        migrations.AddField(
            model_name='workspace',
            name='closing_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='workspace',
            name='earlier_time_zone',
            field=models.CharField(blank=True, max_length=64),
        ),
        migrations.AddField(
            model_name='workspace',
            name='time_zone',
            field=models.CharField(default='UTC', max_length=64),
        ),
        migrations.AddField(
            model_name='workspace',
            name='time_zone_changed_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
