"""A checker that is down lets nothing out."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from accounts.models import Workspace
from inference.models import IdempotencyRecord, Job
from inference.moderation.base import Decision, Moderation, Verdict
from tests.gateway import wire


class CheckerIsDown(Exception):
    """What a checker raises that cannot reach its service."""


class DownForPrompts(Moderation):
    def check_prompt(self, prompt: str, negative_prompt: str = "") -> Verdict:
        raise CheckerIsDown(f"no verdict on {prompt!r}")


class DownForPictures(Moderation):
    def check_prompt(self, prompt: str, negative_prompt: str = "") -> Verdict:
        return Verdict(Decision.ALLOW)

    def check_image(self, image: Any, index: int = 0) -> Verdict:
        raise CheckerIsDown("no verdict on the picture")


FAULTS = {
    "raises": {"BACKEND": "tests.gateway.test_moderation_faults.DownForPrompts", "OPTIONS": {}},
    "does not exist": {"BACKEND": "inference.moderation.nothing.Missing", "OPTIONS": {}},
    "is no checker": {"BACKEND": "builtins.dict", "OPTIONS": {}},
    "has no rules": {
        "BACKEND": "inference.moderation.blocklist.Blocklist",
        "OPTIONS": {"rules_dir": "/nonexistent/rules"},
    },
}


class TestPrompt:
    @pytest.mark.parametrize("fault", FAULTS)
    def test_is_not_accepted(self, api: Client, workspace: Workspace, settings: Any, fault: str) -> None:
        settings.ATELIER_MODERATION = FAULTS[fault]

        response = wire.post(api, prompt="a verysecret boat", headers={"Idempotency-Key": "once"})

        wire.assert_is_problem(response, 500, "internal_error")
        assert not Job.objects.across_workspaces().exists()
        assert not IdempotencyRecord.objects.across_workspaces().exists()
        wire.assert_nothing_was_charged(workspace)

    @pytest.mark.parametrize("fault", FAULTS)
    def test_is_not_shown_to_an_openai_client(self, api: Client, settings: Any, fault: str) -> None:
        settings.ATELIER_MODERATION = FAULTS[fault]

        response = wire.post(api, wire.V1_GENERATIONS, prompt="a verysecret boat")

        wire.assert_is_openai_error(response, 500, "server_error", "internal_error")
        assert "verysecret" not in response.content.decode()

    def test_is_not_logged_by_the_fault(
        self, api: Client, settings: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A careless backend puts the prompt into its exception, and the trace is logged."""
        settings.ATELIER_MODERATION = FAULTS["raises"]

        wire.post(api, prompt="a verysecret boat")

        logged = [f"{record.getMessage()} {record.exc_info} {record.exc_text}" for record in caplog.records]
        assert "verysecret" not in "\n".join(logged)

    def test_is_accepted_when_the_checker_is_back(self, api: Client, settings: Any) -> None:
        headers = {"Idempotency-Key": "once"}
        settings.ATELIER_MODERATION = FAULTS["raises"]
        wire.post(api, prompt="a boat", headers=headers)
        settings.ATELIER_MODERATION = {"BACKEND": "inference.moderation.fake.FakeModeration", "OPTIONS": {}}

        assert wire.post(api, prompt="a boat", headers=headers).status_code == 202


class TestPicture:
    def test_is_not_delivered(self, api: Client, workspace: Workspace, settings: Any, tmp_path: Path) -> None:
        settings.ATELIER_MODERATION = {
            "BACKEND": "tests.gateway.test_moderation_faults.DownForPictures",
            "OPTIONS": {},
        }

        job = wire.finished(api, num_images=2)

        assert (job["state"], job["error"]["code"], job["images"]) == ("failed", "internal_error", [])
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
        wire.assert_nothing_was_charged(workspace)

    def test_that_was_refused_is_not_stored(self, api: Client, settings: Any, tmp_path: Path) -> None:
        settings.ATELIER_MODERATION = {
            "BACKEND": "inference.moderation.fake.FakeModeration",
            "OPTIONS": {"refuse_image_indexes": [0]},
        }

        wire.finished(api)

        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
