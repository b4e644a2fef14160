from django.test import Client

from accounts import api_keys
from accounts.models import Membership, Workspace
from billing import ledger

ADDRESS = "/api/v1/prompt-templates"
STICKER = {"name": "sticker", "body": "{{prompt}} on {{colour}}", "suffix": "flat design"}


def _save(api: Client, **fields: str) -> dict[str, object]:
    answer = api.post(ADDRESS, {**STICKER, **fields}, content_type="application/json")
    assert answer.status_code == 201
    return dict(answer.json())


class TestSave:
    def test_makes_the_next_version(self, api: Client) -> None:
        first, second = _save(api), _save(api, suffix="bold lines")

        assert (first["version"], second["version"]) == (1, 2)
        assert second["variables"] == ["colour"]

    def test_refuses_an_unknown_field(self, api: Client) -> None:
        answer = api.post(ADDRESS, {**STICKER, "colour": "red"}, content_type="application/json")

        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "colour"

    def test_refuses_too_long_a_text(self, api: Client) -> None:
        answer = api.post(ADDRESS, {**STICKER, "body": "x" * 8_001}, content_type="application/json")

        assert answer.json()["code"] == "invalid_request"

    def test_is_not_for_members(self, workspace: Workspace, bobs_membership: Membership) -> None:
        bobs_key = api_keys.issue(workspace, "bob's key", membership=bobs_membership).plain_text
        headers = {"Authorization": f"Bearer {bobs_key}"}

        answer = Client(headers=headers).post(ADDRESS, STICKER, content_type="application/json")

        assert (answer.status_code, answer.json()["code"]) == (403, "role_forbids")


class TestList:
    def test_shows_the_latest_versions(self, api: Client) -> None:
        _save(api)
        _save(api, suffix="bold lines")

        (listed,) = api.get(ADDRESS).json()["data"]

        assert (listed["version"], listed["suffix"]) == (2, "bold lines")

    def test_shows_nothing_of_a_stranger(self, api: Client, charlies_api: Client) -> None:
        _save(api)

        assert charlies_api.get(ADDRESS).json() == {"data": []}


class TestUse:
    def test_fills_in_the_variables(self, api: Client, workspace: Workspace) -> None:
        _save(api)
        body = {"prompt": "a cat", "prompt_template": "sticker", "variables": {"colour": "pink"}}

        answer = api.post("/api/v1/generations", body, content_type="application/json")

        assert answer.status_code == 202
        assert ledger.balance(workspace.pk).held_credits == 10
