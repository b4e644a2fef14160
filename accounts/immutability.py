"""Database triggers that refuse to change or delete rows of a table, whoever asks.

Called by migrations; the checks' own tests lift them to plant errors.
"""

from collections.abc import Iterable

from django.db.backends.base.schema import BaseDatabaseSchemaEditor

BOTH = ("update", "delete")


def protect(
    schema_editor: BaseDatabaseSchemaEditor, tables: Iterable[str], message: str, verbs: Iterable[str] = BOTH
) -> None:
    make = {"postgresql": _postgresql, "sqlite": _sqlite}[schema_editor.connection.vendor]
    for table in tables:
        for statement in make(table, message, verbs):
            schema_editor.execute(statement)


def _postgresql(table: str, message: str, verbs: Iterable[str]) -> list[str]:
    return [
        f"""CREATE OR REPLACE FUNCTION {table}_immutable() RETURNS trigger AS $$
            BEGIN RAISE EXCEPTION '{message}'; END $$ LANGUAGE plpgsql""",
        f"""CREATE TRIGGER {table}_immutable BEFORE {" OR ".join(verbs)} ON {table}
            FOR EACH ROW EXECUTE FUNCTION {table}_immutable()""",
    ]


def _sqlite(table: str, message: str, verbs: Iterable[str]) -> list[str]:
    return [
        f"""CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}
            BEGIN SELECT RAISE(ABORT, '{message}'); END"""
        for verb in verbs
    ]


def lift(schema_editor: BaseDatabaseSchemaEditor, tables: Iterable[str], verbs: Iterable[str] = BOTH) -> None:
    for table in tables:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"DROP TRIGGER {table}_immutable ON {table}")
        else:
            for verb in verbs:
                schema_editor.execute(f"DROP TRIGGER {table}_no_{verb}")
