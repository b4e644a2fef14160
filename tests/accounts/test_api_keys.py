import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts import api_keys, audit, clock, key_terms, key_text
from accounts.api_keys import (
    ExpiredKey,
    IssuedKey,
    KeyRefused,
    MalformedKey,
    NotRotatable,
    RevokedKey,
    UnknownKey,
    WorkspaceSuspended,
)
from accounts.key_terms import Terms
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
        for other in key_text.BASE62 + "_":
            if other != letter:
                yield plain_text[:place] + other + plain_text[place + 1 :]


class TestIssue:
    @pytest.mark.parametrize("side", Side)
    def test_gives_a_key_of_the_documented_shape(self, workspace: Workspace, side: Side) -> None:
        plain_text = api_keys.issue(workspace, "a key", side=side).plain_text

        assert re.fullmatch(rf"atl_{side}_[0-9A-Za-z]{{12}}_[0-9A-Za-z]{{38}}", plain_text)

    def test_has_at_least_160_random_bits(self, issued: IssuedKey) -> None:
        secret = issued.plain_text.split("_")[-1][: -key_text.CHECKSUM_LENGTH]

        assert len(secret) * math.log2(len(set(key_text.BASE62))) >= 160

    def test_draws_a_secret_from_the_whole_alphabet(self, workspace: Workspace) -> None:
        drawn = "".join(api_keys.issue(workspace, "a key").plain_text.split("_")[-1] for _ in range(50))

        assert set(drawn) == set(key_text.BASE62)

    def test_never_gives_the_same_key_twice(self, workspace: Workspace) -> None:
        keys = {api_keys.issue(workspace, "same name").plain_text for _ in range(20)}

        assert len(keys) == 20

    def test_leaves_no_plain_text_in_the_row(self, issued: IssuedKey) -> None:
        secret = issued.plain_text.split("_")[-1]

        assert issued.plain_text not in row_of(issued.key)
        assert secret[: key_text.SECRET_LENGTH] not in row_of(issued.key)

    def test_leaves_no_plain_text_in_the_audit(self, workspace: Workspace, issued: IssuedKey) -> None:
        secret = issued.plain_text.split("_")[-1][: key_text.SECRET_LENGTH]

        assert secret not in str(list(AuditEvent.objects.for_workspace(workspace).values()))

    def test_records_an_audit_event(self, workspace: Workspace, issued: IssuedKey) -> None:
        event = AuditEvent.objects.for_workspace(workspace).get(action=audit.Event.KEY_ISSUED)

        assert event.target == api_keys.public_id(issued.key)
        assert "alice" not in str(event.data)  # it outlives the workspace and names nobody

    def test_shows_no_plain_text_when_printed(self, issued: IssuedKey) -> None:
        assert issued.plain_text not in repr(issued)

    def test_leaves_out_the_admin_scope_by_default(self, issued: IssuedKey) -> None:
        assert set(issued.key.scopes) == set(Scope) - {Scope.ADMIN}

    def test_keeps_the_chosen_scopes(self, workspace: Workspace) -> None:
        issued = api_keys.issue(workspace, "reader", terms=Terms(scopes=(Scope.USAGE,)))

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
            api_keys.authenticate(body + key_text.checksum(body), NOW)

    def test_refuses_another_secret_under_a_known_id(self, issued: IssuedKey) -> None:
        body = f"{issued.key.prefix}_" + "b" * 32

        with pytest.raises(UnknownKey):
            api_keys.authenticate(body + key_text.checksum(body), NOW)

    def test_refuses_a_test_key_dressed_as_a_live_one(self, workspace: Workspace) -> None:
        issued = api_keys.issue(workspace, "play", side=Side.TEST)
        body = issued.plain_text.replace("atl_test_", "atl_live_")[: -key_text.CHECKSUM_LENGTH]

        with pytest.raises(UnknownKey):
            api_keys.authenticate(body + key_text.checksum(body), NOW)

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
        return api_keys.issue(workspace, "for a day", terms=Terms(expires_at=NOW))

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

    def test_moves_a_key_to_the_first_pepper_when_it_is_used(self, old: IssuedKey, settings: Any) -> None:
        api_keys.authenticate(old.plain_text, NOW)

        settings.KEY_PEPPERS = {"2": NEW_PEPPER}
        assert api_keys.authenticate(old.plain_text, NOW).pepper_id == "2"

    def test_moves_no_key_that_is_refused(self, old: IssuedKey) -> None:
        api_keys.revoke(old.key, NOW)

        with pytest.raises(RevokedKey):
            api_keys.authenticate(old.plain_text, NOW)

        old.key.refresh_from_db()
        assert old.key.pepper_id == "1"

    def test_ends_the_keys_of_a_dropped_pepper(self, old: IssuedKey, settings: Any) -> None:
        settings.KEY_PEPPERS = {"2": NEW_PEPPER}

        with pytest.raises(UnknownKey):
            api_keys.authenticate(old.plain_text, NOW)

    def test_ends_the_keys_of_a_changed_pepper(self, old: IssuedKey, settings: Any) -> None:
        settings.KEY_PEPPERS = {"1": NEW_PEPPER}

        with pytest.raises(UnknownKey):
            api_keys.authenticate(old.plain_text, NOW)


