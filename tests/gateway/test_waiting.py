"""Answering for a job that was accepted."""

from typing import Any

from django.test import Client

from accounts.models import Workspace
from billing import ledger
from inference import storage
from inference.models import Image
from tests import factories

ADDRESS = "/api/v1/generations"


class TestFaultAfterAcceptance:
    def test_names_the_job_and_claims_nothing_of_charges(self, api: Client, workspace: Workspace) -> None:
        """The picture was delivered and charged; only its bytes cannot be read for this answer."""
        body = {"prompt": "a boat", "response_format": "b64"}
        send: dict[str, Any] = {"content_type": "application/json", "headers": {"Idempotency-Key": "once"}}
        job_id = api.post(ADDRESS, body, **send).json()["id"]
        factories.drain()
        (image,) = Image.objects.for_workspace(workspace)
        storage.discard(image.storage_key)

        answer = api.post(ADDRESS, body, **send)

        assert (answer.status_code, answer.json()["code"]) == (503, "answer_unavailable")
        assert answer.json()["job_id"] == job_id
        assert "charged" not in answer.json()["detail"]
        assert ledger.balance(workspace.pk).available_credits == 990
