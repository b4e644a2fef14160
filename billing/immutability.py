"""Which tables are the ledger's record: their rows are never changed or deleted, by database triggers."""

from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from accounts import immutability

TABLES = ("billing_operation", "billing_entry")
MESSAGE = "ledger rows are never changed or deleted; post a new operation"


def protect(schema_editor: BaseDatabaseSchemaEditor) -> None:
    immutability.protect(schema_editor, TABLES, MESSAGE)


def lift(schema_editor: BaseDatabaseSchemaEditor) -> None:
    immutability.lift(schema_editor, TABLES)
