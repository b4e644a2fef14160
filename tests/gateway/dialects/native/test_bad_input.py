"""Whatever is wrong with a request: a stable code, a readable sentence, and not a credit lost."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.test import Client

from accounts import api_keys, clock, key_text
from accounts.key_terms import Terms
from accounts.models import ApiKey, Membership, Scope, Workspace
from billing.models import Price
from gateway.asgi import application
from gateway.dialects.native.serializers import GenerationSerializer
from inference import prompts
from inference.models import Job
from inference.prompts import TemplateText
from tests import factories
from tests.gateway import wire

BOAT = '{"prompt": "a red boat"}'


def _send(api: Client, body: str | bytes) -> Any:
    return api.post(wire.GENERATIONS, body, content_type="application/json")


def _with(field: str, raw: str) -> str:
    """A good body with one field as raw JSON, so that it can be what no encoder writes."""
    prompt = "" if field == "prompt" else '"prompt": "a boat", '
    return f'{{{prompt}"{field}": {raw}}}'


def _assert_refused(
    response: Any, status: int, code: str, workspace: Workspace, credits: int = 1_000
) -> None:
    """The problem, and afterwards everything is as before."""
    wire.assert_is_problem(response, status, code)
    assert not Job.objects.across_workspaces().exists()
    wire.assert_nothing_was_charged(workspace, credits)


class TestKey:
    @pytest.mark.parametrize("header", ["", "Bearer", "Bearer   ", "Basic dTpw", "Digest x", "x" * 5_000])
    def test_missing(self, workspace: Workspace, model: Any, header: str) -> None:
        response = _send(Client(headers={"Authorization": header}), BOAT)

        _assert_refused(response, 401, "missing_api_key", workspace)

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda key: key[:-1],
            lambda key: key + "0",
            lambda key: key[:25] + ("a" if key[25] != "a" else "b") + key[26:],
            lambda key: key.upper(),
            lambda key: "sk-proj-1234567890",
            lambda key: "é" * 40,
            lambda key: "<script>alert(1)</script>",
            lambda key: f"{key} {key}",
        ],
    )
    def test_malformed(self, key: str, workspace: Workspace, model: Any, spoil: Any) -> None:
        _assert_refused(_send(wire.client(spoil(key)), BOAT), 401, "malformed_api_key", workspace)

    def test_unknown_id(self, workspace: Workspace, model: Any) -> None:
        body = f"atl_live_{'0' * 12}_{'0' * 32}"

        response = _send(wire.client(body + key_text.checksum(body)), BOAT)

        _assert_refused(response, 401, "unknown_api_key", workspace)

    def test_wrong_secret(self, key: str, workspace: Workspace, model: Any) -> None:
        body = key[:22] + "0" * 32

        response = _send(wire.client(body + key_text.checksum(body)), BOAT)

        _assert_refused(response, 401, "unknown_api_key", workspace)

    def test_revoked(self, api: Client, workspace: Workspace) -> None:
        api_keys.revoke(ApiKey.objects.for_workspace(workspace).get(), clock.now())

        _assert_refused(_send(api, BOAT), 401, "revoked_api_key", workspace)

    def test_of_a_removed_member(
        self, bobs_api: Client, workspace: Workspace, bobs_membership: Membership
    ) -> None:
        bobs_membership.removed_at = clock.now()
        bobs_membership.save()

        _assert_refused(_send(bobs_api, BOAT), 401, "revoked_api_key", workspace)

    def test_expired(self, workspace: Workspace, model: Any) -> None:
        issued = api_keys.issue(workspace, "old", terms=Terms(expires_at=clock.now() - timedelta(seconds=1)))

        _assert_refused(_send(wire.client(issued.plain_text), BOAT), 401, "expired_api_key", workspace)

    def test_of_a_suspended_workspace(self, api: Client, workspace: Workspace) -> None:
        Workspace.objects.update(suspended_at=clock.now())

        _assert_refused(_send(api, BOAT), 403, "workspace_suspended", workspace)

    def test_without_the_scope(self, workspace: Workspace, model: Any) -> None:
        issued = api_keys.issue(workspace, "jobs only", terms=Terms(scopes=(Scope.JOBS,)))

        response = _send(wire.client(issued.plain_text), BOAT)

        _assert_refused(response, 403, "scope_missing", workspace)
        assert response.json()["scope"] == "images"

    def test_is_judged_before_the_body(self, workspace: Workspace, client: Client) -> None:
        _assert_refused(_send(client, "not json"), 401, "missing_api_key", workspace)

    @pytest.mark.parametrize(
        "path", ["quote", "jobs", "jobs/x", "jobs/x/cancel", "images/x", "models", "balance", "key"]
    )
    def test_is_needed_everywhere(self, client: Client, path: str) -> None:
        send = client.post if path in ("quote", "jobs/x/cancel") else client.get

        wire.assert_is_problem(send(f"/api/v1/{path}"), 401, "missing_api_key")


class TestBody:
    @pytest.mark.parametrize(
        "body",
        [
            "not json",
            "prompt=a+boat",
            '{"prompt": "a boat"',
            '{"prompt": "a boat"} {}',
            "{'prompt': 'a boat'}",
            '[{"prompt": "a boat"}]',
            '"a boat"',
            "5",
            "null",
            "true",
            '{"prompt": "a boat", "guidance_scale": NaN}',
            '{"prompt": "a boat", "guidance_scale": Infinity}',
            '{"prompt": "a boat", "guidance_scale": -Infinity}',
            b'{"prompt": "\xff\xfe"}',
            '{"prompt": "a boat"}'.encode("utf-16"),
            b'{"prompt": "a' + b"\x00" + b' boat"}',
            b"\x00" * 100,
            "[" * 100_000,
            '{"a":' * 100_000,
            '{"prompt": "a boat", "seed": ' + "9" * 5_000 + "}",
            b"--x\r\nContent-Disposition: form-data; name=prompt\r\n\r\na boat\r\n--x--",
        ],
        ids=lambda body: repr(body[:40]),
    )
    def test_that_is_no_json_object(self, api: Client, workspace: Workspace, body: str | bytes) -> None:
        _assert_refused(_send(api, body), 400, "malformed_json", workspace)

    @pytest.mark.parametrize("body", ["", "{}", '{"prompt": null}'])
    def test_without_a_prompt(self, api: Client, workspace: Workspace, body: str) -> None:
        response = _send(api, body)

        _assert_refused(response, 422, "invalid_request", workspace)
        assert response.json()["errors"][0]["field"] == "prompt"

    @pytest.mark.parametrize(
        "field", ["promt", "n", "steps", "cfg_scale", "", "__class__", "\\ud800", "\\u0000"]
    )
    def test_with_an_unknown_field(self, api: Client, workspace: Workspace, field: str) -> None:
        response = _send(api, _with(field, '"x"'))

        _assert_refused(response, 422, "invalid_request", workspace)
        assert response.json()["errors"] == [
            {"field": json.loads(f'"{field}"'), "message": "There is no such field."}
        ]

    @pytest.mark.parametrize(
        "wrong",
        [
            {f"field{number}": 1 for number in range(20_000)},
            {"metadata": {f"name{number}": 1 for number in range(20_000)}},
            {"scheduler": "x" * 500_000},
            {"model": "x" * 500_000},
            {"prompt_template": "x" * 500_000},
        ],
        ids=lambda wrong: next(iter(wrong)),
    )
    def test_that_is_wrong_at_length_is_answered_briefly(self, api: Client, wrong: dict[str, Any]) -> None:
        response = wire.post(api, prompt="a boat", **wrong)

        assert response.status_code in (404, 422)
        assert len(response.content) < 10_000

    @pytest.mark.parametrize("sizes", [[1_000_001], [600_000, 600_000], [1] * 3 + [1_000_000]])
    def test_that_is_too_large(self, workspace: Workspace, sizes: list[int]) -> None:
        status, headers, body = _through_asgi(sizes)

        assert (status, headers["content-type"]) == (413, "application/problem+json")
        assert body["code"] == "body_too_large"
        assert body["request_id"] == headers["x-request-id"]
        wire.assert_is_readable(body["detail"])
        wire.assert_nothing_was_charged(workspace)

    def test_that_is_just_small_enough_is_read(self, workspace: Workspace) -> None:
        _, _, body = _through_asgi([999_999, 1])

        assert body["code"] == "missing_api_key"


def _through_asgi(sizes: list[int]) -> tuple[int, dict[str, str], dict[str, Any]]:
    """POST a body in chunks without a key, as a server hands it in."""
    headers = [(b"host", b"testserver"), (b"transfer-encoding", b"chunked")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": wire.GENERATIONS,
        "headers": headers,
        "query_string": b"",
        "http_version": "1.1",
    }

    async def talk() -> tuple[int, dict[str, str], dict[str, Any]]:
        server = ApplicationCommunicator(application, scope)
        for number, size in enumerate(sizes, 1):
            more = number < len(sizes)
            await server.send_input({"type": "http.request", "body": b"x" * size, "more_body": more})
        start = await server.receive_output(timeout=10)
        rest = await server.receive_output(timeout=10)
        found = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return start["status"], found, json.loads(rest["body"])

    return async_to_sync(talk)()


WRONG_TYPES = {
    "prompt": ['["a boat"]', "5", "true", "{}"],
    "negative_prompt": ['["fog"]', "5"],
    "model": ["5", '["fake"]', "false"],
    "operation": ["5", '"paint"', "[]", '""'],
    "width": ['"64"', "true", "64.5", "[]", "{}", "1e400", "-1e400"],
    "height": ['"64"', "true", "64.5", "1e400"],
    "num_images": ['"1"', "true", "1.5", "1e400"],
    "num_inference_steps": ['"5"', "true", "4.5"],
    "guidance_scale": ['"5"', "true", "[]"],
    "seed": ['"5"', "true", "1.5", "1e400"],
    "scheduler": ["5", '"nonsense"', "[]", '"\\ud800"'],
    "prompt_template": ["5", "{}"],
    "variables": ['"x"', '["a"]', '{"a": 5}', '{"a": null}', '{"a": ["x"]}'],
    "output_format": ['"gif"', "5", '"PNG"'],
    "output_quality": ['"90"', "true", "9.5"],
    "response_format": ['"binary"', "5"],
    "user": ["5", "[]"],
    "metadata": ['"x"', "[]", '{"a": 1}', '{"a": {"b": "c"}}', '{"a": null}'],
}
OUT_OF_RANGE = {
    "width": ["0", "-1", "63", "65", "520", "16385", str(10**30), str(10**400), "-1.0"],
    "height": ["0", "-1", "56", "65", "520", str(10**30)],
    "num_images": ["0", "-1", "11", "101", str(10**30)],
    "num_inference_steps": ["0", "-1", "51", "1001", str(10**30)],
    "guidance_scale": ["-0.1", "20.5", "101", "1e308", "1e400", "-1e400", str(10**30), str(10**400)],
    "seed": ["-1", str(2**32), str(10**30), str(10**400)],
    "output_quality": ["0", "-1", "101", str(10**30)],
    "prompt": [
        '""',
        '"   "',
        '"\\t\\n\\u00a0\\u3000"',
        json.dumps("b" * 4_001),
        json.dumps("b" * 32_001),
        '"a\\u0000b"',
        '"\\ud800"',
        '"boat \\udfff"',
    ],
    "negative_prompt": ['"a\\u0000b"', '"\\ud800"', json.dumps("b" * 32_001)],
    "model": ['"\\ud800"', '"fake\\u0000"'],
    "user": [json.dumps("u" * 257), '"\\ud800"', '"a\\u0000b"'],
    "metadata": [
        json.dumps({str(number): "x" for number in range(17)}),
        json.dumps({"n" * 65: "x"}),
        json.dumps({"n": "x" * 2_001}),
        '{"a": "\\ud800"}',
        '{"a": "\\u0000"}',
        '{"\\ud800": "a"}',
        '{"\\u0000": "a"}',
    ],
    "variables": ['{"a": "b"}', '{"\\ud800": "a"}', json.dumps({str(number): "x" for number in range(51)})],
}
# Cannot be said in a type or a range, but means nothing either.
MEANINGLESS = {"scheduler": ['"pndm"', '""'], "operation": ['"image-to-image"']}


class TestField:
    @pytest.mark.parametrize("field", WRONG_TYPES)
    def test_refuses_all_that_is_wrong_and_names_itself(
        self, api: Client, workspace: Workspace, field: str
    ) -> None:
        values = [raw for table in (WRONG_TYPES, OUT_OF_RANGE, MEANINGLESS) for raw in table.get(field, [])]

        wrongly_answered = [raw[:40] for raw in values if not _names(_send(api, _with(field, raw)), field)]

        assert wrongly_answered == []
        assert not Job.objects.across_workspaces().exists()
        wire.assert_nothing_was_charged(workspace)

    @pytest.mark.parametrize("field", WRONG_TYPES)
    def test_says_why_in_a_readable_sentence(self, api: Client, field: str) -> None:
        response = _send(api, _with(field, WRONG_TYPES[field][0]))

        wire.assert_is_problem(response, 422, "invalid_request")

    def test_every_one_that_exists_is_in_the_table(self) -> None:
        assert set(GenerationSerializer().fields) == set(WRONG_TYPES)

    def test_all_wrong_ones_are_named_at_once(self, api: Client, workspace: Workspace) -> None:
        response = _send(api, '{"prompt": 1, "width": "x", "seed": true}')

        assert {error["field"] for error in response.json()["errors"]} == {"prompt", "width", "seed"}


def _names(response: Any, field: str) -> bool:
    """Whether the answer is a problem that blames the field."""
    body = response.json()
    if (response.status_code, body.get("code")) != (422, "invalid_request"):
        return False
    wire.assert_is_readable(body["detail"])
    return bool(body["errors"][0]["field"].partition(".")[0] == field)


class TestName:
    @pytest.mark.parametrize(
        "name", ["unknown", "fake@2", "fake@0", "fake@x", "fake@-1", "FAKE", "fake@" + "1" * 5_000]
    )
    def test_of_a_model_that_is_unknown(self, api: Client, workspace: Workspace, name: str) -> None:
        response = _send(api, _with("model", json.dumps(name)))

        _assert_refused(response, 404, "model_not_found", workspace)

    @pytest.mark.parametrize(
        "name", ["unknown", "", "poster@2", "poster@x", "poster@-1", "poster@" + "1" * 5_000]
    )
    def test_of_a_template_that_is_unknown(self, api: Client, workspace: Workspace, name: str) -> None:
        prompts.save(workspace.pk, "poster", TemplateText(body="poster of {{prompt}}"))

        response = _send(api, _with("prompt_template", json.dumps(name)))

        _assert_refused(response, 404, "prompt_template_not_found", workspace)

    @pytest.mark.parametrize("field", ["model", "prompt_template"])
    def test_that_is_a_key_is_not_repeated(self, api: Client, key: str, field: str) -> None:
        response = _send(api, _with(field, json.dumps(f"my {key}")))

        assert response.status_code == 404
        assert key[22:] not in response.content.decode()

    def test_of_a_strangers_template(
        self, api: Client, workspace: Workspace, charlies_workspace: Workspace
    ) -> None:
        prompts.save(charlies_workspace.pk, "poster", TemplateText())

        response = _send(api, _with("prompt_template", '"poster"'))

        _assert_refused(response, 404, "prompt_template_not_found", workspace)

    @pytest.mark.parametrize(
        "variables", [{}, {"style": "ink", "more": "x"}, {"prompt": "x", "style": "ink"}]
    )
    def test_of_a_variable_that_is_missing_or_unknown(
        self, api: Client, workspace: Workspace, variables: dict[str, str]
    ) -> None:
        prompts.save(workspace.pk, "poster", TemplateText(body="{{prompt}} in {{style}}"))

        response = wire.post(api, prompt="a boat", prompt_template="poster", variables=variables)

        _assert_refused(response, 422, "invalid_request", workspace)
        assert response.json()["errors"][0]["field"] == "variables"

    def test_of_a_model_that_has_no_price(self, api: Client, workspace: Workspace) -> None:
        Price.objects.all().delete()

        _assert_refused(_send(api, BOAT), 503, "model_not_for_sale", workspace)


class TestCredit:
    def test_too_little(self, api: Client, workspace: Workspace) -> None:
        factories.fake_model("dear", credits=501)

        response = wire.post(api, prompt="a boat", model="dear", num_images=2)

        _assert_refused(response, 402, "insufficient_credit", workspace)
        assert (response.json()["required_credits"], response.json()["available_credits"]) == (1_002, 1_000)

    def test_none(self, charlies_api: Client, charlies_workspace: Workspace) -> None:
        _assert_refused(_send(charlies_api, BOAT), 402, "insufficient_credit", charlies_workspace, credits=0)

    def test_just_enough_is_enough(self, api: Client) -> None:
        factories.fake_model("dear", credits=500)

        assert wire.generate(api, model="dear", num_images=2)["state"] == "queued"


class TestPrompt:
    def test_that_is_blocked_makes_a_blocked_job(
        self, api: Client, workspace: Workspace, settings: Any
    ) -> None:
        settings.ATELIER_MODERATION = {
            "BACKEND": "inference.moderation.fake.FakeModeration",
            "OPTIONS": {"block_words": ["forbidden"]},
        }

        response = wire.post(api, prompt="a forbidden boat")

        wire.assert_is_problem(response, 422, "prompt_blocked")
        job = api.get(f"/api/v1/jobs/{response.json()['job_id']}").json()
        assert (job["state"], job["error"]["code"]) == ("blocked", "prompt_blocked")
        assert "forbidden" not in response.content.decode()
        wire.assert_nothing_was_charged(workspace)

    def test_whose_pictures_are_all_refused_costs_nothing(
        self, api: Client, workspace: Workspace, settings: Any
    ) -> None:
        settings.ATELIER_MODERATION = {
            "BACKEND": "inference.moderation.fake.FakeModeration",
            "OPTIONS": {"refuse_image_indexes": [0, 1]},
        }

        job = wire.finished(api, num_images=2)

        assert (job["state"], job["error"]["code"]) == ("blocked", "pictures_blocked")
        wire.assert_nothing_was_charged(workspace)

    def test_whose_pictures_are_partly_refused_costs_the_rest(
        self, api: Client, workspace: Workspace, settings: Any
    ) -> None:
        settings.ATELIER_MODERATION = {
            "BACKEND": "inference.moderation.fake.FakeModeration",
            "OPTIONS": {"refuse_image_indexes": [1]},
        }

        job = wire.finished(api, num_images=3)

        assert (job["state"], [image["index"] for image in job["images"]]) == ("succeeded", [0, 2])
        wire.assert_nothing_was_charged(workspace, credits=980)


class TestAddress:
    @pytest.mark.parametrize(
        "path",
        [
            "/api/v1/nothing",
            "/api/v2/generations",
            "/api/v1/",
            "/api/v1/jobs/x/y",
            "/api/v1/jobs/",
            "/api/%00",
        ],
    )
    def test_that_does_not_exist(self, api: Client, path: str) -> None:
        wire.assert_is_problem(api.get(path), 404, "not_found")

    def test_with_a_slash_at_its_end_is_no_redirect(self, api: Client, workspace: Workspace) -> None:
        response = api.post(wire.GENERATIONS + "/", BOAT, content_type="application/json")

        _assert_refused(response, 404, "not_found", workspace)

    @pytest.mark.parametrize(
        "method, path, allowed",
        [
            ("get", "generations", "POST"),
            ("delete", "generations", "POST"),
            ("get", "quote", "POST"),
            ("post", "jobs", "GET"),
            ("put", "jobs/x", "GET"),
            ("get", "jobs/x/cancel", "POST"),
            ("put", "images/x", "DELETE"),
            ("post", "models", "GET"),
            ("patch", "balance", "GET"),
            ("post", "key", "GET"),
        ],
    )
    def test_with_the_wrong_method(self, api: Client, method: str, path: str, allowed: str) -> None:
        response = getattr(api, method)(f"/api/v1/{path}")

        wire.assert_is_problem(response, 405, "method_not_allowed")
        assert allowed in response["Allow"]

    @pytest.mark.parametrize("method", ["post", "put", "delete"])
    def test_of_a_picture_with_the_wrong_method(self, client: Client, method: str) -> None:
        response = getattr(client, method)("/files/img_x.png")

        wire.assert_is_problem(response, 405, "method_not_allowed")


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(b"x" * 4_096):
            pass


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A really full file system; without the right to mount one, a folder that is a file."""
    disk = tmp_path / "disk"
    disk.mkdir()
    is_mounted = not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], stderr=subprocess.DEVNULL
    )
    if is_mounted:
        _fill(disk / "filler")
        yield disk
        subprocess.check_call(["umount", str(disk)])
    else:
        (disk / "file").touch()
        yield disk / "file"


