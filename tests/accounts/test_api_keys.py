import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts import api_keys, audit
from accounts.api_keys import (
    ExpiredKey,
    IssuedKey,
    KeyRefused,
    MalformedKey,
    RevokedKey,
    UnknownKey,
    WorkspaceSuspended,
)
from accounts.models import ApiKey, AuditEvent, Membership, Scope, Side, User, Workspace

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
OLD_PEPPER, NEW_PEPPER = "an old pepper of many letters", "a new pepper of many letters"


@pytest.fixture
def issued(workspace: Workspace, membership: Membership) -> IssuedKey:
    return api_keys.issue(workspace, "alice's laptop", membership=membership)


def row_of(key: ApiKey) -> str:
    """All that the database holds of a key, as one text."""
    return str(ApiKey.objects.across_workspaces().filter(pk=key.pk).values().get())


def with_one_character_changed(plain_text: str) -> Iterator[str]:
    for place, letter in enumerate(plain_text):
        for other in api_keys.BASE62 + "_":
            if other != letter:
                yield plain_text[:place] + other + plain_text[place + 1 :]


class TestIssue:
    @pytest.mark.parametrize("side", Side)
    def test_gives_a_key_of_the_documented_shape(self, workspace: Workspace, side: Side) -> None:
        plain_text = api_keys.issue(workspace, "a key", side=side).plain_text

        assert re.fullmatch(rf"atl_{side}_[0-9A-Za-z]{{12}}_[0-9A-Za-z]{{38}}", plain_text)

    def test_has_at_least_160_random_bits(self, issued: IssuedKey) -> None:
        secret = issued.plain_text.split("_")[-1][: -api_keys.CHECKSUM_LENGTH]

        assert len(secret) * math.log2(len(set(api_keys.BASE62))) >= 160

    def test_draws_a_secret_from_the_whole_alphabet(self, workspace: Workspace) -> None:
        drawn = "".join(api_keys.issue(workspace, "a key").plain_text.split("_")[-1] for _ in range(50))

        assert set(drawn) == set(api_keys.BASE62)

    def test_never_gives_the_same_key_twice(self, workspace: Workspace) -> None:
        keys = {api_keys.issue(workspace, "same name").plain_text for _ in range(20)}

        assert len(keys) == 20

    def test_leaves_no_plain_text_in_the_row(self, issued: IssuedKey) -> None:
        secret = issued.plain_text.split("_")[-1]

        assert issued.plain_text not in row_of(issued.key)
        assert secret[: api_keys.SECRET_LENGTH] not in row_of(issued.key)

    def test_leaves_no_plain_text_in_the_audit(self, workspace: Workspace, issued: IssuedKey) -> None:
        secret = issued.plain_text.split("_")[-1][: api_keys.SECRET_LENGTH]

        assert secret not in str(list(AuditEvent.objects.for_workspace(workspace).values()))

    def test_records_an_audit_event(self, workspace: Workspace, issued: IssuedKey) -> None:
        event = AuditEvent.objects.for_workspace(workspace).get(action=audit.Event.KEY_ISSUED)

        assert event.target == api_keys.public_id(issued.key)
        assert event.data["name"] == "alice's laptop"

    def test_shows_no_plain_text_when_printed(self, issued: IssuedKey) -> None:
        assert issued.plain_text not in repr(issued)

    def test_leaves_out_the_admin_scope_by_default(self, issued: IssuedKey) -> None:
        assert set(issued.key.scopes) == set(Scope) - {Scope.ADMIN}

    def test_keeps_the_chosen_scopes(self, workspace: Workspace) -> None:
        issued = api_keys.issue(workspace, "reader", scopes=[Scope.USAGE])

        assert issued.key.scopes == ["usage"]

    def test_makes_a_service_key_without_a_membership(self, workspace: Workspace) -> None:
        assert api_keys.issue(workspace, "service").key.membership is None


