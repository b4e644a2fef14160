"""Row-level security on the tables of a tenant (PostgreSQL)."""

from django.db import migrations

from accounts import row_security

TABLES = ("billing_balance", "billing_grant", "billing_operation", "billing_entry", "billing_usagerecord")


class Migration(migrations.Migration):
    dependencies = [("billing", "0005_prices_raise_cache_versions")]
    operations = [
        migrations.RunPython(
            lambda apps, schema_editor: row_security.enable(schema_editor, TABLES),
            lambda apps, schema_editor: row_security.disable(schema_editor, TABLES),
        )
    ]