def _store_in(settings: Any, folder: Path) -> None:
    backend = "django.core.files.storage.FileSystemStorage"
    images = {"BACKEND": backend, "OPTIONS": {"location": str(folder)}}
    settings.STORAGES = {**settings.STORAGES, "images": images}


def _files_under(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


class TestStorage:
    def test_in_a_folder_that_is_a_file(
        self, api: Client, workspace: Workspace, settings: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        _store_in(settings, tmp_path / "file" / "images")

        job = wire.finished(api)

        assert (job["state"], job["error"]["code"]) == ("failed", "storage_unavailable")
        assert Job.objects.across_workspaces().get().attempt == 3
        wire.assert_nothing_was_charged(workspace)

    def test_on_a_full_disk(self, api: Client, workspace: Workspace, settings: Any, full_disk: Path) -> None:
        before = _files_under(full_disk)
        _store_in(settings, full_disk)

        job = wire.finished(api, num_images=2)

        assert (job["state"], job["error"]["code"], job["images"]) == ("failed", "storage_unavailable", [])
        assert Job.objects.across_workspaces().get().attempt == 3
        assert _files_under(full_disk) == before
        wire.assert_nothing_was_charged(workspace)

    def test_that_fills_up_midway_keeps_no_half_job(
        self, api: Client, workspace: Workspace, settings: Any, full_disk: Path
    ) -> None:
        (full_disk / "filler").unlink(missing_ok=True)
        _store_in(settings, full_disk)

        job = wire.finished(
            api, num_images=10, width=512, height=512, output_format="jpeg", output_quality=100
        )

        assert (job["state"], job["error"]["code"], _files_under(full_disk)) == (
            "failed",
            "storage_unavailable",
            [],
        )
        wire.assert_nothing_was_charged(workspace)

    def test_that_lost_a_picture_answers_a_problem(self, api: Client, tmp_path: Path) -> None:
        job = wire.finished(api, response_format="b64")
        for path in (tmp_path / "images").rglob("*.png"):
            path.unlink()

        response = api.get(f"/api/v1/jobs/{job['id']}")

        wire.assert_is_problem(response, 503, "storage_unavailable")
