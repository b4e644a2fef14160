"""Starting with an environment: development needs nothing, production refuses what is unsafe."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCTION = {
    "ATELIER_ENV": "production",
    "ATELIER_SECRET_KEY": "a long secret of this installation",
    "ATELIER_KEY_PEPPER": "1:a long pepper of this installation",
    "ATELIER_ALLOWED_HOSTS": "images.example",
    "ATELIER_PUBLIC_URL": "https://images.example",
}


def _start(data_dir: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    ours = ("ATELIER_", "STRIPE_", "DATABASE_URL", "REDIS_URL", "CELERY_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        [sys.executable, "-c", "import gateway.settings"],
        cwd=ROOT,
        env={**inherited, "ATELIER_DATA_DIR": str(data_dir), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


class TestDevelopment:
    def test_starts_with_nothing_set(self, tmp_path: Path) -> None:
        assert _start(tmp_path, {}).returncode == 0

    def test_makes_its_data_folder(self, tmp_path: Path) -> None:
        _start(tmp_path / "new" / "folder", {})

        assert (tmp_path / "new" / "folder").is_dir()

    def test_refuses_an_environment_that_does_not_exist(self, tmp_path: Path) -> None:
        started = _start(tmp_path, {"ATELIER_ENV": "prod"})

        assert started.returncode != 0
        assert "ATELIER_ENV must be one of development, production, not 'prod'." in started.stderr


class TestProduction:
    def test_starts_when_all_is_set(self, tmp_path: Path) -> None:
        started = _start(tmp_path, PRODUCTION)

        assert (started.returncode, started.stderr) == (0, "")

    @pytest.mark.parametrize("name", [name for name in PRODUCTION if name != "ATELIER_ENV"])
    def test_names_a_variable_that_is_missing(self, tmp_path: Path, name: str) -> None:
        started = _start(tmp_path, {**PRODUCTION, name: ""})

        assert started.returncode != 0
        assert f"ATELIER_ENV=production needs {name} to be set." in started.stderr

    def test_names_all_that_are_missing_at_once(self, tmp_path: Path) -> None:
        started = _start(tmp_path, {"ATELIER_ENV": "production"})

        assert all(name in started.stderr for name in PRODUCTION)

    def test_refuses_stripe_without_a_webhook_secret(self, tmp_path: Path) -> None:
        started = _start(tmp_path, {**PRODUCTION, "STRIPE_API_KEY": "sk_live_x"})

        assert started.returncode != 0
        assert "STRIPE_WEBHOOK_SECRETS" in started.stderr
        assert "sk_live_x" not in started.stderr

    def test_starts_with_stripe_and_its_secret(self, tmp_path: Path) -> None:
        stripe = {"STRIPE_API_KEY": "sk_live_x", "STRIPE_WEBHOOK_SECRETS": "whsec_x"}

        assert _start(tmp_path, {**PRODUCTION, **stripe}).returncode == 0

    def test_never_shows_a_secret_when_it_refuses(self, tmp_path: Path) -> None:
        started = _start(tmp_path, {**PRODUCTION, "ATELIER_PUBLIC_URL": ""})

        assert PRODUCTION["ATELIER_SECRET_KEY"] not in started.stderr
