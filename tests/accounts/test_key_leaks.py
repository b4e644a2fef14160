from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from accounts import api_keys, audit, key_leaks, key_text, workspaces
from accounts.api_keys import IssuedKey, RevokedKey
from accounts.audit import Origin
from accounts.key_leaks import Outcome, Reported, TooManyKeys
from accounts.key_terms import Terms
from accounts.models import AuditEvent, Membership, OutboxMessage, User, Workspace
from accounts.outbox import Topic
from accounts.roles import Role

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOURCE = "https://example.com/paste/7"
ORIGIN = Origin("leak report", "req_1")


@pytest.fixture
def bobs(workspace: Workspace, bobs_membership: Membership) -> IssuedKey:
    return api_keys.issue(workspace, "bob's", membership=bobs_membership)


def report(text: str, source: str = SOURCE) -> list[Outcome]:
    return [one.outcome for one in key_leaks.report(text, source, NOW, ORIGIN)]


def invented(number: int) -> list[str]:
    """Texts of keys with right checksums that were never issued."""
    bodies = [f"atl_live_{place:012}_" + "b" * 32 for place in range(number)]
    return [body + key_text.checksum(body) for body in bodies]


def told(workspace: Workspace) -> list[str]:
    """The membership ids of the mails that wait."""
    waiting = OutboxMessage.objects.filter(topic=Topic.EMAIL, workspace_id=workspace.pk)
    return sorted(message.payload["membership_id"] for message in waiting)


class TestReport:
    def test_revokes_the_key(self, bobs: IssuedKey) -> None:
        assert report(bobs.plain_text) == [Outcome.REVOKED]

        with pytest.raises(RevokedKey):
            api_keys.authenticate(bobs.plain_text, NOW)

    def test_finds_keys_in_a_text_and_names_them_by_their_prefix(
        self, bobs: IssuedKey, charlies_workspace: Workspace
    ) -> None:
        charlies = api_keys.issue(charlies_workspace, "charlie's")
        text = f"A={bobs.plain_text}\nB={charlies.plain_text}\nagain {bobs.plain_text}"

        assert key_leaks.report(text, SOURCE, NOW, ORIGIN) == [
            Reported(bobs.key.prefix, Outcome.REVOKED),
            Reported(charlies.key.prefix, Outcome.REVOKED),
        ]

    def test_says_so_when_it_was_revoked_before(self, bobs: IssuedKey) -> None:
        report(bobs.plain_text)

        assert report(bobs.plain_text) == [Outcome.ALREADY_REVOKED]

    def test_revokes_an_expired_key_too(self, workspace: Workspace) -> None:
        issued = api_keys.issue(workspace, "over", terms=Terms(expires_at=NOW - timedelta(days=1)))

        assert report(issued.plain_text) == [Outcome.REVOKED]

    def test_ends_nothing_for_who_knows_only_the_public_part(self, bobs: IssuedKey) -> None:
        body = f"{bobs.key.prefix}_" + "b" * 32

        assert report(body + key_text.checksum(body)) == [Outcome.UNKNOWN]
        assert api_keys.authenticate(bobs.plain_text, NOW) == bobs.key

    @pytest.mark.usefixtures("db")
    def test_knows_no_key_that_was_never_issued(self) -> None:
        assert report(*invented(1)) == [Outcome.UNKNOWN]

    @pytest.mark.parametrize(
        "source", ["", "http://[x]/", "http://[::1", "http://][", "//[", "C:\\keys.txt:7", "\x00"]
    )
    def test_revokes_the_key_wherever_it_was_found(self, bobs: IssuedKey, source: str) -> None:
        assert report(bobs.plain_text, source) == [Outcome.REVOKED]

    def test_records_no_key_that_is_part_of_the_host(self, bobs: IssuedKey, workspace: Workspace) -> None:
        report(bobs.plain_text, f"https://{bobs.plain_text}.example.com/")

        event = AuditEvent.objects.for_workspace(workspace).get(action=audit.Event.KEY_LEAKED)
        assert bobs.plain_text.split("_")[-1].lower() not in str(event.data)

    def test_looks_all_keys_up_by_one_query(
        self, bobs: IssuedKey, django_assert_max_num_queries: Any
    ) -> None:
        api_keys.revoke(bobs.key, NOW)
        text = " ".join([bobs.plain_text, *invented(key_leaks.MAX_KEYS - 1)])

        with django_assert_max_num_queries(8):
            outcomes = report(text)

        assert outcomes == [Outcome.ALREADY_REVOKED, *[Outcome.UNKNOWN] * (key_leaks.MAX_KEYS - 1)]

    def test_takes_so_many_keys_and_touches_none_of_more(self, bobs: IssuedKey) -> None:
        with pytest.raises(TooManyKeys):
            report(" ".join([bobs.plain_text, *invented(key_leaks.MAX_KEYS)]))

        assert api_keys.authenticate(bobs.plain_text, NOW) == bobs.key

    def test_counts_a_key_that_is_repeated_once(self, bobs: IssuedKey) -> None:
        assert report(f"{bobs.plain_text} " * (key_leaks.MAX_KEYS + 1)) == [Outcome.REVOKED]

    def test_finds_nothing_in_other_text(self) -> None:
        assert report("hello") == []

    def test_leaves_the_successor_alone(self, bobs: IssuedKey) -> None:
        new = api_keys.rotate(bobs.key, timedelta(days=1))

        report(bobs.plain_text)

        assert api_keys.authenticate(new.plain_text, NOW) == new.key

    def test_records_where_it_was_found(self, bobs: IssuedKey, workspace: Workspace) -> None:
        report(bobs.plain_text)

        event = AuditEvent.objects.for_workspace(workspace).get(action=audit.Event.KEY_LEAKED)
        assert (event.target, event.actor) == (api_keys.public_id(bobs.key), "leak report")
        assert event.data == {"host": urlsplit(SOURCE).hostname}

    def test_records_no_key_that_is_part_of_the_source(self, bobs: IssuedKey, workspace: Workspace) -> None:
        report(bobs.plain_text, f"https://example.com/?k={bobs.plain_text}")

        kept = str(list(AuditEvent.objects.for_workspace(workspace).values()))
        assert bobs.plain_text.split("_")[-1] not in kept


