from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.db import models

from accounts.models import AuditEvent, Membership, User, Workspace
from accounts.roles import Role
from accounts.tenancy import UnscopedQuery, WorkspaceManager, WorkspaceOwned

OWNED = [model for model in apps.get_models() if issubclass(model, WorkspaceOwned)]
WITH_WORKSPACE = [
    model
    for model in apps.get_models()
    if any(field.name == "workspace" and field.many_to_one for field in model._meta.get_fields())
]

UNSCOPED: dict[str, Callable[[Any], Any]] = {
    "filter": lambda objects: objects.filter(pk=1),
    "exclude": lambda objects: objects.exclude(pk=1),
    "all": lambda objects: objects.all(),
    "get": lambda objects: objects.get(pk=1),
    "count": lambda objects: objects.count(),
    "first": lambda objects: objects.first(),
    "exists": lambda objects: objects.exists(),
    "values_list": lambda objects: objects.values_list("pk"),
    "update": lambda objects: objects.update(workspace=None),
    "get_or_create": lambda objects: objects.get_or_create(pk=1),
    "in_bulk": lambda objects: objects.in_bulk(),
    "iterator": lambda objects: objects.iterator(),
}


def label(model: type[models.Model]) -> str:
    return model._meta.label


class TestUnscopedQuery:
    @pytest.mark.parametrize("query", UNSCOPED.values(), ids=UNSCOPED)
    def test_is_refused(self, query: Callable[[Any], Any]) -> None:
        with pytest.raises(UnscopedQuery, match=r"Membership\.objects needs for_workspace"):
            query(Membership.objects)

    @pytest.mark.parametrize("model", OWNED, ids=label)
    def test_is_refused_by_every_table_of_a_workspace(self, model: Any) -> None:
        with pytest.raises(UnscopedQuery):
            model.objects.all()


class TestEveryModel:
    @pytest.mark.parametrize("model", OWNED, ids=label)
    def test_of_a_workspace_uses_the_manager(self, model: type[models.Model]) -> None:
        assert type(model._default_manager) is WorkspaceManager

    @pytest.mark.parametrize("model", WITH_WORKSPACE, ids=label)
    def test_with_a_workspace_is_owned_by_it(self, model: type[models.Model]) -> None:
        assert issubclass(model, WorkspaceOwned)

    @pytest.mark.parametrize("model", OWNED, ids=label)
    def test_is_never_deleted_with_its_workspace(self, model: type[models.Model]) -> None:
        assert model._meta.get_field("workspace").remote_field.on_delete is models.PROTECT


class TestForWorkspace:
    def test_gives_only_its_own_rows(self, workspace: Workspace, charlies_workspace: Workspace) -> None:
        rows = AuditEvent.objects.for_workspace(workspace)

        assert {row.workspace_id for row in rows} == {workspace.pk}

    def test_takes_the_id_as_well(self, workspace: Workspace, charlies_workspace: Workspace) -> None:
        by_id = Membership.objects.for_workspace(workspace.pk)

        assert list(by_id) == list(Membership.objects.for_workspace(workspace))

    def test_stays_scoped_through_further_filters(
        self, workspace: Workspace, charlies_workspace: Workspace
    ) -> None:
        owners = Membership.objects.for_workspace(workspace).filter(role=Role.OWNER)

        assert [owner.workspace for owner in owners] == [workspace]


class TestAcrossWorkspaces:
    def test_gives_the_rows_of_all(self, workspace: Workspace, charlies_workspace: Workspace) -> None:
        rows = Membership.objects.across_workspaces()

        assert {row.workspace for row in rows} == {workspace, charlies_workspace}


class TestCreate:
    def test_takes_a_row_that_names_its_workspace(self, workspace: Workspace, bob: User) -> None:
        made = Membership.objects.create(workspace=workspace, user=bob, role=Role.VIEWER)

        assert made in Membership.objects.for_workspace(workspace)

    def test_takes_many_rows(self, workspace: Workspace, bob: User, charlie: User) -> None:
        rows = [Membership(workspace=workspace, user=user, role=Role.VIEWER) for user in (bob, charlie)]

        Membership.objects.bulk_create(rows)

        assert Membership.objects.for_workspace(workspace).filter(role=Role.VIEWER).count() == 2
