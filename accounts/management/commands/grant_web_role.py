"""`manage.py grant_web_role ROLE`: what a web process may do in PostgreSQL, and no more.

Run it with the tables' owner after every migration. A role without superuser and BYPASSRLS is bound by the policies
of `row_security`; what it is not granted, no mistake of a web process can do: rows that triggers hold immutable, such
as those of the ledger and the audit, can be added and read by it, not changed.
"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

# `immutability` names its triggers after the table.
IMMUTABLE = """
    SELECT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = current_schema()::regnamespace AND t.tgname = c.relname || '_immutable'
    ORDER BY c.relname"""

# Written by the sealer alone, which is no web process.
SEALS = ("accounts_auditseal", "accounts_sealedevent")


class Command(BaseCommand):
    help = "Grant a PostgreSQL role what a web process needs. Run it again after each migration."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("role", help="an existing role without superuser and BYPASSRLS")

    def handle(self, *args: Any, **options: Any) -> None:
        if connection.vendor != "postgresql":
            raise CommandError("Roles are PostgreSQL's; this database has none.")
        with transaction.atomic(), connection.cursor() as cursor:
            _refuse_unfit(cursor, options["role"])
            for grant in _grants(cursor, options["role"]):
                cursor.execute(grant)
                self.stdout.write(f"{grant};")


def _refuse_unfit(cursor: CursorWrapper, role: str) -> None:
    cursor.execute("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = %s", [role])
    row = cursor.fetchone()
    if row is None:
        raise CommandError(f"There is no role {role!r}. Make it first: CREATE ROLE ... LOGIN PASSWORD '...'.")
    if row[0]:
        raise CommandError(
            f"The role {role!r} passes by row-level security: it is superuser or has BYPASSRLS."
        )


def _grants(cursor: CursorWrapper, role: str) -> list[str]:
    """Statements that leave the role with exactly this, whatever it had in our schema before."""
    cursor.execute("SELECT quote_ident(current_schema())")
    (schema,) = cursor.fetchone()
    cursor.execute(IMMUTABLE)
    immutable = ", ".join(connection.ops.quote_name(table) for (table,) in cursor.fetchall())
    if not immutable:
        raise CommandError("The tables are missing. Run: manage.py migrate")
    to = connection.ops.quote_name(role)
    return [
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {to}",
        f"GRANT USAGE ON SCHEMA {schema} TO {to}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {to}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {to}",
        f"REVOKE UPDATE, DELETE ON {immutable} FROM {to}",
        f"REVOKE INSERT ON {', '.join(SEALS)} FROM {to}",
    ]
