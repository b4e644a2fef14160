"""Row-level security on the outbox (PostgreSQL): what is to happen for a workspace is its own."""

from django.db import migrations

from accounts import row_security

TABLES = ("accounts_outboxmessage",)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0011_rows_show_to_their_workspace")]
    operations = [
        migrations.RunPython(
            lambda apps, schema_editor: row_security.enable(schema_editor, TABLES),
            lambda apps, schema_editor: row_security.disable(schema_editor, TABLES),
        )
    ]
