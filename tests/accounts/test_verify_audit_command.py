import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from accounts import audit_checks, ids
from accounts.audit_checks import Head
from accounts.models import Workspace
from tests.accounts.audit_log import events_of, record, seal


def public(workspace: Workspace) -> str:
    return ids.public(ids.Prefix.WORKSPACE, workspace.pk)


def verify(*options: str) -> str:
    printed = io.StringIO()
    call_command("verify_audit", *options, stdout=printed)
    return printed.getvalue()


def head_of(workspace: Workspace) -> Head:
    (chain,) = audit_checks.chains(workspace.pk)
    return chain.head


@pytest.fixture
def log(tmp_path: Path, workspace: Workspace) -> Path:
    """Our log with the heads of two seals, among other lines."""
    lines = ["not JSON", json.dumps({"event": "request", "status": 200})]
    for target in ("job_1", "job_2"):
        record(workspace, target)
        made = seal(workspace)
        lines.append(
            json.dumps(
                {
                    "event": "audit sealed",
                    "workspace_id": public(workspace),
                    "number": made.number,
                    "digest": made.digest,
                }
            )
        )
    written = tmp_path / "atelier.log"
    written.write_text("\n".join(lines) + "\n")
    return written


class TestVerifyAudit:
    def test_is_content_with_an_empty_database(self, db: None) -> None:
        assert verify() == "The audit log is as it was sealed.\n"

    def test_prints_how_much_is_sealed_and_the_head(self, workspace: Workspace) -> None:
        seal(workspace)

        line, verdict = verify().splitlines()

        head = head_of(workspace)
        assert line == f"{public(workspace)}  events {events_of(workspace).count()}  head 1 {head.digest}"
        assert verdict == "The audit log is as it was sealed."

    def test_agrees_with_the_heads_of_the_log(self, log: Path, workspace: Workspace) -> None:
        assert "head 2" in verify("--heads", str(log))

    def test_looks_at_one_workspace(self, workspace: Workspace, charlies_workspace: Workspace) -> None:
        seal(workspace)
        seal(charlies_workspace)

        printed = verify("--workspace", public(workspace))

        assert public(workspace) in printed
        assert public(charlies_workspace) not in printed

    @pytest.mark.usefixtures("audit_unprotected")
    def test_fails_with_what_it_found_and_the_count(self, workspace: Workspace) -> None:
        events = record(workspace, "job_1", "job_2")
        seal(workspace)
        events_of(workspace).filter(pk=events[0].pk).update(actor="user:somebody")
        events_of(workspace).filter(pk=events[1].pk).delete()
        printed = io.StringIO()

        with pytest.raises(CommandError, match=r"^2 discrepancies\.$"):
            call_command("verify_audit", stdout=printed)

        gone, changed = printed.getvalue().splitlines()
        assert gone.startswith(f"sealed event is gone: {public(workspace)} event {events[1].pk} (seal 1")
        assert changed.startswith(f"event differs from what was sealed: {public(workspace)} event")

    def test_fails_when_the_log_knows_more(self, log: Path, workspace: Workspace, tmp_path: Path) -> None:
        newer = tmp_path / "newer.log"
        newer.write_text(log.read_text().replace('"number": 2', '"number": 3'))

        with pytest.raises(CommandError, match=r"^1 discrepancy\.$"):
            verify("--heads", str(log), str(newer))

    def test_refuses_a_log_without_heads(self, workspace: Workspace, tmp_path: Path) -> None:
        (tmp_path / "empty.log").write_text('{"event": "request"}\n')

        with pytest.raises(CommandError, match="tells no heads"):
            verify("--heads", str(tmp_path / "empty.log"))

    def test_refuses_a_log_that_is_not_there(self, log: Path) -> None:
        with pytest.raises(CommandError, match="No such file"):
            verify("--heads", str(log), f"{log}.1")

    @pytest.mark.parametrize("text", ["", "ws_short", "job_00000000000000000000000000"])
    def test_refuses_what_is_no_id_of_a_workspace(self, db: None, text: str) -> None:
        with pytest.raises(CommandError, match="--workspace"):
            verify("--workspace", text)

    def test_refuses_a_workspace_that_is_not_there(self, db: None) -> None:
        with pytest.raises(CommandError, match="no such workspace"):
            verify("--workspace", f"ws_{'0' * 26}")
