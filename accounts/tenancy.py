"""Rows that belong to a workspace cannot be queried without naming one.

`objects.for_workspace(workspace)` is the way for everything a tenant triggers. Clocks, workers and checks that
serve all tenants say so with `objects.across_workspaces()`. Any other query on the manager raises, so a
forgotten filter is an error in the first test, not a leak.

Behind that stands PostgreSQL's own wall (`row_security`): the web process works in `reading(workspace)` and
`writing(workspace)`, transactions that show the rows of that workspace and no others, whatever the query forgets.
Workers and commands, which serve everybody, connect as a role that the wall does not bind.
"""

import contextlib
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Never, TypeVar

from django.db import connection, models, transaction

from accounts import clock
from accounts.row_security import EVERYBODY, VARIABLE

if TYPE_CHECKING:
    from accounts.models import Workspace

Row = TypeVar("Row", bound=models.Model)

# In place of a workspace's id: whoever authenticates, watches or opens a signed address looks at all tenants.
EVERY_WORKSPACE: Final = EVERYBODY
Served = uuid.UUID | str


class UnscopedQuery(RuntimeError):
    """A tenant's table was queried without a workspace."""


class WorkspaceManager(models.Manager[Row]):
    """Hands out querysets of one workspace only; `create` and `bulk_create` take rows that name theirs."""

    def get_queryset(self) -> Never:
        raise UnscopedQuery(f"{self.model.__name__}.objects needs for_workspace(...) or across_workspaces().")

    def for_workspace(self, workspace: "Workspace | uuid.UUID") -> models.QuerySet[Row]:
        workspace_id = workspace if isinstance(workspace, uuid.UUID) else workspace.pk
        return self.across_workspaces().filter(workspace_id=workspace_id)

    def across_workspaces(self) -> models.QuerySet[Row]:
        return models.QuerySet(self.model, using=self._db)

    def create(self, **fields: Any) -> Row:
        return self.across_workspaces().create(**fields)

    def bulk_create(self, objs: Iterable[Row], *args: Any, **options: Any) -> list[Row]:
        return self.across_workspaces().bulk_create(objs, *args, **options)


class WorkspaceOwned(models.Model):
    """Abstract base of every table that holds a tenant's rows."""

    # PROTECT: closing a workspace deletes by its own rules, never by a cascade that also takes the ledger.
    workspace = models.ForeignKey("accounts.Workspace", on_delete=models.PROTECT, related_name="+")

    objects = WorkspaceManager()

    class Meta:
        abstract = True


class CrossedWorkspaces(RuntimeError):
    """Inside a transaction that serves one workspace, another one was to be served: a fault of ours."""


@contextlib.contextmanager
def writing(served: Served) -> Iterator[datetime]:
    """A transaction that serves one workspace, or EVERY_WORKSPACE; yields the database's time at its start.

    Inside another one it is a savepoint. Raises CrossedWorkspaces when that one serves a different workspace.
    """
    outer, is_inner = _served_now(), connection.in_atomic_block
    with transaction.atomic():
        with _serving(str(served)):
            yield _name(str(served))
        if is_inner and outer != str(served) and _has_wall():
            _name(outer)  # an error needs no such care: the savepoint's rollback restores the name


@contextlib.contextmanager
def reading(served: Served) -> Iterator[None]:
    """As `writing`, for queries only. On SQLite, where a transaction would keep writers waiting, it opens none."""
    if _has_wall() and _served_now() != str(served):
        with writing(served):
            yield
    else:
        with _serving(str(served)):
            yield


def is_writing(served: Served) -> bool:
    """Whether we are in a transaction that serves just this workspace."""
    return connection.in_atomic_block and _served_now() == str(served)


def _has_wall() -> bool:
    return connection.vendor == "postgresql"


def _served_now() -> str:
    return getattr(connection, "serves", "")


@contextlib.contextmanager
def _serving(wanted: str) -> Iterator[None]:
    """Keep on the connection whom it serves; from one workspace there is no way to another, nor to all."""
    outer = _served_now()
    if outer not in ("", EVERYBODY, wanted):
        raise CrossedWorkspaces(f"{wanted} was asked for inside a transaction of {outer}.")
    connection.serves = wanted  # type: ignore[attr-defined]
    try:
        yield
    finally:
        connection.serves = outer  # type: ignore[attr-defined]


def _name(served: str) -> datetime:
    """Tell the database for this transaction; returns its time, for which another round trip would be a waste."""
    if not _has_wall():
        return clock.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp(), set_config(%s, %s, true)", [VARIABLE, served])
        now: datetime = cursor.fetchone()[0]
    return now
