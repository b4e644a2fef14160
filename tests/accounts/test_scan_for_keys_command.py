import io
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from accounts import api_keys, clock
from accounts.api_keys import RevokedKey
from accounts.models import Workspace
from tests.accounts.test_key_text import KEY
from tests.flows.processes import ROOT


def scan(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("scan_for_keys", *arguments, stdout=out, stderr=err)
    except CommandError as error:
        return error.returncode, out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


class TestScanForKeys:
    def test_names_file_line_and_prefix_without_a_database(self, tmp_path: Path) -> None:
        (tmp_path / "conf").mkdir()
        (tmp_path / "conf" / "app.env").write_text(f"A=1\nKEY={KEY}\n")

        code, out, err = scan(str(tmp_path))

        assert (code, out) == (1, f"{tmp_path}/conf/app.env:2: {KEY[:21]}\n")
        assert KEY[22:] not in out + err

    def test_is_content_where_there_is_no_key(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("nothing here")

        assert scan(str(tmp_path)) == (0, "No key was found.\n", "")

    def test_reports_what_cannot_be_read(self, tmp_path: Path) -> None:
        code, _, err = scan(str(tmp_path / "missing"))

        assert code == 2
        assert f"{tmp_path}/missing: cannot be read (No such file or directory)" in err

    def test_goes_on_after_what_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "b").write_text(KEY)

        code, out, _ = scan(str(tmp_path / "missing"), str(tmp_path / "b"))

        assert (code, out) == (1, f"{tmp_path}/b:1: {KEY[:21]}\n")

    def test_hides_a_key_in_a_files_name(self, tmp_path: Path) -> None:
        (tmp_path / KEY).write_text(KEY)

        _, out, _ = scan(str(tmp_path))

        assert KEY[22:] not in out

    def test_prints_a_name_that_is_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "caf\udce9").write_text(KEY)

        _, out, _ = scan(str(tmp_path))

        assert "caf\\udce9:1: " in out

    def test_reads_standard_input(self) -> None:
        done = subprocess.run(
            [sys.executable, "manage.py", "scan_for_keys", "-"],
            cwd=ROOT,
            input=f"+++ b/app.env\n+KEY={KEY}\n",
            capture_output=True,
            text=True,
        )

        assert (done.returncode, done.stdout) == (1, f"-:2: {KEY[:21]}\n")


class TestRevoke:
    def test_ends_a_key_of_ours_and_says_so(self, workspace: Workspace, tmp_path: Path) -> None:
        issued = api_keys.issue(workspace, "found")
        (tmp_path / "a").write_text(f"{issued.plain_text}\n{issued.plain_text}\n{KEY}\n")

        _, out, _ = scan("--revoke", str(tmp_path))

        assert [line.rpartition(": ")[2] for line in out.splitlines()] == [
            "revoked",
            "already revoked",
            "unknown",
        ]
        with pytest.raises(RevokedKey):
            api_keys.authenticate(issued.plain_text, clock.now())

    def test_is_only_done_when_asked(self, workspace: Workspace, tmp_path: Path) -> None:
        issued = api_keys.issue(workspace, "found")
        (tmp_path / "a").write_text(issued.plain_text)

        scan(str(tmp_path))

        assert api_keys.authenticate(issued.plain_text, clock.now()) == issued.key
