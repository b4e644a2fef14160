"""Mails from the outbox: sent at least once, or given up loudly."""

import smtplib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.template.loader import get_template

from accounts import api_keys, audit, ids, key_leaks, notices, workspaces
from accounts.api_keys import IssuedKey
from accounts.models import Membership, OutboxMessage, QuotaUnit, Subject, User, Window, Workspace
from accounts.notices import Notice
from accounts.outbox import Topic
from gateway import email_contents, emails, tasks
from inference import jobs, quotas
from inference.requests import Delivery
from tests import factories

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOURCE = "https://example.com/paste/7?a=1&b=<2>"


class BrokenBackend(EmailBackend):
    """A mail server that refuses everything, and counts."""

    tries = 0

    def send_messages(self, messages: Any) -> int:
        BrokenBackend.tries += 1
        raise smtplib.SMTPServerDisconnected("gone")


class RefusesBob(EmailBackend):
    def send_messages(self, messages: Any) -> int:
        if "bob@example.com" in messages[0].to:
            raise smtplib.SMTPRecipientsRefused({})
        return int(super().send_messages(messages))


@pytest.fixture
def broken(settings: Any) -> type[BrokenBackend]:
    settings.EMAIL_BACKEND = f"{__name__}.BrokenBackend"
    BrokenBackend.tries = 0
    return BrokenBackend


@pytest.fixture
def leaked(workspace: Workspace, bobs_membership: Membership) -> IssuedKey:
    """bob's key, reported as leaked: alice and bob are to be told."""
    issued = api_keys.issue(workspace, "bob's <laptop>", membership=bobs_membership)
    key_leaks.report(issued.plain_text, SOURCE, NOW, audit.SYSTEM)
    return issued


def waiting() -> int:
    return OutboxMessage.objects.filter(topic=Topic.EMAIL).count()


def addresses() -> list[str]:
    return sorted(address for message in mail.outbox for address in message.to)