class TestRotate:
    @pytest.fixture
    def issued(self, workspace: Workspace, membership: Membership) -> IssuedKey:
        terms = Terms(
            scopes=(Scope.IMAGES,),
            models=("fake",),
            networks=("192.0.2.0/24",),
            max_pixels=1,
            max_steps=2,
            max_images=3,
            requests_per_minute=4,
        )
        return api_keys.issue(workspace, "laptop", side=Side.TEST, membership=membership, terms=terms)

    def test_keeps_both_keys_working_during_the_grace(self, issued: IssuedKey) -> None:
        new = api_keys.rotate(issued.key, timedelta(hours=1))

        now = clock.now()
        assert api_keys.authenticate(issued.plain_text, now) == issued.key
        assert api_keys.authenticate(new.plain_text, now) == new.key
        assert new.plain_text != issued.plain_text

    def test_ends_the_old_key_with_the_grace_and_not_before(self, issued: IssuedKey) -> None:
        before = clock.now()
        new = api_keys.rotate(issued.key, timedelta(hours=1))
        after = clock.now()

        issued.key.refresh_from_db()
        end = issued.key.expires_at
        assert end is not None
        assert before + timedelta(hours=1) <= end <= after + timedelta(hours=1)
        assert api_keys.authenticate(issued.plain_text, end - INSTANT) == issued.key
        with pytest.raises(ExpiredKey):
            api_keys.authenticate(issued.plain_text, end)
        assert api_keys.authenticate(new.plain_text, end) == new.key

    def test_without_grace_ends_the_old_key_at_once(self, issued: IssuedKey) -> None:
        api_keys.rotate(issued.key, timedelta())

        with pytest.raises(ExpiredKey):
            api_keys.authenticate(issued.plain_text, clock.now())

    def test_copies_terms_owner_and_lineage(self, issued: IssuedKey) -> None:
        new = api_keys.rotate(issued.key, timedelta()).key

        copied = "name", "side", "membership_id", "lineage_id"
        assert [getattr(new, name) for name in copied] == [getattr(issued.key, name) for name in copied]
        assert key_terms.of(new) == key_terms.of(issued.key)

    def test_gives_a_first_key_a_lineage_of_its_own(self, issued: IssuedKey, workspace: Workspace) -> None:
        assert api_keys.issue(workspace, "another").key.lineage_id != issued.key.lineage_id

    def test_never_prolongs_a_key_that_ends_sooner(self, workspace: Workspace) -> None:
        soon = clock.now() + timedelta(minutes=1)
        issued = api_keys.issue(workspace, "short", terms=Terms(expires_at=soon))

        new = api_keys.rotate(issued.key, timedelta(days=1)).key

        issued.key.refresh_from_db()
        assert issued.key.expires_at == new.expires_at == soon

    def test_replaces_a_key_only_once(self, issued: IssuedKey) -> None:
        new = api_keys.rotate(issued.key, timedelta(hours=1))

        with pytest.raises(NotRotatable):
            api_keys.rotate(issued.key, timedelta(hours=1))

        issued.key.refresh_from_db()
        assert issued.key.replaced_by == new.key

    def test_goes_on_with_the_new_key(self, issued: IssuedKey) -> None:
        second = api_keys.rotate(issued.key, timedelta())
        third = api_keys.rotate(second.key, timedelta())

        assert third.key.lineage_id == issued.key.lineage_id
        assert api_keys.authenticate(third.plain_text, clock.now()) == third.key

    def test_refuses_a_revoked_key(self, issued: IssuedKey) -> None:
        api_keys.revoke(issued.key, NOW)

        with pytest.raises(NotRotatable):
            api_keys.rotate(issued.key, timedelta())

    def test_refuses_an_expired_key(self, workspace: Workspace) -> None:
        issued = api_keys.issue(workspace, "over", terms=Terms(expires_at=clock.now()))

        with pytest.raises(NotRotatable):
            api_keys.rotate(issued.key, timedelta())

    @pytest.mark.parametrize("grace", [-INSTANT, api_keys.MAX_GRACE + INSTANT])
    def test_refuses_an_absurd_grace(self, issued: IssuedKey, grace: timedelta) -> None:
        with pytest.raises(ValueError, match="grace"):
            api_keys.rotate(issued.key, grace)

    def test_records_both_keys_and_no_plain_text(self, issued: IssuedKey, workspace: Workspace) -> None:
        new = api_keys.rotate(issued.key, timedelta())

        event = AuditEvent.objects.for_workspace(workspace).get(action=audit.Event.KEY_ROTATED)
        assert event.target == api_keys.public_id(issued.key)
        assert event.data["replaced_by"] == api_keys.public_id(new.key)
        assert new.plain_text.split("_")[-1] not in str(event.data)

    def test_leaves_a_revoked_old_key_out_of_the_new_ones_life(self, issued: IssuedKey) -> None:
        new = api_keys.rotate(issued.key, timedelta(hours=1))

        api_keys.revoke(issued.key, NOW)

        assert api_keys.authenticate(new.plain_text, NOW) == new.key


class TestFind:
    def test_gives_a_key_that_has_ended(self, issued: IssuedKey) -> None:
        api_keys.revoke(issued.key, NOW)

        assert api_keys.find(issued.plain_text) == issued.key

    def test_gives_nothing_for_another_secret(self, issued: IssuedKey) -> None:
        body = f"{issued.key.prefix}_" + "b" * 32

        assert api_keys.find(body + key_text.checksum(body)) is None

    def test_gives_nothing_for_another_text(self, issued: IssuedKey) -> None:
        assert api_keys.find(issued.plain_text + "0") is None
        assert api_keys.find("hello") is None


class TestRevoke:
    def test_keeps_the_time(self, issued: IssuedKey) -> None:
        api_keys.revoke(issued.key, NOW)

        issued.key.refresh_from_db()
        assert issued.key.revoked_at == NOW

    def test_keeps_the_first_time_when_repeated(self, issued: IssuedKey) -> None:
        api_keys.revoke(issued.key, NOW)

        api_keys.revoke(issued.key, NOW + timedelta(days=1))

        issued.key.refresh_from_db()
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
