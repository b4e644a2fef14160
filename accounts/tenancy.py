"""Rows that belong to a workspace cannot be queried without naming one.

`objects.for_workspace(workspace)` is the way for everything a tenant triggers. Clocks, workers and checks that
serve all tenants say so with `objects.across_workspaces()`. Any other query on the manager raises, so a
forgotten filter is an error in the first test, not a leak.
"""

import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Never, TypeVar

from django.db import models

if TYPE_CHECKING:
    from accounts.models import Workspace

Row = TypeVar("Row", bound=models.Model)


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
