"""Errors in OpenAI's envelope, as its client expects and retries them."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client, RequestFactory

from accounts import api_keys, clock, key_text
from accounts.key_terms import Terms
from accounts.models import ApiKey, Entitlements, Scope, Workspace
from gateway.api import context
from gateway.api.error_codes import CODES
from gateway.api.problems import Problem
from gateway.dialects.openai.errors import draw_problem
from inference.models import Job
from tests.gateway import wire

INVALID, PICTURE, SERVER = "invalid_request_error", "image_generation_user_error", "server_error"
# Our code: status of the problem; status, type and code as drawn.
DRAWN = {
    "missing_api_key": (401, 401, "authentication_error", "invalid_api_key"),
    "malformed_api_key": (401, 401, "authentication_error", "invalid_api_key"),
    "unknown_api_key": (401, 401, "authentication_error", "invalid_api_key"),
    "revoked_api_key": (401, 401, "authentication_error", "invalid_api_key"),
    "expired_api_key": (401, 401, "authentication_error", "invalid_api_key"),
    "too_many_refused_keys": (429, 429, "requests", "rate_limit_exceeded"),
    "too_many_calls": (429, 429, "requests", "too_many_calls"),
    "rate_limited": (429, 429, "requests", "rate_limit_exceeded"),
    "workspace_suspended": (403, 403, "permission_error", "workspace_suspended"),
    "scope_missing": (403, 403, "permission_error", "scope_missing"),
    "live_key_needed": (403, 403, "permission_error", "live_key_needed"),
    "role_forbids": (403, 403, "permission_error", "role_forbids"),
    "forbidden": (403, 403, "permission_error", "forbidden"),
    "malformed_json": (400, 400, INVALID, "malformed_json"),
    "invalid_request": (422, 400, INVALID, "invalid_value"),
    "body_too_large": (413, 413, "request_too_large", "body_too_large"),
    "model_not_found": (404, 404, INVALID, "model_not_found"),
    "prompt_template_not_found": (404, 404, INVALID, "prompt_template_not_found"),
    "model_not_for_sale": (503, 503, SERVER, "model_not_for_sale"),
    "prompt_blocked": (422, 400, PICTURE, "moderation_blocked"),
    "pictures_blocked": (422, 400, PICTURE, "moderation_blocked"),
    "idempotency_key_reused": (422, 422, INVALID, "idempotency_key_reused"),
    "insufficient_credit": (402, 429, "insufficient_quota", "insufficient_quota"),
    "concurrency_limit_reached": (429, 429, "requests", "rate_limit_exceeded"),
    "not_found": (404, 404, INVALID, "not_found"),
    "method_not_allowed": (405, 405, INVALID, "method_not_allowed"),
    "wait_timed_out": (504, 504, SERVER, "wait_timed_out"),
    "engine_failed": (500, 500, SERVER, "engine_failed"),
    "invalid_picture": (500, 500, SERVER, "invalid_picture"),
    "blank_picture": (422, 422, PICTURE, "blank_picture"),
    "wrong_size": (500, 500, SERVER, "wrong_size"),
    "deadline_exceeded": (504, 504, SERVER, "deadline_exceeded"),
    "expired": (503, 503, SERVER, "expired"),
    "attempts_exhausted": (500, 500, SERVER, "attempts_exhausted"),
    "model_unavailable": (503, 503, SERVER, "model_unavailable"),
    "malformed_request": (400, 400, INVALID, "malformed_request"),
    "temporarily_unavailable": (503, 503, SERVER, "temporarily_unavailable"),
    "answer_unavailable": (503, 503, SERVER, "answer_unavailable"),
    "storage_unavailable": (503, 503, SERVER, "storage_unavailable"),
    "content_gone": (500, 500, SERVER, "content_gone"),
    "canceled": (409, 409, INVALID, "canceled"),
    "internal_error": (500, 500, SERVER, "internal_error"),
    "workspace_closing": (403, 403, "permission_error", "workspace_closing"),
    "deletion_began": (409, 409, INVALID, "deletion_began"),
    "network_forbidden": (403, 403, "permission_error", "network_forbidden"),
    "key_forbids": (403, 403, "permission_error", "key_forbids"),
    "broader_than_giver": (403, 403, "permission_error", "broader_than_giver"),
    "key_of_another_member": (403, 403, "permission_error", "key_of_another_member"),
    "key_not_rotatable": (409, 409, INVALID, "key_not_rotatable"),
    "last_owner": (409, 409, INVALID, "last_owner"),
    "too_many_quotas": (422, 422, INVALID, "too_many_quotas"),
    "time_zone_change_pending": (409, 409, INVALID, "time_zone_change_pending"),
    "report_too_large": (422, 422, INVALID, "report_too_large"),
    "quota_exceeded": (429, 429, "insufficient_quota", "insufficient_quota"),
}
# Another try of the same request cannot help, or makes a second job beside the first.
PERMANENT = [
    "too_many_refused_keys",
    "insufficient_credit",
    "quota_exceeded",
    "model_not_for_sale",
    "model_unavailable",
    "wait_timed_out",
    "deadline_exceeded",
    "canceled",
    "invalid_picture",
    "wrong_size",
]


def _draw(code: str, **extra: Any) -> Any:
    request = RequestFactory().post(wire.V1_GENERATIONS)
    context.begin(request, "req_1")
    return draw_problem(Problem(DRAWN[code][0], code, "A title", "A sentence.", extra), request)


def _is_retried_by_the_client(response: Any) -> bool:
    if "x-should-retry" in response:
        return response["x-should-retry"] == "true"
    return response.status_code in (408, 409, 429) or response.status_code >= 500


class TestTable:
    def test_is_tested_here_in_full(self) -> None:
        assert set(DRAWN) == set(CODES)

    @pytest.mark.parametrize("code", CODES)
    def test_draws_every_code_in_the_envelope(self, code: str) -> None:
        _, status, kind, drawn_code = DRAWN[code]

        response = _draw(code)

        wire.assert_is_openai_error(_Loaded(response), status, kind, drawn_code)

    @pytest.mark.parametrize("code", PERMANENT)
    def test_tells_the_client_not_to_retry_what_cannot_help(self, code: str) -> None:
        assert not _is_retried_by_the_client(_draw(code))

    @pytest.mark.parametrize("code", ["concurrency_limit_reached", "storage_unavailable", "internal_error"])
    def test_lets_the_client_retry_what_may_pass(self, code: str) -> None:
        assert _is_retried_by_the_client(_draw(code))

    @pytest.mark.parametrize(
        "ours, vendors",
        [
            ("num_images", "n"),
            ("width", "size"),
            ("height", "size"),
            ("output_quality", "output_compression"),
            ("prompt", "prompt"),
            ("seed", "seed"),
        ],
    )
    def test_names_fields_as_the_vendor_does(self, ours: str, vendors: str) -> None:
        response = _draw("invalid_request", errors=[{"field": ours, "message": "is wrong."}])

        assert _Loaded(response).json()["error"]["param"] == vendors


class _Loaded:
    """A response made without a client, with what a client's has."""

    def __init__(self, response: Any) -> None:
        self._response, self.status_code = response, response.status_code

    def __getitem__(self, name: str) -> str:
        return str(self._response[name])

    def json(self) -> Any:
        return json.loads(self._response.content)


