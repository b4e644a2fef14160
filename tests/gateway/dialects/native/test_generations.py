"""POST /api/v1/generations."""

import base64
from io import BytesIO
from typing import Any

import pytest
from django.test import Client
from PIL import Image

from accounts import api_keys, workspaces
from accounts.models import Entitlements, Side, User, Workspace
from accounts.roles import Role
from billing import ledger
from inference import prompts
from inference.models import Job
from inference.prompts import TemplateText
from tests import factories
from tests.gateway import wire


class TestGenerate:
    def test_answers_202_with_the_queued_job(self, api: Client) -> None:
        response = wire.post(api, prompt="a red boat")

        body = response.json()
        assert (response.status_code, response["Content-Type"]) == (202, "application/json")
        assert (body["state"], body["images"], body["error"]) == ("queued", [], None)

    def test_names_the_address_of_the_job(self, api: Client) -> None:
        response = wire.post(api, prompt="a red boat")

        assert api.get(response["Location"]).json()["id"] == response.json()["id"]

    def test_reserves_the_price(self, api: Client, workspace: Workspace) -> None:
        job = wire.generate(api, num_images=3)

        balance = ledger.balance(workspace.pk)
        assert (balance.available_credits, balance.held_credits) == (970, 30)
        assert job["price"] == {"credits_per_image": 10, "held_credits": 30, "captured_credits": 0}

    def test_charges_when_the_pictures_are_made(self, api: Client, workspace: Workspace) -> None:
        job = wire.finished(api, num_images=3)

        wire.assert_nothing_was_charged(workspace, credits=970)
        assert job["price"] == {"credits_per_image": 10, "held_credits": 0, "captured_credits": 30}

    def test_fills_in_the_defaults_of_the_model(self, api: Client) -> None:
        parameters = wire.generate(api)["parameters"]

        assert (parameters["width"], parameters["height"], parameters["num_images"]) == (64, 64, 1)
        assert (parameters["num_inference_steps"], parameters["guidance_scale"]) == (4, 7.0)
        assert (parameters["scheduler"], parameters["output_format"]) == ("euler", "png")

    @pytest.mark.parametrize(
        "field, value",
        [
            ("operation", "text-to-image"),
            ("width", 128),
            ("height", 128),
            ("num_images", 2),
            ("num_inference_steps", 9),
            ("guidance_scale", 3.5),
            ("guidance_scale", 0),
            ("seed", 0),
            ("seed", 2**32 - 1),
            ("scheduler", "heun"),
            ("output_format", "webp"),
        ],
    )
    def test_draws_what_was_asked(self, api: Client, field: str, value: object) -> None:
        job = wire.generate(api, **{field: value})

        assert job["parameters"][field] == value

    def test_a_whole_float_is_a_whole_number(self, api: Client) -> None:
        assert wire.generate(api, seed=5.0)["parameters"]["seed"] == 5

    def test_one_side_means_a_square(self, api: Client) -> None:
        parameters = wire.generate(api, width=128)["parameters"]

        assert (parameters["width"], parameters["height"]) == (128, 128)

    def test_null_means_absent(self, api: Client) -> None:
        job = wire.generate(api, seed=None, width=None, negative_prompt=None, metadata=None)

        assert job["parameters"]["width"] == 64

    @pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "image/png"])
    def test_reads_json_whatever_it_is_called(self, api: Client, content_type: str) -> None:
        response = api.post(wire.GENERATIONS, b'{"prompt": "a red boat"}', content_type=content_type)

        assert response.status_code == 202

    @pytest.mark.parametrize("accept", ["image/png", "text/html", "application/xml;q=0.5", "nonsense"])
    def test_answers_json_whatever_is_accepted(self, api: Client, accept: str) -> None:
        response = wire.post(api, prompt="a red boat", headers={"Accept": accept})

        assert (response.status_code, response["Content-Type"]) == (202, "application/json")

    def test_reads_json_with_a_byte_order_mark(self, api: Client) -> None:
        body = b'\xef\xbb\xbf{"prompt": "a red boat"}'

        assert api.post(wire.GENERATIONS, body, content_type="application/json").status_code == 202

    def test_gives_the_metadata_back(self, api: Client) -> None:
        job = wire.generate(api, metadata={"order": "ünïcode 🎈", "empty": ""})

        assert job["metadata"] == {"order": "ünïcode 🎈", "empty": ""}

    def test_the_answer_and_the_row_hold_no_prompt(self, api: Client) -> None:
        response = wire.post(api, prompt="a verysecret boat", user="end-user-77")

        row = repr(Job.objects.across_workspaces().values().get())
        assert "verysecret" not in response.content.decode() + row
        assert "end-user-77" not in response.content.decode() + row

    def test_draws_words_of_every_script(self, api: Client) -> None:
        job = wire.finished(api, "赤い舟 🚢 лодка قارب")

        assert job["state"] == "succeeded"

    def test_accepts_a_prompt_as_long_as_the_model_takes(self, api: Client) -> None:
        assert wire.generate(api, "b" * 4_000)["state"] == "queued"


