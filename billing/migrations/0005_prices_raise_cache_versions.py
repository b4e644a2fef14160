"""Changes of prices raise the version of the catalogue's cached lookups."""

from django.db import migrations

from accounts import cache_versions

TABLES = ("billing_pricebook", "billing_price")


def watch(apps, schema_editor):
    for table in TABLES:
        cache_versions.watch(schema_editor, "catalog", table)


def unwatch(apps, schema_editor):
    for table in TABLES:
        cache_versions.unwatch(schema_editor, "catalog", table)


class Migration(migrations.Migration):
    dependencies = [("billing", "0004_usage_was_accepted")]
    operations = [migrations.RunPython(watch, unwatch)]