class TestDeliverWaiting:
    def test_sends_to_everybody_once(self, leaked: IssuedKey) -> None:
        assert emails.deliver_waiting(NOW) == 2
        assert emails.deliver_waiting(NOW) == 0

        assert addresses() == ["alice@example.com", "bob@example.com"]
        assert waiting() == 0

    def test_sends_nothing_when_nothing_waits(self, db: None) -> None:
        assert emails.deliver_waiting(NOW) == 0

    def test_tells_nobody_who_has_left_since(self, leaked: IssuedKey, bobs_membership: Membership) -> None:
        workspaces.remove_member(bobs_membership, NOW)

        emails.deliver_waiting(NOW)

        assert (addresses(), waiting()) == (["alice@example.com"], 0)

    def test_tells_nobody_who_was_deactivated(self, leaked: IssuedKey, bob: User) -> None:
        bob.is_active = False
        bob.save()

        emails.deliver_waiting(NOW)

        assert (addresses(), waiting()) == (["alice@example.com"], 0)

    def test_drops_what_is_about_nothing(self, workspace: Workspace, membership: Membership) -> None:
        notices.put(Notice.KEY_LEAKED, workspace.pk, [membership], key_id=str(membership.pk), source="")

        assert emails.deliver_waiting(NOW) == 0
        assert waiting() == 0

    def test_does_not_let_one_address_keep_the_others(self, leaked: IssuedKey, settings: Any) -> None:
        settings.EMAIL_BACKEND = f"{__name__}.RefusesBob"

        assert emails.deliver_waiting(NOW) == 1
        assert (addresses(), waiting()) == (["alice@example.com"], 1)

    def test_leaves_the_rest_for_the_next_turn_when_it_takes_long(
        self, leaked: IssuedKey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(emails, "RUN_SECONDS", 0)

        assert emails.deliver_waiting(NOW) == 0
        assert waiting() == 2

    def test_is_a_task(self, leaked: IssuedKey) -> None:
        tasks.deliver_emails()

        assert len(mail.outbox) == 2


class TestRetry:
    @pytest.fixture
    def leaked(self, workspace: Workspace) -> IssuedKey:
        """A service key: only alice is to be told."""
        issued = api_keys.issue(workspace, "service")
        key_leaks.report(issued.plain_text, "", NOW, audit.SYSTEM)
        return issued

    def test_comes_after_a_pause(self, leaked: IssuedKey, broken: type[BrokenBackend]) -> None:
        for seconds in (0, 29, 30):
            emails.deliver_waiting(NOW + timedelta(seconds=seconds))

        assert broken.tries == 2

    def test_waits_longer_each_time(self, leaked: IssuedKey, broken: type[BrokenBackend]) -> None:
        tried_after = []
        for seconds in range(0, 1_000, 10):
            before = broken.tries
            emails.deliver_waiting(NOW + timedelta(seconds=seconds))
            if broken.tries > before:
                tried_after.append(seconds)

        assert tried_after == [0, 30, 90, 210, 450, 930]

    def test_succeeds_when_the_server_is_back(
        self, leaked: IssuedKey, broken: type[BrokenBackend], settings: Any
    ) -> None:
        emails.deliver_waiting(NOW)
        settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"

        emails.deliver_waiting(NOW + timedelta(minutes=1))

        assert (addresses(), waiting()) == (["alice@example.com"], 0)

    def test_ends_after_ten_tries_and_says_so(
        self, leaked: IssuedKey, broken: type[BrokenBackend], caplog: pytest.LogCaptureFixture
    ) -> None:
        for hours in range(20):
            emails.deliver_waiting(NOW + timedelta(hours=5 * hours))

        given_up = [record for record in caplog.records if "email given up" in record.getMessage()]
        assert (broken.tries, waiting()) == (emails.MAX_TRIES, 0)
        assert [record.levelname for record in given_up] == ["ERROR"]
        assert "alice@example.com" not in caplog.text

    def test_repeats_a_mail_whose_sender_died_with_the_same_id(self, leaked: IssuedKey) -> None:
        message = OutboxMessage.objects.get(topic=Topic.EMAIL)
        assert emails._take(message, NOW)
        assert not emails._take(message, NOW)

        assert emails.deliver_waiting(NOW + emails.TAKEN_FOR) == 0
        assert emails.deliver_waiting(NOW + emails.TAKEN_FOR + timedelta(seconds=1)) == 1
        assert mail.outbox[0].extra_headers["Message-ID"] == f"<{message.key}@127.0.0.1>"

    def test_counts_the_try_of_who_died(self, leaked: IssuedKey) -> None:
        emails._take(OutboxMessage.objects.get(topic=Topic.EMAIL), NOW)

        assert OutboxMessage.objects.get(topic=Topic.EMAIL).payload["tries"] == 1


class TestKeyLeaked:
    @pytest.fixture
    def written(self, leaked: IssuedKey) -> mail.EmailMessage:
        emails.deliver_waiting(NOW)
        (to_bob,) = (message for message in mail.outbox if message.to == ["bob@example.com"])
        return to_bob

    def test_says_which_key_of_whom(self, written: mail.EmailMessage, leaked: IssuedKey) -> None:
        assert written.subject == "An API key of Alice's studio was found in public and revoked"
        for told in ('"bob\'s <laptop>"', f"{leaked.key.prefix}...", "bob@example.com", "2026-03-01 12:00"):
            assert told in written.body

    def test_is_plain_text_of_short_lines_and_no_holes(self, written: mail.EmailMessage) -> None:
        assert "&#" not in written.body
        assert "&lt;" not in written.body
        assert "\n\n\n" not in written.body

    def test_names_the_source_with_care(self, written: mail.EmailMessage) -> None:
        assert f"Found    {SOURCE}\n" in written.body
        assert "have not checked" in written.body

    def test_holds_no_secret(self, written: mail.EmailMessage, leaked: IssuedKey) -> None:
        assert leaked.plain_text[22:] not in str(written.message())

    def test_speaks_of_the_successor(self, workspace: Workspace, membership: Membership) -> None:
        issued = api_keys.issue(workspace, "replaced", membership=membership)
        new = api_keys.rotate(issued.key, timedelta(days=1))
        key_leaks.report(issued.plain_text, "", NOW, audit.SYSTEM)

        emails.deliver_waiting(NOW)

        assert new.key.prefix in mail.outbox[0].body
        assert "revoke that key too" in mail.outbox[0].body
        assert "Found" not in mail.outbox[0].body

    def test_keeps_a_workspaces_name_out_of_the_headers(
        self, leaked: IssuedKey, workspace: Workspace
    ) -> None:
        workspace.name = "Studio\r\nBcc: everybody@example.com"
        workspace.save()

        emails.deliver_waiting(NOW)

        assert "Studio Bcc: everybody@example.com" in mail.outbox[0].subject


class TestNotices:
    @pytest.mark.parametrize("notice", Notice)
    def test_all_have_their_templates_and_content(self, notice: Notice) -> None:
        assert get_template(f"emails/{notice}.txt")
        assert get_template(f"emails/{notice}.subject.txt")
        assert notice in email_contents.CONTENTS


class TestQuotaCrossed:
    def test_tells_the_managers_which_quota(self, workspace: Workspace, model: Any) -> None:
        terms = {"unit": QuotaUnit.IMAGES, "window": Window.MONTH, "limit": 1, "is_hard": False}
        quotas.set_limit(workspace.pk, Subject.WORKSPACE, "", **terms)
        jobs.submit(factories.caller(workspace), factories.request(num_images=2), Delivery())

        emails.deliver_waiting()

        (message,) = mail.outbox
        assert message.to == ["alice@example.com"]
        assert message.subject == "Alice's studio is over a soft quota of 1 images"
        assert "1 images per month" in message.body
        assert "the whole workspace" in message.body

    def test_names_the_member(self, workspace: Workspace, bobs_membership: Membership, model: Any) -> None:
        terms = {"unit": QuotaUnit.IMAGES, "window": Window.DAY, "limit": 0, "is_hard": False}
        quotas.set_limit(workspace.pk, Subject.MEMBER, "", **terms)
        caller = factories.caller(workspace, membership=bobs_membership)
        jobs.submit(caller, factories.request(), Delivery())

        emails.deliver_waiting()

        assert ids.public(ids.Prefix.MEMBERSHIP, bobs_membership.pk) in mail.outbox[0].body