class TestPictures:
    def test_image_i_uses_seed_plus_i(self, api: Client) -> None:
        job = wire.finished(api, num_images=3, seed=40)

        assert [(image["index"], image["seed"]) for image in job["images"]] == [(0, 40), (1, 41), (2, 42)]

    @pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
    def test_have_the_format_and_size_asked_for(self, api: Client, output_format: str) -> None:
        job = wire.finished(api, output_format=output_format, response_format="b64", width=128, height=64)

        picture = Image.open(BytesIO(base64.b64decode(job["images"][0]["b64"])))
        assert (picture.format, picture.size) == (output_format.upper(), (128, 64))
        assert job["images"][0]["content_type"] == f"image/{output_format}"

    def test_have_bytes_only_when_asked(self, api: Client) -> None:
        assert wire.finished(api)["images"][0]["b64"] is None

    def test_worse_quality_is_smaller(self, api: Client) -> None:
        sizes = [
            wire.finished(api, seed=1, output_format="jpeg", output_quality=quality)["images"][0][
                "size_bytes"
            ]
            for quality in (1, 100)
        ]

        assert sizes[0] < sizes[1]

    def test_the_same_seed_draws_the_same_picture(self, api: Client) -> None:
        first, second = (wire.finished(api, seed=3)["images"][0] for _ in range(2))

        assert first["sha256"] == second["sha256"]
        assert first["id"] != second["id"]

    def test_a_template_is_drawn_filled_in(self, api: Client, workspace: Workspace) -> None:
        prompts.save(workspace.pk, "poster", TemplateText(body="poster of {{prompt}} in {{style}}"))

        templated = wire.finished(api, "a boat", seed=3, prompt_template="poster", variables={"style": "ink"})
        plain = wire.finished(api, "poster of a boat in ink", seed=3)

        assert templated["images"][0]["sha256"] == plain["images"][0]["sha256"]


class TestWhoMayGenerate:
    def test_a_service_key(self, workspace: Workspace, model: Any) -> None:
        issued = api_keys.issue(workspace, "service")

        assert wire.generate(wire.client(issued.plain_text))["state"] == "queued"

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Token", "Key"])
    def test_any_usual_word_before_the_key(self, key: str, model: Any, scheme: str) -> None:
        api = Client(headers={"Authorization": f"{scheme}  {key} "})

        assert wire.generate(api)["state"] == "queued"

    @pytest.mark.parametrize("role", [Role.VIEWER, Role.BILLING])
    def test_not_a_role_without_that_right(
        self, workspace: Workspace, bob: User, model: Any, role: Role
    ) -> None:
        issued = api_keys.issue(workspace, "b", membership=workspaces.add_member(workspace, bob, role))

        response = wire.post(wire.client(issued.plain_text), prompt="a red boat")

        wire.assert_is_problem(response, 403, "role_forbids")
        wire.assert_nothing_was_charged(workspace)

    def test_the_test_side_with_play_credits(self, test_side_api: Client, workspace: Workspace) -> None:
        job = wire.finished(test_side_api)

        assert (job["state"], job["is_test"]) == ("succeeded", True)
        assert ledger.balance(workspace.pk, Side.TEST).available_credits == 999_990
        wire.assert_nothing_was_charged(workspace)

    def test_nobody_beyond_the_concurrency_limit(self, api: Client, workspace: Workspace) -> None:
        Entitlements.objects.create(workspace=workspace, concurrent_jobs=1)
        wire.generate(api)

        response = wire.post(api, prompt="a second boat")

        wire.assert_is_problem(response, 429, "concurrency_limit_reached")
        assert (response["Retry-After"], response.json()["limit"]) == ("2", 1)

    def test_again_when_a_job_has_ended(self, api: Client, workspace: Workspace) -> None:
        Entitlements.objects.create(workspace=workspace, concurrent_jobs=1)
        wire.generate(api)
        factories.drain()

        assert wire.post(api, prompt="a second boat").status_code == 202
