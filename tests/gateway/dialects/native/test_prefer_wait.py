"""The header `Prefer: wait=n` (RFC 7240)."""

import time
from typing import Any

import pytest
from django.test import Client

from accounts import ids
from accounts.ids import Prefix
from gateway.dialects.native.views import wait_seconds
from inference.models import Job
from tests import factories
from tests.gateway import wire


class TestHeader:
    @pytest.mark.parametrize(
        "header, seconds",
        [
            ("", 0),
            ("respond-async", 0),
            ("wait", 300),
            ("wait=0", 0),
            ("wait=1", 1),
            ("wait=007", 7),
            ("respond-async, wait=10", 10),
            ("wait=10, respond-async", 10),
            ("respond-async;x=1,wait=10;y=2", 10),
            ("Wait=5", 5),  # names of preferences have no case
            ("wait = 5", 5),
            ('wait="5"', 5),
        ],
    )
    def test_is_read(self, header: str, seconds: int) -> None:
        assert wait_seconds(header) == seconds

    @pytest.mark.parametrize("header", ["wait=301", "wait=999999", "wait=9999999", "wait=" + "9" * 5_000])
    def test_never_waits_longer_than_the_server_allows(self, header: str) -> None:
        assert wait_seconds(header) == 300

    @pytest.mark.parametrize(
        "header",
        ["nowait", "no-wait", "wait-not", "waiting=5", "wait=-5", "wait=x", "wait=", "x=wait", "wait=1.5"],
    )
    def test_what_is_no_such_preference_is_ignored(self, header: str) -> None:
        assert wait_seconds(header) == 0


class TestWait:
    def test_that_ends_too_early_shows_the_unfinished_job(self, api: Client) -> None:
        response = wire.post(api, prompt="a red boat", headers={"Prefer": "wait=1"})

        assert (response.status_code, response.json()["state"]) == (202, "queued")

    def test_not_at_all_is_the_default(self, api: Client) -> None:
        assert wire.post(api, prompt="a red boat").status_code == 202

    def test_for_an_ended_job_is_no_wait(self, api: Client, settings: Any) -> None:
        settings.MAX_WAIT_SECONDS = 2
        headers = {"Idempotency-Key": "once", "Prefer": "wait"}
        accepted = wire.post(api, prompt="a red boat", headers={"Idempotency-Key": "once"}).json()
        factories.run(Job.objects.across_workspaces().get(pk=ids.parse(Prefix.JOB, accepted["id"])))

        asked = time.monotonic()
        response = wire.post(api, prompt="a red boat", headers=headers)

        assert (response.status_code, response.json()["state"]) == (200, "succeeded")
        assert time.monotonic() - asked < 1
