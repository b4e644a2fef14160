"""GET /api/v1/models."""

from django.test import Client

from tests import factories


class TestModels:
    def test_shows_what_a_caller_needs_to_know(self, api: Client) -> None:
        assert api.get("/api/v1/models").json() == {
            "data": [
                {
                    "id": "fake",
                    "version": "fake@1",
                    "name": "Fake",
                    "description": "For tests.",
                    "aliases": ["fake-alias"],
                    "operations": ["text-to-image"],
                    "size_policy": "exact",
                    "sizes": [[64, 64]],
                    "schedulers": ["euler", "ddim", "heun"],
                    "default_steps": 4,
                    "max_steps": 50,
                    "default_guidance_scale": 7.0,
                    "max_images": 10,
                }
            ]
        }

    def test_lists_all_by_name(self, api: Client) -> None:
        factories.fake_model("zebra")
        factories.fake_model("apple")

        assert [model["id"] for model in api.get("/api/v1/models").json()["data"]] == [
            "apple",
            "fake",
            "zebra",
        ]

    def test_shows_only_the_current_version(self, api: Client) -> None:
        factories.fake_model(default_steps=9)

        (model,) = api.get("/api/v1/models").json()["data"]

        assert (model["version"], model["default_steps"]) == ("fake@2", 9)

    def test_hides_the_place_of_the_weights(self, api: Client) -> None:
        factories.fake_model("placed", source="/models/placed")

        assert "/models/placed" not in api.get("/api/v1/models").content.decode()
