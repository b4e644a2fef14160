"""Triggers that refuse UPDATE and DELETE on audit events and their seals."""

from django.db import migrations

from accounts import audit, immutability


class Migration(migrations.Migration):
    dependencies = [("accounts", "0009_audit_seals")]
    operations = [
        migrations.RunPython(
            lambda apps, schema_editor: immutability.protect(schema_editor, audit.TABLES, audit.IMMUTABLE),
            lambda apps, schema_editor: immutability.lift(schema_editor, audit.TABLES),
        )
    ]
