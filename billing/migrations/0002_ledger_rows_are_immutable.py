"""Triggers that refuse UPDATE and DELETE on operations and entries."""

from django.db import migrations

from billing import immutability


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]
    operations = [
        migrations.RunPython(
            lambda apps, schema_editor: immutability.protect(schema_editor),
            lambda apps, schema_editor: immutability.lift(schema_editor),
        )
    ]
