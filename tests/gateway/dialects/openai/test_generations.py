"""POST /v1/images/generations; the official client itself is tested against a real server elsewhere."""

import base64
import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from PIL import Image

from accounts.models import Workspace
from billing import ledger
from inference.models import Job, ModelAlias
from tests import factories
from tests.gateway import wire

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"))


class TestGolden:
    """Bodies as the client sends them and our answers, with the parts replaced that differ every time."""

    @pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
    def test_is_answered_as_written_down(self, api: Client, path: Path) -> None:
        example = json.loads(path.read_text())
        headers = {"Idempotency-Key": "fetch"}
        wire.post(api, wire.V1_GENERATIONS, headers, **example["request"])
        factories.drain()

        response = wire.post(api, wire.V1_GENERATIONS, headers, **example["request"])

        shown = {"status": response.status_code, "answer": _without_volatile(response.json())}
        assert shown == {"status": example["status"], "answer": example["answer"]}


def _without_volatile(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _without_volatile(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_volatile(part, name) for part in value]
    if name == "b64_json":
        picture = Image.open(BytesIO(base64.b64decode(value)))
        return f"<{picture.format} of {picture.width}x{picture.height}>"
    if name == "url":
        return re.sub(
            r".*/files/img_\w{26}\.(\w+)\?expires=\d+&signature=\w{64}", r"<signed url of a \1>", value
        )
    return f"<{name}>" if name in ("created", "job_id", "request_id") else value


class TestGenerate:
    def test_answers_the_picture(self, api: Client) -> None:
        response = wire.drawn(api)

        (datum,) = response.json()["data"]
        assert Image.open(BytesIO(base64.b64decode(datum["b64_json"]))).size == (64, 64)
        assert response.status_code == 200

    def test_says_what_was_drawn(self, api: Client) -> None:
        body = wire.drawn(api, size="128x64", output_format="webp", seed=9).json()

        assert (body["size"], body["output_format"], body["seed"]) == ("128x64", "webp", 9)

    def test_charges_once(self, api: Client, workspace: Workspace) -> None:
        assert wire.drawn(api, n=2).json()["credits"] == 20

        wire.assert_nothing_was_charged(workspace, credits=980)

    def test_gives_addresses_when_asked(self, api: Client, client: Client) -> None:
        (datum,) = wire.drawn(api, response_format="url").json()["data"]

        assert "b64_json" not in datum
        assert client.get(datum["url"]).status_code == 200

    @pytest.mark.parametrize("name", ["dall-e-2", "dall-e-3"])
    def test_gives_addresses_to_users_of_retired_names(self, api: Client, model: Any, name: str) -> None:
        ModelAlias.objects.create(alias=name, model=model.model)

        body = wire.drawn(api, model=name).json()

        assert "url" in body["data"][0]

    def test_gives_bytes_to_them_when_asked(self, api: Client, model: Any) -> None:
        ModelAlias.objects.create(alias="dall-e-3", model=model.model)

        body = wire.drawn(api, model="dall-e-3", response_format="b64_json").json()

        assert "b64_json" in body["data"][0]

    def test_draws_the_same_as_the_native_api(self, api: Client) -> None:
        native = wire.finished(api, seed=9, response_format="b64")["images"][0]["b64"]

        assert wire.drawn(api, seed=9).json()["data"][0]["b64_json"] == native

    def test_leaves_out_pictures_that_were_refused(self, api: Client, settings: Any) -> None:
        settings.ATELIER_MODERATION = {
            "BACKEND": "inference.moderation.fake.FakeModeration",
            "OPTIONS": {"refuse_image_indexes": [0]},
        }

        body = wire.drawn(api, n=2, seed=5).json()

        assert ([datum["seed"] for datum in body["data"]], body["credits"]) == ([6], 10)

    def test_never_answers_2xx_for_an_unfinished_job(self, api: Client) -> None:
        response = wire.post(api, wire.V1_GENERATIONS, prompt="a red boat")

        error = wire.assert_is_openai_error(response, 504, "server_error", "wait_timed_out")
        assert error["job_id"] == Job.objects.across_workspaces().get().public_id

    def test_the_job_goes_on_after_that(self, api: Client) -> None:
        error = wire.post(api, wire.V1_GENERATIONS, prompt="a red boat").json()["error"]
        factories.drain()

        assert api.get(f"/api/v1/jobs/{error['job_id']}").json()["state"] == "succeeded"

    def test_is_the_test_side_with_a_test_key(self, test_side_api: Client, workspace: Workspace) -> None:
        assert wire.drawn(test_side_api).status_code == 200

        assert ledger.balance(workspace.pk).available_credits == 1_000

    def test_keeps_the_end_user_as_a_hash_only(self, api: Client) -> None:
        wire.drawn(api, user="end-user-77")

        row = Job.objects.across_workspaces().values().get()
        assert len(row["end_user_hash"]) == 64
        assert "end-user-77" not in repr(row)
