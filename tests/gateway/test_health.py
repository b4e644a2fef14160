"""/livez and /readyz."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from gateway import health
from inference import dispatch
from tests.flows.processes import free_port

PROBES = ["/livez", "/readyz"]


@pytest.fixture(autouse=True)
def _workers_elsewhere(settings: Any) -> Iterator[None]:
    """Nothing makes images in the test's process, and no earlier answer counts."""
    settings.DISPATCH = "celery"
    dispatch.get.cache_clear()
    health._faults.cache_clear()
    yield
    health._faults.cache_clear()
    dispatch.get.cache_clear()


class TestLivez:
    def test_needs_nothing_but_the_process(self, client: Client) -> None:
        response = client.get("/livez")

        assert (response.status_code, response.json()) == (200, {"status": "ok"})


class TestReadyz:
    def test_is_ok_when_all_parts_work(self, client: Client, db: None) -> None:
        response = client.get("/readyz")

        assert (response.status_code, response.json()) == (200, {"status": "ok"})

    def test_leaves_nothing_in_the_storage(self, client: Client, db: None, tmp_path: Path) -> None:
        client.get("/readyz")

        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_names_a_storage_that_cannot_write(
        self, client: Client, db: None, settings: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        images = {**settings.STORAGES["images"], "OPTIONS": {"location": str(tmp_path / "file" / "images")}}
        settings.STORAGES = {**settings.STORAGES, "images": images}

        response = client.get("/readyz")

        assert response.status_code == 503
        assert response.json() == {"status": "unavailable", "down": {"storage": "StorageFailed"}}

    def test_names_a_database_that_cannot_be_asked(self, client: Client) -> None:
        """pytest-django keeps the database from a test that did not ask for it."""
        response = client.get("/readyz")

        assert response.status_code == 503
        assert list(response.json()["down"]) == ["database", "migrations"]

    def test_misses_the_worker_that_should_be_here(self, client: Client, db: None, settings: Any) -> None:
        settings.DISPATCH = "inprocess"
        dispatch.get.cache_clear()

        assert client.get("/readyz").json()["down"] == {"worker": "NoWorker"}

    def test_serves_on_without_redis_and_says_so(self, client: Client, db: None, settings: Any) -> None:
        settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"

        response = client.get("/readyz")

        assert response.status_code == 200
        assert response.json() == {"status": "ok", "degraded": {"redis": "ConnectionError"}}

    def test_names_what_is_down_beside_what_is_missed(self, client: Client, settings: Any) -> None:
        settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"

        response = client.get("/readyz")

        assert response.status_code == 503
        assert list(response.json()["down"]) == ["database", "migrations"]
        assert list(response.json()["degraded"]) == ["redis"]


class TestProbe:
    @pytest.mark.parametrize("path", PROBES)
    def test_needs_no_key_and_no_allowed_host(self, client: Client, db: None, path: str) -> None:
        """An orchestrator asks by the address of the container."""
        assert client.get(path, headers={"Host": "10.1.2.3:8000"}).status_code == 200

    @pytest.mark.parametrize("path", PROBES)
    def test_sets_no_cookie(self, client: Client, db: None, path: str) -> None:
        assert not client.get(path).cookies
