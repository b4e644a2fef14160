"""Changes of models raise the version of the catalogue's cached lookups."""

from django.db import migrations

from accounts import cache_versions

TABLES = ("inference_imagemodel", "inference_modelversion", "inference_modelalias")


def watch(apps, schema_editor):
    for table in TABLES:
        cache_versions.watch(schema_editor, "catalog", table)


def unwatch(apps, schema_editor):
    for table in TABLES:
        cache_versions.unwatch(schema_editor, "catalog", table)


class Migration(migrations.Migration):
    dependencies = [("inference", "0004_idempotency_of_other_resources")]
    operations = [migrations.RunPython(watch, unwatch)]
