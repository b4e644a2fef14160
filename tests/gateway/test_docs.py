"""The schema and the pages that show it."""

import re
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.test import Client
from django.urls import get_resolver

from gateway.api.error_codes import CODES
from gateway.dialects.native.serializers import GenerationSerializer

PAGES = ["/api/docs", "/api/docs/redoc", "/api/docs/errors"]
FOREIGN = re.compile(r"""(?:https?:)?//(?!www\.w3\.org)[a-z0-9.-]+\.[a-z]{2,}""")


@pytest.fixture
def schema(client: Client) -> dict[str, Any]:
    response = client.get("/api/schema")
    assert response.status_code == 200
    body: dict[str, Any] = response.json()
    return body


class TestSchema:
    def test_is_valid_and_without_warnings(self, tmp_path: Any) -> None:
        call_command("spectacular", "--fail-on-warn", "--validate", "--file", str(tmp_path / "schema.yaml"))

        assert (tmp_path / "schema.yaml").stat().st_size > 1_000

    def test_is_openapi_3_1(self, schema: dict[str, Any]) -> None:
        assert schema["openapi"].startswith("3.1")

    def test_names_every_address_of_the_native_api(self, schema: dict[str, Any]) -> None:
        (native,) = (pattern for pattern in get_resolver().url_patterns if str(pattern.pattern) == "api/v1/")
        addresses = {
            re.sub(r"<\w+:(\w+)>", r"{\1}", f"/api/v1/{part.pattern}") for part in native.url_patterns
        }

        assert set(schema["paths"]) == addresses

    def test_names_every_field_of_a_request(self, schema: dict[str, Any]) -> None:
        shown = schema["components"]["schemas"]["Generation"]

        assert set(shown["properties"]) == set(GenerationSerializer().fields)
        assert shown["required"] == ["prompt"]

    def test_names_the_headers_that_are_read(self, schema: dict[str, Any]) -> None:
        parameters = schema["paths"]["/api/v1/generations"]["post"]["parameters"]

        assert {parameter["name"] for parameter in parameters} == {"Prefer", "Idempotency-Key"}

    def test_says_how_to_send_the_key(self, schema: dict[str, Any]) -> None:
        (scheme,) = schema["components"]["securitySchemes"].values()

        assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")


class TestPage:
    @pytest.mark.parametrize("path", PAGES)
    def test_opens_without_a_key(self, client: Client, path: str) -> None:
        response = client.get(path, headers={"Accept": "text/html,*/*;q=0.8"})

        assert (response.status_code, response["Content-Type"]) == (200, "text/html; charset=utf-8")

    @pytest.mark.parametrize("path", PAGES)
    def test_refers_to_no_foreign_host(self, client: Client, path: str) -> None:
        assert FOREIGN.findall(client.get(path).content.decode()) == []

    @pytest.mark.parametrize("path", ["/api/docs", "/api/docs/redoc"])
    def test_loads_only_files_that_are_shipped(self, client: Client, path: str) -> None:
        page = client.get(path).content.decode()

        files = re.findall(r'(?:src|href)="/static/([^"]+)"', page)
        assert files
        assert [file for file in files if finders.find(file) is None] == []

    def test_of_errors_explains_every_code(self, client: Client) -> None:
        page = client.get("/api/docs/errors").content.decode()

        assert [code for code in CODES if f'id="{code}"' not in page] == []

    def test_of_errors_is_where_problems_point(self, client: Client) -> None:
        problem = client.get("/api/v1/models").json()

        path, _, code = problem["type"].partition("#")
        assert f'id="{code}"' in client.get(path).content.decode()
