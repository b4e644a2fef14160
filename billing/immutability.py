"""Database triggers that refuse to change or delete ledger rows, whoever asks.

Called by the migration; the checks' own tests lift them to plant errors.
"""

from django.db.backends.base.schema import BaseDatabaseSchemaEditor

TABLES = ("billing_operation", "billing_entry")
MESSAGE = "ledger rows are never changed or deleted; post a new operation"


def _postgresql(table: str) -> list[str]:
    return [
        f"""CREATE OR REPLACE FUNCTION {table}_immutable() RETURNS trigger AS $$
            BEGIN RAISE EXCEPTION '{MESSAGE}'; END $$ LANGUAGE plpgsql""",
        f"""CREATE TRIGGER {table}_immutable BEFORE UPDATE OR DELETE ON {table}
            FOR EACH ROW EXECUTE FUNCTION {table}_immutable()""",
    ]


def _sqlite(table: str) -> list[str]:
    return [
        f"""CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}
            BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"""
        for verb in ("update", "delete")
    ]


def protect(schema_editor: BaseDatabaseSchemaEditor) -> None:
    make = {"postgresql": _postgresql, "sqlite": _sqlite}[schema_editor.connection.vendor]
    for table in TABLES:
        for statement in make(table):
            schema_editor.execute(statement)


def lift(schema_editor: BaseDatabaseSchemaEditor) -> None:
    for table in TABLES:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"DROP TRIGGER {table}_immutable ON {table}")
        else:
            schema_editor.execute(f"DROP TRIGGER {table}_no_update")
            schema_editor.execute(f"DROP TRIGGER {table}_no_delete")
