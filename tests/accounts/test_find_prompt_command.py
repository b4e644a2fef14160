import io
import sys
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts import ids
from accounts.models import Workspace, WorkspaceKeyring
from tests import factories

PROMPT = "a red boat at dawn"


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command's lines for a workspace and what is on standard input."""

    def run(workspace: Workspace, typed: bytes) -> list[str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed)))
        printed = io.StringIO()
        call_command("find_prompt", ids.public(ids.Prefix.WORKSPACE, workspace.pk), stdout=printed)
        return printed.getvalue().splitlines()

    return run


@pytest.mark.usefixtures("model")
class TestFindPrompt:
    @pytest.mark.parametrize("end", ["", "\n", "\r\n"])
    def test_lists_who_sent_it_and_when(self, workspace: Workspace, find: Any, end: str) -> None:
        job = factories.job(workspace, PROMPT)
        factories.job(workspace, "another prompt")

        line, count = find(workspace, f"{PROMPT}{end}".encode())

        assert line.endswith(
            f"job:accepted  {job.public_id}  {factories.caller(workspace).origin.actor}  req_test"
        )
        assert count == "1 event."

    def test_lists_every_time_oldest_first(self, workspace: Workspace, find: Any) -> None:
        jobs = [factories.job(workspace, PROMPT), factories.job(workspace, PROMPT)]

        *lines, count = find(workspace, PROMPT.encode())

        assert [line.split("  ")[2] for line in lines] == [job.public_id for job in jobs]
        assert count == "2 events."

    def test_never_repeats_the_prompt(self, workspace: Workspace, find: Any) -> None:
        factories.job(workspace, PROMPT)

        assert not any("boat" in line for line in find(workspace, PROMPT.encode()))

    @pytest.mark.parametrize("typed", [f"{PROMPT}.", f"{PROMPT}\n\n", PROMPT.upper(), ""])
    def test_finds_nothing_but_the_same_words(self, workspace: Workspace, find: Any, typed: str) -> None:
        factories.job(workspace, PROMPT)

        assert find(workspace, typed.encode()) == ["0 events."]

    def test_finds_nothing_of_another_workspace(
        self, workspace: Workspace, charlies_workspace: Workspace, find: Any
    ) -> None:
        factories.job(workspace, PROMPT)

        assert find(charlies_workspace, PROMPT.encode()) == ["0 events."]

    def test_finds_words_of_any_script(self, workspace: Workspace, find: Any) -> None:
        factories.job(workspace, "größer 🛶")

        assert find(workspace, "größer 🛶\n".encode())[-1] == "1 event."

    def test_says_that_the_key_was_destroyed(self, workspace: Workspace, find: Any) -> None:
        WorkspaceKeyring.objects.filter(workspace=workspace).delete()

        with pytest.raises(CommandError, match="destroyed"):
            find(workspace, PROMPT.encode())

    def test_refuses_what_is_not_utf_8(self, workspace: Workspace, find: Any) -> None:
        with pytest.raises(CommandError, match="utf-8"):
            find(workspace, b"\xff")

    def test_refuses_a_workspace_that_is_not_there(self, db: None, find: Any) -> None:
        with pytest.raises(CommandError, match="no such workspace"):
            find(Workspace(), PROMPT.encode())

    def test_refuses_what_is_no_id_of_a_workspace(self, db: None) -> None:
        with pytest.raises(CommandError, match="WS"):
            call_command("find_prompt", PROMPT)