class TestAuthenticate:
    def test_finds_the_key(self, issued: IssuedKey) -> None:
        assert api_keys.authenticate(issued.plain_text, NOW) == issued.key

    def test_brings_workspace_and_membership_in_one_query(
        self, issued: IssuedKey, django_assert_num_queries: Any
    ) -> None:
        with django_assert_num_queries(1):
            key = api_keys.authenticate(issued.plain_text, NOW)

            assert key.workspace.name == "Alice's studio"
            assert key.membership is not None

    def test_finds_a_service_key(self, workspace: Workspace) -> None:
        issued = api_keys.issue(workspace, "service")

        assert api_keys.authenticate(issued.plain_text, NOW) == issued.key

    def test_refuses_every_changed_character_without_a_query(
        self, issued: IssuedKey, django_assert_num_queries: Any
    ) -> None:
        with django_assert_num_queries(0):
            for changed in with_one_character_changed(issued.plain_text):
                with pytest.raises(MalformedKey):
                    api_keys.authenticate(changed, NOW)

    @pytest.mark.parametrize(
        "text",
        ["", "atl_", "sk-proj-abcdefghijklmnop", "Bearer x", "atl_live_x_y", "ключ", "\x00", "a" * 9_999],
    )
    def test_refuses_another_text_without_a_database(self, text: str) -> None:
        with pytest.raises(MalformedKey):
            api_keys.authenticate(text, NOW)

    @pytest.mark.parametrize("around", ["{} ", " {}", "{}\n", "{}0", "{0}{0}"])
    def test_refuses_a_key_with_something_around_it(self, issued: IssuedKey, around: str) -> None:
        with pytest.raises(MalformedKey):
            api_keys.authenticate(around.format(issued.plain_text), NOW)

    @pytest.mark.usefixtures("db")
    def test_refuses_a_well_formed_key_that_was_never_issued(self) -> None:
        body = "atl_live_" + "a" * 12 + "_" + "b" * 32

        with pytest.raises(UnknownKey):
            api_keys.authenticate(body + api_keys.checksum(body), NOW)

    def test_refuses_another_secret_under_a_known_id(self, issued: IssuedKey) -> None:
        body = f"{issued.key.prefix}_" + "b" * 32

        with pytest.raises(UnknownKey):
            api_keys.authenticate(body + api_keys.checksum(body), NOW)

    def test_refuses_a_test_key_dressed_as_a_live_one(self, workspace: Workspace) -> None:
        issued = api_keys.issue(workspace, "play", side=Side.TEST)
        body = issued.plain_text.replace("atl_test_", "atl_live_")[: -api_keys.CHECKSUM_LENGTH]

        with pytest.raises(UnknownKey):
            api_keys.authenticate(body + api_keys.checksum(body), NOW)

    def test_refuses_a_revoked_key(self, issued: IssuedKey) -> None:
        api_keys.revoke(issued.key, NOW)

        with pytest.raises(RevokedKey):
            api_keys.authenticate(issued.plain_text, NOW)

    def test_refuses_the_key_of_a_removed_member(self, issued: IssuedKey, membership: Membership) -> None:
        membership.removed_at = NOW
        membership.save()

        with pytest.raises(RevokedKey):
            api_keys.authenticate(issued.plain_text, NOW)

    def test_accepts_a_service_key_after_a_member_was_removed(
        self, workspace: Workspace, membership: Membership
    ) -> None:
        issued = api_keys.issue(workspace, "service")
        membership.removed_at = NOW
        membership.save()

        assert api_keys.authenticate(issued.plain_text, NOW) == issued.key

    def test_refuses_the_key_of_a_suspended_workspace(self, issued: IssuedKey, workspace: Workspace) -> None:
        workspace.suspended_at = NOW
        workspace.save()

        with pytest.raises(WorkspaceSuspended):
            api_keys.authenticate(issued.plain_text, NOW)

    def test_says_nothing_of_the_key_when_it_refuses(self, issued: IssuedKey) -> None:
        api_keys.revoke(issued.key, NOW)

        with pytest.raises(KeyRefused) as refused:
            api_keys.authenticate(issued.plain_text, NOW)

        assert str(refused.value) == ""

    def test_refuses_the_key_of_a_person_who_was_deactivated(self, issued: IssuedKey, alice: User) -> None:
        alice.is_active = False
        alice.save()

        with pytest.raises(RevokedKey):
            api_keys.authenticate(issued.plain_text, NOW)