class TestNotices:
    def test_go_to_owners_admins_and_the_keys_member(
        self, workspace: Workspace, membership: Membership, bobs: IssuedKey, charlie: User
    ) -> None:
        admin = workspaces.add_member(workspace, charlie, Role.ADMIN)

        report(bobs.plain_text)

        concerned = (membership.pk, admin.pk, bobs.key.membership_id)
        assert told(workspace) == sorted(str(one) for one in concerned)

    def test_go_to_owners_and_admins_for_a_service_key(
        self, workspace: Workspace, membership: Membership, bobs_membership: Membership
    ) -> None:
        report(api_keys.issue(workspace, "service").plain_text)

        assert told(workspace) == [str(membership.pk)]

    def test_go_to_the_owner_once(self, workspace: Workspace, membership: Membership) -> None:
        report(api_keys.issue(workspace, "alice's", membership=membership).plain_text)

        assert told(workspace) == [str(membership.pk)]

    def test_go_to_nobody_who_was_removed(
        self, workspace: Workspace, membership: Membership, bobs: IssuedKey, bobs_membership: Membership
    ) -> None:
        bobs_membership.removed_at = NOW
        bobs_membership.save()

        report(bobs.plain_text)

        assert told(workspace) == [str(membership.pk)]

    def test_are_not_repeated(self, workspace: Workspace, bobs: IssuedKey) -> None:
        report(bobs.plain_text)
        first = told(workspace)
        report(bobs.plain_text)

        assert told(workspace) == first

    def test_hold_neither_key_nor_address_of_a_person(self, bobs: IssuedKey, bob: User) -> None:
        report(bobs.plain_text)

        kept = str(list(OutboxMessage.objects.values()))
        assert "atl_" not in kept
        assert bob.email not in kept
