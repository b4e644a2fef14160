"""GET /files/<image>: the signed address of a picture."""

import hashlib
from datetime import timedelta
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client
from PIL import Image as Picture

from accounts import clock
from accounts.models import Workspace
from inference import storage
from inference.models import Image
from tests.gateway import wire

PROVENANCE = b"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


@pytest.fixture
def url(api: Client) -> str:
    """Address of a finished picture, without the host."""
    (image,) = wire.finished(api)["images"]
    parts = urlsplit(image["url"])
    return f"{parts.path}?{parts.query}"


class TestAddress:
    def test_opens_without_a_key(self, client: Client, url: str) -> None:
        response = client.get(url)

        assert (response.status_code, response["Content-Type"]) == (200, "image/png")
        assert Picture.open(BytesIO(response.content)).size == (64, 64)

    @pytest.mark.parametrize("header", ["Bearer nonsense", "Basic dTpw", "Key a:b", "x"])
    def test_ignores_any_authorization(self, client: Client, url: str, header: str) -> None:
        assert client.get(url, headers={"Authorization": header}).status_code == 200

    def test_is_the_same_file_for_everybody(self, charlies_api: Client, client: Client, url: str) -> None:
        assert charlies_api.get(url).content == client.get(url).content

    def test_is_on_the_public_host(self, api: Client, settings: Any) -> None:
        settings.PUBLIC_URL = "https://images.example"

        (image,) = wire.finished(api)["images"]

        assert image["url"].startswith("https://images.example/files/img_")

    def test_answers_head_without_the_bytes(self, client: Client, url: str) -> None:
        response = client.head(url)

        assert (response.status_code, response["Content-Type"], response.content) == (200, "image/png", b"")

    @pytest.mark.parametrize("method", ["get", "head"])
    def test_tells_its_length(self, client: Client, url: str, method: str) -> None:
        response = getattr(client, method)(url)

        assert response["Content-Length"] == str(Image.objects.across_workspaces().get().size_bytes)

    def test_cannot_run_anything_in_a_browser(self, client: Client, url: str) -> None:
        response = client.get(url)

        assert response["X-Content-Type-Options"] == "nosniff"
        assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert response["Content-Disposition"].startswith("inline")

    def test_sets_no_cookie(self, client: Client, url: str) -> None:
        assert not client.get(url).cookies

    def test_is_stored_under_the_hash_that_is_shown(self, api: Client, client: Client) -> None:
        (image,) = wire.finished(api)["images"]

        content = client.get(image["url"]).content
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (image["sha256"], image["size_bytes"])


class TestRefused:
    def test_when_expired(self, client: Client, url: str) -> None:
        row = Image.objects.across_workspaces().get()
        old = storage.signed_url(row, clock.now() - timedelta(seconds=3_601))

        wire.assert_is_problem(client.get(old), 404, "not_found")

    def test_lives_as_long_as_the_settings_say(self, client: Client, url: str) -> None:
        row = Image.objects.across_workspaces().get()
        young = storage.signed_url(row, clock.now() - timedelta(seconds=3_590))

        assert client.get(young).status_code == 200

    @pytest.mark.parametrize(
        "tamper",
        [
            lambda url: url[:-1] + ("0" if url[-1] != "0" else "1"),
            lambda url: url.replace("expires=", "expires=9"),
            lambda url: url.partition("&")[0],
            lambda url: url.partition("?")[0],
            lambda url: url.partition("signature=")[0] + "signature=",
            lambda url: url.partition("signature=")[0] + "signature=%C3%A9",
            lambda url: url.replace("expires=", "expires=x"),
            lambda url: url.partition("expires=")[0] + "expires=" + "9" * 5_000 + "&signature=x",
            lambda url: url.replace(".png", ".jpeg"),
            lambda url: url.replace(".png", ".html"),
            lambda url: url.replace(".png", ""),
            lambda url: url.replace("/files/img_", "/files/job_"),
            lambda url: url.replace("/files/", "/files/../files/x"),
        ],
    )
    def test_when_tampered_with(self, client: Client, url: str, tamper: Any) -> None:
        wire.assert_is_problem(client.get(tamper(url)), 404, "not_found")

    def test_for_another_image(self, api: Client, client: Client, url: str) -> None:
        (other,) = wire.finished(api)["images"]
        query = url.partition("?")[2]

        wire.assert_is_problem(client.get(f"/files/{other['id']}.png?{query}"), 404, "not_found")

    def test_after_the_picture_was_deleted(self, client: Client, url: str, workspace: Workspace) -> None:
        Image.objects.for_workspace(workspace).update(deleted_at=clock.now())

        wire.assert_is_problem(client.get(url), 404, "not_found")

    def test_when_signed_under_another_secret(self, client: Client, url: str, settings: Any) -> None:
        settings.SECRET_KEY = "another secret of this installation"

        wire.assert_is_problem(client.get(url), 404, "not_found")

    def test_as_a_problem_when_the_bytes_are_gone(self, client: Client, url: str) -> None:
        storage.discard(Image.objects.across_workspaces().get().storage_key)

        wire.assert_is_problem(client.get(url), 503, "storage_unavailable")


class TestProvenance:
    @pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
    def test_is_in_the_bytes_of_every_format(self, api: Client, client: Client, output_format: str) -> None:
        (image,) = wire.finished(api, output_format=output_format)["images"]

        content = client.get(image["url"]).content

        assert PROVENANCE in content

    @pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
    def test_is_found_by_a_reader_of_xmp(self, api: Client, client: Client, output_format: str) -> None:
        (image,) = wire.finished(api, output_format=output_format)["images"]

        picture = Picture.open(BytesIO(client.get(image["url"]).content))

        xmp = picture.info.get("xmp") or picture.info["XML:com.adobe.xmp"].encode()
        assert PROVENANCE in xmp

    @pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
    def test_does_not_carry_the_prompt(self, api: Client, client: Client, output_format: str) -> None:
        (image,) = wire.finished(api, "a verysecret boat", output_format=output_format)["images"]

        assert b"verysecret" not in client.get(image["url"]).content