class TestExpiry:
    @pytest.fixture
    def expiring(self, workspace: Workspace) -> IssuedKey:
        return api_keys.issue(workspace, "for a day", expires_at=NOW)

    def test_refuses_exactly_at_the_instant(self, expiring: IssuedKey) -> None:
        with pytest.raises(ExpiredKey):
            api_keys.authenticate(expiring.plain_text, NOW)

    def test_accepts_up_to_the_instant(self, expiring: IssuedKey) -> None:
        assert api_keys.authenticate(expiring.plain_text, NOW - INSTANT) == expiring.key

    def test_refuses_afterwards(self, expiring: IssuedKey) -> None:
        with pytest.raises(ExpiredKey):
            api_keys.authenticate(expiring.plain_text, NOW + INSTANT)


class TestPepperRotation:
    @pytest.fixture
    def old(self, workspace: Workspace, settings: Any) -> IssuedKey:
        """A key of the first pepper, after a second took its place."""
        settings.KEY_PEPPERS = {"1": OLD_PEPPER}
        issued = api_keys.issue(workspace, "of last year")
        settings.KEY_PEPPERS = {"2": NEW_PEPPER, "1": OLD_PEPPER}
        return issued

    def test_keeps_old_keys_working(self, old: IssuedKey) -> None:
        assert api_keys.authenticate(old.plain_text, NOW) == old.key

    def test_uses_the_first_pepper_for_new_keys(self, old: IssuedKey, workspace: Workspace) -> None:
        assert api_keys.issue(workspace, "of today").key.pepper_id == "2"

    def test_accepts_a_new_key(self, old: IssuedKey, workspace: Workspace) -> None:
        issued = api_keys.issue(workspace, "of today")

        assert api_keys.authenticate(issued.plain_text, NOW) == issued.key

    def test_ends_the_keys_of_a_dropped_pepper(self, old: IssuedKey, settings: Any) -> None:
        settings.KEY_PEPPERS = {"2": NEW_PEPPER}

        with pytest.raises(UnknownKey):
            api_keys.authenticate(old.plain_text, NOW)

    def test_ends_the_keys_of_a_changed_pepper(self, old: IssuedKey, settings: Any) -> None:
        settings.KEY_PEPPERS = {"1": NEW_PEPPER}

        with pytest.raises(UnknownKey):
            api_keys.authenticate(old.plain_text, NOW)


class TestRevoke:
    def test_keeps_the_time(self, issued: IssuedKey) -> None:
        api_keys.revoke(issued.key, NOW)

        assert issued.key.revoked_at == NOW

    def test_keeps_the_first_time_when_repeated(self, issued: IssuedKey) -> None:
        api_keys.revoke(issued.key, NOW)

        api_keys.revoke(issued.key, NOW + timedelta(days=1))

        assert issued.key.revoked_at == NOW

    def test_records_one_audit_event_when_repeated(self, issued: IssuedKey, workspace: Workspace) -> None:
        api_keys.revoke(issued.key, NOW)
        api_keys.revoke(issued.key, NOW)

        events = AuditEvent.objects.for_workspace(workspace).filter(action=audit.Event.KEY_REVOKED)

        assert [event.target for event in events] == [api_keys.public_id(issued.key)]

    def test_leaves_other_keys_alone(self, issued: IssuedKey, workspace: Workspace) -> None:
        other = api_keys.issue(workspace, "another")

        api_keys.revoke(issued.key, NOW)

        assert api_keys.authenticate(other.plain_text, NOW) == other.key
