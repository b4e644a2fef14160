"""Rate limits and retention per workspace."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_time_zone_and_closing")]
    operations = [
        migrations.AddField(
            model_name='entitlements',
            name='job_retention_days',
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='entitlements',
            name='picture_retention_days',
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='entitlements',
            name='polls_per_minute',
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='entitlements',
            name='requests_per_minute',
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
    ]
