"""Who may import whom: the contracts of `pyproject.toml`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class TestContracts:
    def test_are_kept(self) -> None:
        checker = Path(sys.executable).parent / "lint-imports"

        checked = subprocess.run([checker, "--no-cache"], cwd=ROOT, capture_output=True, text=True)

        assert checked.returncode == 0, checked.stdout + checked.stderr
