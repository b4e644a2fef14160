import io
from datetime import timedelta
from typing import Any

from django.core.management import call_command

from accounts import api_keys, clock
from accounts.key_terms import Terms
from accounts.models import Membership, Workspace


def said() -> list[str]:
    out = io.StringIO()
    call_command("key_peppers", stdout=out)
    return out.getvalue().splitlines()


class TestKeyPeppers:
    def test_counts_live_keys_under_each_pepper(self, workspace: Workspace, settings: Any) -> None:
        settings.KEY_PEPPERS = {"1": "old pepper"}
        issued = [api_keys.issue(workspace, f"old {number}") for number in range(2)]
        settings.KEY_PEPPERS = {"2": "new pepper", "1": "old pepper"}
        api_keys.issue(workspace, "new")

        before = said()
        for one in issued:
            api_keys.authenticate(one.plain_text, clock.now())

        assert before == [
            "2: 1 live key, makes new digests",
            "1: 2 live keys, still needed; a key moves to the first pepper when it is used",
        ]
        assert said() == ["2: 3 live keys, makes new digests", "1: 0 live keys, may be removed"]

    def test_leaves_out_keys_that_have_ended(
        self, workspace: Workspace, bobs_membership: Membership, settings: Any
    ) -> None:
        now = clock.now()
        api_keys.revoke(api_keys.issue(workspace, "revoked").key, now)
        api_keys.issue(workspace, "expired", terms=Terms(expires_at=now))
        api_keys.issue(workspace, "ends later", terms=Terms(expires_at=now + timedelta(days=1)))
        api_keys.issue(workspace, "of one who left", membership=bobs_membership)
        bobs_membership.removed_at = now
        bobs_membership.save()

        assert said() == ["1: 1 live key, makes new digests"]

    def test_names_a_pepper_that_is_missing(self, workspace: Workspace, settings: Any) -> None:
        settings.KEY_PEPPERS = {"lost": "a pepper"}
        api_keys.issue(workspace, "stranded")
        settings.KEY_PEPPERS = {"1": "another"}

        assert said() == [
            "1: 0 live keys, makes new digests",
            "lost: 1 live key, not in ATELIER_KEY_PEPPER, so nobody can use them",
        ]

    def test_prints_no_pepper(self, workspace: Workspace, settings: Any) -> None:
        settings.KEY_PEPPERS = {"1": "a secret pepper"}

        assert "secret" not in "".join(said())
