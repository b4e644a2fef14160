"""README's configuration table and the settings name the same environment variables."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\|\s*`([A-Z][A-Z0-9_]+)`", re.MULTILINE)


@pytest.fixture
def documented() -> set[str]:
    """Names in the first column of the tables below the heading that speaks of configuration."""
    readme = ROOT / "README.md"
    assert readme.exists(), "There is no README.md."
    parts = re.split(r"^#{1,3} ", readme.read_text(), flags=re.MULTILINE)
    chapters = [part for part in parts if "configuration" in part.partition("\n")[0].lower()]
    assert chapters, "README.md has no heading that speaks of configuration."
    return {name for chapter in chapters for name in ROW.findall(chapter)}


def _read_by_settings() -> set[str]:
    names = {"DATABASE_URL"}  # read by dj_database_url
    for node in ast.walk(ast.parse((ROOT / "gateway" / "settings.py").read_text())):
        match node:
            case ast.Call(ast.Attribute(ast.Name("env")), [ast.Constant(str(name)), *_]):
                names.add(name)
    return names


class TestConfigurationTable:
    def test_names_every_variable_that_is_read(self, documented: set[str]) -> None:
        assert sorted(_read_by_settings() - documented) == []

    def test_names_no_variable_that_is_not_read(self, documented: set[str]) -> None:
        assert sorted(documented - _read_by_settings()) == []


class TestSettings:
    def test_read_the_environment_through_the_typed_readers_only(self) -> None:
        text = (ROOT / "gateway" / "settings.py").read_text()

        assert "os.environ" not in text
        assert "getenv" not in text
