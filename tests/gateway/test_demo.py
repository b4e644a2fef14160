"""The quickstart's demo workspace."""

from pathlib import Path

from accounts import api_keys, clock, workspaces
from accounts.models import User
from billing import ledger
from gateway import demo


class TestEnsure:
    def test_makes_a_workspace_with_credits_and_a_key(self, db: None, tmp_path: Path) -> None:
        made = demo.ensure(tmp_path)

        key = api_keys.authenticate(made.api_key, clock.now())
        assert ledger.balance(key.workspace_id).available_credits == demo.CREDITS
        assert (tmp_path / "demo.json").stat().st_mode & 0o077 == 0

    def test_is_the_same_the_second_time(self, db: None, tmp_path: Path) -> None:
        first = demo.ensure(tmp_path)

        assert demo.ensure(tmp_path) == first
        assert ledger.verify() == []

    def test_makes_new_ways_in_when_the_file_is_of_another_database(self, db: None, tmp_path: Path) -> None:
        first = demo.ensure(tmp_path)
        api_keys.revoke(api_keys.authenticate(first.api_key, clock.now()), clock.now())

        second = demo.ensure(tmp_path)

        assert api_keys.authenticate(second.api_key, clock.now())
        assert len(workspaces.memberships_of(User.objects.get())) == 1
