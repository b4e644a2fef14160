"""GET /v1/models and /v1/models/{name}."""

from typing import Any

import pytest
from django.test import Client

from inference.models import ModelAlias
from tests import factories
from tests.gateway import wire


class TestList:
    def test_is_an_openai_list(self, api: Client) -> None:
        body = api.get("/v1/models").json()

        assert (set(body), body["object"]) == ({"object", "data"}, "list")
        assert {frozenset(model) for model in body["data"]} == {
            frozenset({"id", "object", "created", "owned_by"})
        }

    def test_names_models_and_aliases(self, api: Client) -> None:
        factories.fake_model("other")

        names = [model["id"] for model in api.get("/v1/models").json()["data"]]

        assert names == ["fake", "fake-alias", "other", "other-alias"]

    def test_needs_a_key(self, client: Client) -> None:
        response = client.get("/v1/models")

        wire.assert_is_openai_error(response, 401, "authentication_error", "invalid_api_key")


class TestOne:
    @pytest.mark.parametrize("name", ["fake", "fake@1", "fake-alias"])
    def test_is_found_by_any_of_its_names(self, api: Client, name: str) -> None:
        body = api.get(f"/v1/models/{name}").json()

        assert (body["id"], body["object"], body["owned_by"]) == (name, "model", "atelier")
        assert body["created"] > 1_700_000_000

    @pytest.mark.parametrize("path", ["org/name", "org%2Fname"])
    def test_may_have_a_slash_in_its_name(self, api: Client, model: Any, path: str) -> None:
        ModelAlias.objects.create(alias="org/name", model=model.model)

        assert api.get(f"/v1/models/{path}").json()["id"] == "org/name"

    @pytest.mark.parametrize(
        "name", ["unknown", "fake@2", "fake@x", "a/b/c", "%20", "%00", "fake@" + "1" * 5_000]
    )
    def test_that_is_unknown(self, api: Client, name: str) -> None:
        response = api.get(f"/v1/models/{name}")

        wire.assert_is_openai_error(response, 404, "invalid_request_error", "model_not_found")