def _post(api: Client, **body: Any) -> Any:
    return wire.post(api, wire.V1_GENERATIONS, **{"prompt": "a red boat", **body})


class TestKey:
    def test_missing(self, client: Client) -> None:
        error = wire.assert_is_openai_error(_post(client), 401, "authentication_error", "invalid_api_key")

        assert error["message"] == "Send your API key in the Authorization header."

    @pytest.mark.parametrize("text", ["sk-proj-123", "atl_live_x"])
    def test_malformed(self, model: Any, text: str) -> None:
        error = _post(wire.client(text)).json()["error"]

        assert error["message"].startswith("Incorrect API key provided")
        assert text not in error["message"]

    def test_unknown(self, model: Any) -> None:
        body = f"atl_live_{'0' * 12}_{'0' * 32}"

        response = _post(wire.client(body + key_text.checksum(body)))

        error = wire.assert_is_openai_error(response, 401, "authentication_error", "invalid_api_key")
        assert error["message"].startswith("Incorrect API key provided")

    def test_revoked(self, api: Client, workspace: Workspace) -> None:
        api_keys.revoke(ApiKey.objects.for_workspace(workspace).get(), clock.now())

        assert "revoked" in _post(api).json()["error"]["message"]

    def test_expired(self, workspace: Workspace, model: Any) -> None:
        issued = api_keys.issue(workspace, "old", terms=Terms(expires_at=clock.now() - timedelta(seconds=1)))

        assert "expired" in _post(wire.client(issued.plain_text)).json()["error"]["message"]

    def test_without_the_scope(self, workspace: Workspace, model: Any) -> None:
        issued = api_keys.issue(workspace, "jobs only", terms=Terms(scopes=(Scope.JOBS,)))

        response = _post(wire.client(issued.plain_text))

        wire.assert_is_openai_error(response, 403, "permission_error", "scope_missing")

    def test_of_a_suspended_workspace(self, api: Client) -> None:
        Workspace.objects.update(suspended_at=clock.now())

        wire.assert_is_openai_error(_post(api), 403, "permission_error", "workspace_suspended")


