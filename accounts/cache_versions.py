"""Database triggers that raise a topic's version whenever a row behind its cached lookups changes.

A trigger cannot be forgotten: whoever changes the row, by whichever path, the version rises in the same transaction.
Called by migrations; `lookups` reads the versions.
"""

from collections.abc import Iterable

from django.db.backends.base.schema import BaseDatabaseSchemaEditor

EVERY_CHANGE = ("INSERT", "UPDATE", "DELETE")
RAISE = """INSERT INTO accounts_cacheversion (topic, version) VALUES ('{topic}', 1)
           ON CONFLICT (topic) DO UPDATE SET version = accounts_cacheversion.version + 1"""


def watch(
    schema_editor: BaseDatabaseSchemaEditor, topic: str, table: str, verbs: Iterable[str] = EVERY_CHANGE
) -> None:
    """Let changes of the table raise the topic's version; a verb may name columns: `UPDATE OF expires_at`."""
    make = {"postgresql": _postgresql, "sqlite": _sqlite}[schema_editor.connection.vendor]
    for statement in make(topic, table, verbs):
        schema_editor.execute(statement)


def _postgresql(topic: str, table: str, verbs: Iterable[str]) -> list[str]:
    function = f"{table}_raises_{topic}"
    return [
        f"""CREATE OR REPLACE FUNCTION {function}() RETURNS trigger AS $$
            BEGIN {RAISE.format(topic=topic)}; RETURN NULL; END $$ LANGUAGE plpgsql""",
        # Deferred to the commit: the version is the last row that a transaction locks, so it cannot be part of a
        # circle, and nobody reads a version whose change may still be taken back.
        f"""CREATE CONSTRAINT TRIGGER {function} AFTER {" OR ".join(verbs)} ON {table}
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {function}()""",
    ]


def _sqlite(topic: str, table: str, verbs: Iterable[str]) -> list[str]:
    return [
        f"""CREATE TRIGGER {table}_raises_{topic}_{verb.split()[0].lower()} AFTER {verb} ON {table}
            BEGIN {RAISE.format(topic=topic)}; END"""
        for verb in verbs
    ]


def unwatch(
    schema_editor: BaseDatabaseSchemaEditor, topic: str, table: str, verbs: Iterable[str] = EVERY_CHANGE
) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"DROP TRIGGER {table}_raises_{topic} ON {table}")
        schema_editor.execute(f"DROP FUNCTION {table}_raises_{topic}()")
        return
    for verb in verbs:
        schema_editor.execute(f"DROP TRIGGER {table}_raises_{topic}_{verb.split()[0].lower()}")
