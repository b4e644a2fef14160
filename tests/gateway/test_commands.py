"""Commands that set a deployment up."""

import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from accounts import api_keys, clock
from accounts.models import ApiKey, Scope, User
from billing import ledger
from inference import catalog


def said(*command: str, **options: Any) -> str:
    out = StringIO()
    call_command(*command, stdout=out, **options)
    return out.getvalue()


class TestCreateWorkspace:
    def test_prints_a_key_that_works(self, db: None) -> None:
        printed = said("create_workspace", "dora@example.com", "Dora's", credits=500)

        key = api_keys.authenticate(re.search(r"atl_live_\w+", printed)[0], clock.now())  # type: ignore[index]
        assert (key.workspace.name, ledger.balance(key.workspace_id).available_credits) == ("Dora's", 500)

    @pytest.mark.parametrize("options, may_manage", [({}, False), ({"admin": True}, True)])
    def test_lets_the_key_manage_the_workspace_when_asked(
        self, db: None, options: dict[str, bool], may_manage: bool
    ) -> None:
        said("create_workspace", "dora@example.com", "Dora's", **options)

        key = ApiKey.objects.across_workspaces().get()
        assert (Scope.ADMIN in key.scopes) is may_manage

    def test_gives_a_known_person_another_workspace(self, alice: User) -> None:
        said("create_workspace", "Alice@example.com", "Second")

        assert User.objects.count() == 1


class TestInstallEmbeddedModel:
    def test_may_be_run_twice(self, db: None) -> None:
        first, second = said("install_embedded_model"), said("install_embedded_model")

        assert first == second == "atelier-scenes@1 is in the catalogue.\n"
        assert [version.label for version in catalog.available()] == ["atelier-scenes@1"]


class TestRegister:
    @pytest.mark.parametrize(
        "fields", [{}, {"sizes": [[64, 64]]}, {"sizes": [], "schedulers": ["ddim"]}, {"sizes": [[64]]}]
    )
    def test_refuses_a_model_that_could_draw_nothing(self, db: None, fields: dict[str, Any]) -> None:
        new = catalog.NewModel("half", "Half", "", "fake", fields)

        with pytest.raises(catalog.InvalidModel):
            catalog.register(new)