class TestBody:
    @pytest.mark.parametrize("body", ["not json", "[]", '{"prompt": "a", "n": NaN}', b"\xff"])
    def test_that_is_no_json_object(self, api: Client, body: str | bytes) -> None:
        response = api.post(wire.V1_GENERATIONS, body, content_type="application/json")

        wire.assert_is_openai_error(response, 400, "invalid_request_error", "malformed_json")

    @pytest.mark.parametrize(
        "field, value, param",
        [
            ("prompt", "", "prompt"),
            ("prompt", 5, "prompt"),
            ("n", 0, "n"),
            ("n", 11, "n"),
            ("n", "1", "n"),
            ("size", "large", "size"),
            ("size", "65x64", "size"),
            ("size", "64x1024", "size"),
            ("output_compression", 101, "output_compression"),
            ("output_format", "gif", "output_format"),
            ("background", "transparent", "background"),
            ("stream", True, "stream"),
            ("partial_images", 2, "partial_images"),
            ("svg", {}, "svg"),
            ("colour", "red", "colour"),
            ("num_inference_steps", 51, "num_inference_steps"),
            ("variables", {"a": "b"}, "variables"),
        ],
    )
    def test_with_a_wrong_field_names_it(
        self, api: Client, workspace: Workspace, field: str, value: object, param: str
    ) -> None:
        response = _post(api, **{field: value})

        error = wire.assert_is_openai_error(response, 400, "invalid_request_error", "invalid_value")
        assert error["param"] == param
        wire.assert_nothing_was_charged(workspace)

    def test_without_a_prompt_names_it(self, api: Client) -> None:
        response = wire.post(api, wire.V1_GENERATIONS, model="fake")

        assert response.json()["error"]["param"] == "prompt"

    def test_with_an_unknown_model(self, api: Client) -> None:
        error = wire.assert_is_openai_error(
            _post(api, model="gpt-image-9"), 404, "invalid_request_error", "model_not_found"
        )

        assert "gpt-image-9" in error["message"]


