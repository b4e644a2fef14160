"""GET and DELETE /api/v1/images/{id}."""

import pytest
from django.test import Client

from accounts import api_keys, clock
from accounts.key_terms import Terms
from accounts.models import Scope, Workspace
from inference.models import Image
from tests.gateway import wire

IMAGES = "/api/v1/images"


class TestImage:
    def test_shows_one_image(self, api: Client) -> None:
        (image,) = wire.finished(api, seed=7)["images"]

        shown = api.get(f"{IMAGES}/{image['id']}").json()

        assert {**shown, "url": ""} == {**image, "url": ""}

    def test_gives_an_address_that_opens(self, api: Client, client: Client) -> None:
        (image,) = wire.finished(api)["images"]

        url = api.get(f"{IMAGES}/{image['id']}").json()["url"]

        assert client.get(url).status_code == 200

    def test_deleted_is_gone(self, api: Client, workspace: Workspace) -> None:
        (image,) = wire.finished(api)["images"]
        Image.objects.for_workspace(workspace).update(deleted_at=clock.now())

        wire.assert_is_problem(api.get(f"{IMAGES}/{image['id']}"), 404, "not_found")

    @pytest.mark.parametrize("image_id", ["x", "img_", "job_" + "0" * 26, "img_" + "0" * 26])
    def test_malformed_and_unknown_are_absent(self, api: Client, image_id: str) -> None:
        wire.assert_is_problem(api.get(f"{IMAGES}/{image_id}"), 404, "not_found")

    def test_is_hidden_from_a_stranger(self, api: Client, charlies_api: Client) -> None:
        (image,) = wire.finished(api)["images"]

        wire.assert_is_problem(charlies_api.get(f"{IMAGES}/{image['id']}"), 404, "not_found")

    def test_is_hidden_from_another_member(self, api: Client, bobs_api: Client) -> None:
        (image,) = wire.finished(api)["images"]

        wire.assert_is_problem(bobs_api.get(f"{IMAGES}/{image['id']}"), 404, "not_found")

    def test_is_hidden_from_the_test_side(self, api: Client, test_side_api: Client) -> None:
        (image,) = wire.finished(api)["images"]

        wire.assert_is_problem(test_side_api.get(f"{IMAGES}/{image['id']}"), 404, "not_found")


class TestDelete:
    def test_hides_the_image_at_once(self, api: Client, client: Client) -> None:
        (image,) = wire.finished(api)["images"]

        response = api.delete(f"{IMAGES}/{image['id']}")

        assert (response.status_code, response.content) == (204, b"")
        wire.assert_is_problem(api.get(f"{IMAGES}/{image['id']}"), 404, "not_found")
        wire.assert_is_problem(client.get(image["url"]), 404, "not_found")

    def test_finds_nothing_the_second_time(self, api: Client) -> None:
        (image,) = wire.finished(api)["images"]
        api.delete(f"{IMAGES}/{image['id']}")

        wire.assert_is_problem(api.delete(f"{IMAGES}/{image['id']}"), 404, "not_found")

    def test_leaves_the_books_as_they_are(self, api: Client, workspace: Workspace) -> None:
        (image,) = wire.finished(api)["images"]
        api.delete(f"{IMAGES}/{image['id']}")

        wire.assert_nothing_was_charged(workspace, 990)

    @pytest.mark.parametrize("image_id", ["x", "img_", "job_" + "0" * 26, "img_" + "0" * 26])
    def test_finds_no_image_that_never_was(self, api: Client, image_id: str) -> None:
        wire.assert_is_problem(api.delete(f"{IMAGES}/{image_id}"), 404, "not_found")

    @pytest.mark.parametrize("other", ["charlies_api", "bobs_api", "test_side_api"])
    def test_is_not_for_who_does_not_see_it(
        self, api: Client, other: str, request: pytest.FixtureRequest
    ) -> None:
        (image,) = wire.finished(api)["images"]

        response = request.getfixturevalue(other).delete(f"{IMAGES}/{image['id']}")

        wire.assert_is_problem(response, 404, "not_found")
        assert api.get(f"{IMAGES}/{image['id']}").status_code == 200

    def test_needs_the_scope(self, workspace: Workspace, api: Client) -> None:
        (image,) = wire.finished(api)["images"]
        reader = api_keys.issue(workspace, "reader", terms=Terms(scopes=(Scope.JOBS,)))

        response = wire.client(reader.plain_text).delete(f"{IMAGES}/{image['id']}")

        wire.assert_is_problem(response, 403, "scope_missing")
