"""Row-level security on the tables of a tenant (PostgreSQL)."""

from django.db import migrations

from accounts import row_security

TABLES = (
    "accounts_membership",
    "accounts_apikey",
    "accounts_workspacekeyring",
    "accounts_entitlements",
    "accounts_quota",
    "accounts_auditevent",
    "accounts_auditseal",
    "accounts_sealedevent",
)


def enable(apps, schema_editor):
    row_security.enable(schema_editor, TABLES)
    row_security.enable(schema_editor, ("accounts_workspace",), column="id")


def disable(apps, schema_editor):
    row_security.disable(schema_editor, (*TABLES, "accounts_workspace"))


class Migration(migrations.Migration):
    dependencies = [("accounts", "0010_audit_is_immutable")]
    operations = [migrations.RunPython(enable, disable)]