class TestRefusal:
    def test_for_lack_of_credit_is_not_retried(
        self, charlies_api: Client, charlies_workspace: Workspace
    ) -> None:
        response = _post(charlies_api)

        error = wire.assert_is_openai_error(response, 429, "insufficient_quota", "insufficient_quota")
        assert response["x-should-retry"] == "false"
        assert (error["required_credits"], error["available_credits"]) == (10, 0)
        wire.assert_nothing_was_charged(charlies_workspace, credits=0)

    def test_for_too_many_jobs_is_retried_soon(self, api: Client, workspace: Workspace) -> None:
        Entitlements.objects.create(workspace=workspace, concurrent_jobs=0)

        response = _post(api)

        wire.assert_is_openai_error(response, 429, "requests", "rate_limit_exceeded")
        assert response["Retry-After"] == "2"
        assert "x-should-retry" not in response

    def test_of_a_prompt_names_stage_and_category(
        self, api: Client, workspace: Workspace, settings: Any
    ) -> None:
        settings.ATELIER_MODERATION = {
            "BACKEND": "inference.moderation.fake.FakeModeration",
            "OPTIONS": {"block_words": ["forbidden"]},
        }

        response = _post(api, prompt="a forbidden boat")

        error = wire.assert_is_openai_error(
            response, 400, "image_generation_user_error", "moderation_blocked"
        )
        category = Job.objects.across_workspaces().get().moderation_category
        assert error["moderation_details"] == {"moderation_stage": "input", "categories": [category]}
        wire.assert_nothing_was_charged(workspace)

    def test_of_all_pictures_names_the_stage(self, api: Client, settings: Any) -> None:
        settings.ATELIER_MODERATION = {
            "BACKEND": "inference.moderation.fake.FakeModeration",
            "OPTIONS": {"refuse_image_indexes": [0]},
        }

        error = wire.assert_is_openai_error(
            wire.drawn(api), 400, "image_generation_user_error", "moderation_blocked"
        )

        assert error["moderation_details"]["moderation_stage"] == "output"

    def test_of_a_reused_idempotency_key(self, api: Client) -> None:
        headers = {"Idempotency-Key": "once"}
        wire.post(api, wire.V1_GENERATIONS, headers, prompt="a red boat")

        response = wire.post(api, wire.V1_GENERATIONS, headers, prompt="a blue boat")

        wire.assert_is_openai_error(response, 422, "invalid_request_error", "idempotency_key_reused")


class TestJobWithoutPicture:
    @pytest.mark.parametrize(
        "word, status, kind, code",
        [
            ("fail!", 500, "server_error", "engine_failed"),
            ("invalid!", 500, "server_error", "invalid_picture"),
            ("blank!", 422, "image_generation_user_error", "blank_picture"),
        ],
    )
    def test_that_failed_says_why(
        self, api: Client, workspace: Workspace, word: str, status: int, kind: str, code: str
    ) -> None:
        error = wire.assert_is_openai_error(wire.drawn(api, f"a {word} boat"), status, kind, code)

        assert error["message"].endswith("Nothing was charged.")
        wire.assert_nothing_was_charged(workspace)

    def test_that_was_canceled_is_not_retried(self, api: Client) -> None:
        headers = {"Idempotency-Key": "once"}
        job_id = wire.post(api, wire.V1_GENERATIONS, headers, prompt="a boat").json()["error"]["job_id"]
        wire.post(api, f"/api/v1/jobs/{job_id}/cancel")

        response = wire.post(api, wire.V1_GENERATIONS, headers, prompt="a boat")

        wire.assert_is_openai_error(response, 409, "invalid_request_error", "canceled")
        assert response["x-should-retry"] == "false"

    def test_that_is_unfinished_is_not_retried(self, api: Client) -> None:
        assert _post(api)["x-should-retry"] == "false"


class TestAddress:
    @pytest.mark.parametrize("path", ["/v1/nothing", "/v1/", "/v1/images", "/v1/images/edits", "/v1/models/"])
    def test_that_does_not_exist_answers_json(self, api: Client, path: str) -> None:
        wire.assert_is_openai_error(api.get(path), 404, "invalid_request_error", "not_found")

    def test_with_the_wrong_method(self, api: Client) -> None:
        response = api.get(wire.V1_GENERATIONS)

        wire.assert_is_openai_error(response, 405, "invalid_request_error", "method_not_allowed")

    def test_with_a_slash_at_its_end_is_no_redirect(self, api: Client) -> None:
        response = api.post(wire.V1_GENERATIONS + "/", '{"prompt": "a"}', content_type="application/json")

        wire.assert_is_openai_error(response, 404, "invalid_request_error", "not_found")

    def test_carries_the_id_of_the_request(self, api: Client) -> None:
        response = _post(api, n=0)

        assert response.json()["error"]["request_id"] == response["X-Request-Id"]

    def test_of_a_fault_of_ours_is_an_envelope_too(self, api: Client, settings: Any) -> None:
        settings.ATELIER_MODERATION = {"BACKEND": "inference.moderation.nothing.Missing", "OPTIONS": {}}

        wire.assert_is_openai_error(_post(api), 500, "server_error", "internal_error")
