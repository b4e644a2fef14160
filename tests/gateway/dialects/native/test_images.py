"""GET /api/v1/images/{id}."""

import pytest
from django.test import Client

from accounts import clock
from accounts.models import Workspace
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
