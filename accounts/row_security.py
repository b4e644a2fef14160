"""PostgreSQL's row-level security as a second wall: the rows of a workspace show only in a transaction that serves it.

`tenancy` names the workspace at the start of a transaction in the variable `atelier.workspace`, for that transaction
alone, so a pooled connection carries nothing over. Unset means no rows; `*` means that all tenants are served.
The policies bind every role that is not superuser and has no BYPASSRLS, the tables' owner included.
Called by migrations; SQLite has no such thing.
"""

from collections.abc import Iterable

from django.db import connection
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

VARIABLE = "atelier.workspace"
EVERYBODY = "*"


def enable(
    schema_editor: BaseDatabaseSchemaEditor, tables: Iterable[str], column: str = "workspace_id"
) -> None:
    """Show and take rows of these tables only for the workspace that the transaction serves."""
    if schema_editor.connection.vendor != "postgresql":
        return
    served = f"current_setting('{VARIABLE}', true)"
    # NULLIF: the variable is empty, not unset, once another transaction of the session has had it.
    mine = f"({column}::text = NULLIF({served}, '') OR {served} = '{EVERYBODY}')"
    for table in tables:
        schema_editor.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        schema_editor.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        schema_editor.execute(f"CREATE POLICY one_workspace ON {table} USING {mine} WITH CHECK {mine}")


def disable(schema_editor: BaseDatabaseSchemaEditor, tables: Iterable[str]) -> None:
    if schema_editor.connection.vendor != "postgresql":
        return
    for table in tables:
        schema_editor.execute(f"DROP POLICY one_workspace ON {table}")
        schema_editor.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        schema_editor.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")


class WallMissing(RuntimeError):
    """The web process passes by the wall: it must connect as a role that `manage.py grant_web_role` has prepared."""


class WallInTheWay(RuntimeError):
    """Work for all workspaces would see none: it must connect as superuser or a role with BYPASSRLS."""


def require_wall() -> None:
    """Raise WallMissing when PostgreSQL would show us everybody's rows; SQLite has no such wall."""
    if connection.vendor == "postgresql" and not is_binding():
        raise WallMissing(WallMissing.__doc__)


def require_no_wall() -> None:
    """Raise WallInTheWay when PostgreSQL would hide the rows that we are to work on."""
    if connection.vendor == "postgresql" and is_binding():
        raise WallInTheWay(WallInTheWay.__doc__)


def is_binding() -> bool:
    """Whether the role that we are connected as is bound by the policies."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
        (passes,) = cursor.fetchone()
    return not passes
