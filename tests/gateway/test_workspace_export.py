import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.apps import apps

from accounts import api_keys
from accounts.models import Entitlements, Membership, Side, Workspace, WorkspaceKeyring
from accounts.tenancy import WorkspaceOwned
from gateway import workspace_export
from gateway.workspace_export import PARTS, SECRET, WITH_OTHERS, Line, Part
from inference import jobs, prompts
from inference.models import JobContent, ModelVersion
from inference.prompts import TemplateText
from inference.requests import Delivery
from tests import factories


@pytest.fixture
def busy(workspace: Workspace, model: ModelVersion, bobs_membership: Membership, key: str) -> Workspace:
    """alice's workspace with a finished job of bob and a template."""
    prompts.save(workspace.pk, "house-style", TemplateText(preamble="in ink"))
    caller = factories.caller(workspace, membership=bobs_membership)
    jobs.submit(caller, factories.request("a heliotrope submarine"), Delivery(), "once")
    factories.drain()
    return workspace


def named(name: str) -> Part:
    return next(part for part in PARTS if part.name == name)


def lines_of(name: str, workspace: Workspace) -> list[Line]:
    return workspace_export.read(named(name), workspace.pk).lines


def everything(workspace: Workspace) -> str:
    lines = [line for part in PARTS for line in workspace_export.read(part, workspace.pk).lines]
    return b"".join(workspace_export.dump(line) for line in lines).decode()


class TestParts:
    def test_show_every_table_that_belongs_to_a_workspace(self) -> None:
        owned = {model for model in apps.get_models() if issubclass(model, WorkspaceOwned)}
        belonging = owned | {Workspace, Entitlements, WorkspaceKeyring}

        assert belonging == {*(part.model for part in PARTS), *WITH_OTHERS, *SECRET}

    def test_belonging_tables_are_all_that_point_at_a_workspace(self) -> None:
        """So that the test above cannot overlook a table that belongs to one in another way."""
        pointing = {
            model
            for model in apps.get_models()
            if any(field.related_model is Workspace for field in model._meta.concrete_fields)
        }
        owned = {model for model in apps.get_models() if issubclass(model, WorkspaceOwned)}

        assert pointing - owned == {Entitlements, WorkspaceKeyring}

    def test_have_names_of_their_own(self) -> None:
        assert len({part.name for part in PARTS}) == len(PARTS)

    def test_leave_out_only_columns_that_exist(self) -> None:
        columns = {part.name: {field.name for field in part.model._meta.concrete_fields} for part in PARTS}

        assert all(set(part.left_out) <= columns[part.name] for part in PARTS)


class TestRead:
    def test_shows_a_job_with_its_words(self, busy: Workspace) -> None:
        (job,) = lines_of("jobs", busy)

        assert (job["prompt"], job["negative_prompt"], job["state"]) == (
            "a heliotrope submarine",
            "",
            "succeeded",
        )

    def test_shows_a_job_whose_words_are_gone(self, busy: Workspace) -> None:
        JobContent.objects.for_workspace(busy).delete()

        (job,) = lines_of("jobs", busy)

        assert (job["prompt"], job["negative_prompt"]) == (None, None)

    def test_shows_members_with_their_address(self, busy: Workspace) -> None:
        assert [line["email"] for line in lines_of("members", busy)] == [
            "alice@example.com",
            "bob@example.com",
        ]

    def test_ties_the_tables_by_public_ids(self, busy: Workspace) -> None:
        (job,) = lines_of("jobs", busy)
        (image,) = lines_of("images", busy)
        (usage,) = lines_of("usage", busy)
        bob = lines_of("members", busy)[1]

        assert image["job_id"] == usage["reference"] == job["id"]
        assert job["membership_id"] == usage["membership_id"] == bob["id"]
        assert bob["workspace_id"] == lines_of("workspace", busy)[0]["id"]

    def test_shows_the_ledger_in_balance(self, busy: Workspace) -> None:
        entries, operations = lines_of("ledger_entries", busy), lines_of("ledger_operations", busy)

        assert sum(entry["amount_credits"] for entry in entries) == 0
        assert {entry["operation_id"] for entry in entries} == {one["id"] for one in operations}

    def test_shows_both_sides(self, busy: Workspace) -> None:
        assert {line["side"] for line in lines_of("grants", busy)} == {Side.LIVE, Side.TEST}

    def test_shows_no_secret(self, busy: Workspace) -> None:
        issued = api_keys.issue(busy, "new")
        told = everything(busy)

        assert issued.key.prefix in told
        assert issued.key.digest not in told
        assert issued.plain_text.split("_")[-1] not in told
        assert "wrapped_secret" not in told
        assert "storage_key" not in told

    def test_shows_nothing_of_others(self, busy: Workspace, charlies_workspace: Workspace) -> None:
        told = everything(charlies_workspace)

        assert str(busy.pk) not in told
        assert "heliotrope" not in told
        assert "alice" not in told.lower()

    def test_goes_on_after_the_last_row_of_a_chunk(
        self, busy: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(workspace_export, "CHUNK", 1)
        part = named("members")

        first = workspace_export.read(part, busy.pk)
        second = workspace_export.read(part, busy.pk, first.after)
        last = workspace_export.read(part, busy.pk, second.after)

        assert [line["email"] for line in (*first.lines, *second.lines)] == [
            "alice@example.com",
            "bob@example.com",
        ]
        assert (last.lines, last.after) == ([], None)

    def test_asks_no_more_for_more_rows(
        self, busy: Workspace, model: ModelVersion, django_assert_max_num_queries: Any
    ) -> None:
        for _ in range(5):
            factories.job(busy)

        with django_assert_max_num_queries(4):  # time, rows, words, secret
            workspace_export.read(named("jobs"), busy.pk)


class TestDump:
    def test_is_one_line_that_keeps_all_digits(self) -> None:
        now = datetime(2026, 3, 1, 12, 0, 0, 1, UTC)

        line = workspace_export.dump({"text": "ä\nb", "at": now, "number": 2**60})

        assert line.count(b"\n") == 1
        assert json.loads(line) == {"text": "ä\nb", "at": now.isoformat(), "number": 2**60}
