"""Versions of cached lookups."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0006_quotas")]
    operations = [
        migrations.CreateModel(
            name='CacheVersion',
            fields=[
                ('topic', models.CharField(max_length=20, primary_key=True, serialize=False)),
                ('version', models.PositiveBigIntegerField(default=1)),
            ],
        ),
    ]
