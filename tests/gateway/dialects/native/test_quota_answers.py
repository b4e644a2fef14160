"""What a caller is told of quotas when a job is asked for."""

from typing import Any

import pytest
from django.test import Client

from accounts import ids
from accounts.models import QuotaUnit, Subject, Window, Workspace
from inference import quotas
from tests.gateway import wire


def _limit(workspace: Workspace, most: int, **fields: Any) -> str:
    terms = {"subject": Subject.WORKSPACE, "unit": QuotaUnit.IMAGES, "window": Window.MONTH, **fields}
    made = quotas.set_limit(workspace.pk, subject_id="", limit=most, **terms)
    return ids.public(ids.Prefix.QUOTA, made.id)


class TestRefusal:
    def test_names_the_limit_and_when_it_frees(self, api: Client, workspace: Workspace) -> None:
        quota_id = _limit(workspace, 3)
        wire.generate(api, num_images=2)

        response = wire.post(api, prompt="a red boat", num_images=2)

        wire.assert_is_problem(response, 429, "quota_exceeded")
        told = response.json()["quota"]
        assert told.pop("resets_at") is not None
        assert told == {
            "id": quota_id,
            "subject": "workspace",
            "unit": "images",
            "window": "month",
            "limit": 3,
            "used": 2,
            "left": 1,
            "requested": 2,
        }
        assert int(response["Retry-After"]) > 0

    def test_of_a_total_promises_no_time(self, api: Client, workspace: Workspace) -> None:
        _limit(workspace, 0, window=Window.TOTAL)

        response = wire.post(api, prompt="a red boat")

        assert response.json()["quota"]["resets_at"] is None
        assert "Retry-After" not in response

    def test_stands_in_the_headers_too(self, api: Client, workspace: Workspace) -> None:
        _limit(workspace, 0, subject=Subject.KEY)

        response = wire.post(api, prompt="a red boat")

        assert '"images-month-key";q=0' in response["RateLimit-Policy"]
        assert '"images-month-key";r=0;t=' in response["RateLimit"]

    def test_of_an_openai_client_says_not_to_retry(self, api: Client, workspace: Workspace) -> None:
        _limit(workspace, 0)

        response = wire.post(api, wire.V1_GENERATIONS, prompt="a red boat")

        assert (response.status_code, response["x-should-retry"]) == (429, "false")
        assert response.json()["error"]["code"] == "insufficient_quota"


class TestAccepted:
    @pytest.mark.parametrize("images", [1, 3])
    def test_tells_what_is_left(self, api: Client, workspace: Workspace, images: int) -> None:
        _limit(workspace, 10, window=Window.TOTAL)

        response = wire.post(api, prompt="a red boat", num_images=images)

        assert response["RateLimit"].endswith(f'"images-total-workspace";r={10 - images}')
        assert response["RateLimit-Policy"].endswith('"images-total-workspace";q=10')
