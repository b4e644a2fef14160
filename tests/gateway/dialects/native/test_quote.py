"""POST /api/v1/quote."""

from typing import Any

from django.test import Client

from accounts import api_keys
from accounts.key_terms import Terms
from accounts.models import Scope, Workspace
from billing.models import PriceUnit
from inference.models import Job
from tests import factories
from tests.gateway import wire

QUOTE = "/api/v1/quote"


class TestQuote:
    def test_prices_a_request(self, api: Client) -> None:
        response = wire.post(api, QUOTE, prompt="a red boat", num_images=4, num_inference_steps=9)

        assert response.status_code == 200
        assert response.json() == {
            "model": "fake@1",
            "unit": "per_image",
            "credits_per_image": 10,
            "total_credits": 40,
            "price_book_version": 1,
            "width": 64,
            "height": 64,
            "num_images": 4,
            "num_inference_steps": 9,
        }

    def test_counts_evaluations_when_the_price_is_by_the_step(self, api: Client) -> None:
        factories.fake_model("stepwise", unit=PriceUnit.PER_STEP, credits=1)

        response = wire.post(
            api, QUOTE, prompt="a boat", model="stepwise", scheduler="heun", num_inference_steps=5
        )

        assert (
            response.json()["total_credits"] == 9
        )  # the second order sampler evaluates twice, but once at last

    def test_makes_no_job_and_reserves_nothing(self, api: Client, workspace: Workspace) -> None:
        wire.post(api, QUOTE, prompt="a red boat")

        assert not Job.objects.across_workspaces().exists()
        wire.assert_nothing_was_charged(workspace)

    def test_promises_what_is_then_charged(self, api: Client) -> None:
        quoted = wire.post(api, QUOTE, prompt="a red boat", num_images=2).json()

        job = wire.finished(api, num_images=2)

        assert job["price"]["captured_credits"] == quoted["total_credits"]

    def test_refuses_what_generate_refuses(self, api: Client) -> None:
        response = wire.post(api, QUOTE, prompt="a red boat", num_images=11)

        wire.assert_is_problem(response, 422, "invalid_request")

    def test_answers_who_has_no_credit(self, charlies_api: Client) -> None:
        assert wire.post(charlies_api, QUOTE, prompt="a red boat").json()["total_credits"] == 10

    def test_needs_the_images_scope(self, workspace: Workspace, model: Any) -> None:
        issued = api_keys.issue(workspace, "jobs only", terms=Terms(scopes=(Scope.JOBS,)))

        response = wire.post(wire.client(issued.plain_text), QUOTE, prompt="a red boat")

        wire.assert_is_problem(response, 403, "scope_missing")
