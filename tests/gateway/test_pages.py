"""Pages for people: sign-up, sign-in, home, and what a person sees when something is wrong."""

import logging
from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache
from django.test import Client

from accounts import clock, workspaces
from accounts.models import Membership, Side, User, Workspace
from billing import ledger
from gateway import onboarding
from tests.gateway import wire

SIGN_UP = {"email": "dora@example.com", "password1": "correct horse battery"}


@pytest.fixture(autouse=True)
def _fresh_rate_limits() -> None:
    """Sign-up counts requests and mails per address in the cache, which outlives a test."""
    cache.clear()


def _sign_up(client: Client, **fields: str) -> Any:
    return client.post("/accounts/signup/", {**SIGN_UP, **fields})


def _workspace_of(email: str) -> Workspace:
    (membership,) = workspaces.memberships_of(User.objects.get(email=email))
    return membership.workspace


class TestSignUp:
    def test_makes_a_workspace_of_ones_own(self, client: Client, db: None) -> None:
        response = _sign_up(client)

        (membership,) = workspaces.memberships_of(User.objects.get(email="dora@example.com"))
        assert (response.status_code, response["Location"]) == (302, "/")
        assert (membership.workspace.name, membership.role) == ("dora's workspace", "owner")

    def test_gives_play_credit_and_no_live_credit(self, client: Client, db: None) -> None:
        _sign_up(client)

        mine = _workspace_of("dora@example.com")
        assert ledger.balance(mine.pk, Side.TEST).available_credits == onboarding.PLAY_CREDITS
        assert ledger.balance(mine.pk).available_credits == 0

    def test_sends_an_email_to_verify_the_address(self, client: Client, db: None) -> None:
        _sign_up(client)

        assert [message.to for message in mail.outbox] == [["dora@example.com"]]

    def test_keeps_a_workspace_name_within_its_column(self, client: Client, db: None) -> None:
        email = "d" * 64 + "." + "d" * 60 + "@example.com"

        _sign_up(client, email=email)

        assert len(_workspace_of(email).name) <= 80

    @pytest.mark.parametrize("password", ["short", "password123", "dora@example.com", ""])
    def test_refuses_a_weak_password(self, client: Client, db: None, password: str) -> None:
        response = _sign_up(client, password1=password)

        assert response.status_code == 200
        assert not User.objects.exists()

    def test_makes_no_second_account_of_an_address(self, client: Client, alice: User) -> None:
        _sign_up(client, email="Alice@Example.com")

        assert User.objects.count() == 1
        assert "_auth_user_id" not in client.session

    def test_needs_the_token_of_the_form(self, db: None) -> None:
        response = Client(enforce_csrf_checks=True).post("/accounts/signup/", SIGN_UP)

        assert response.status_code == 403
        assert response["Content-Type"].startswith("text/html")


class TestSignIn:
    def test_leads_home(self, client: Client, alice: User, workspace: Workspace) -> None:
        form = {"login": "alice@example.com", "password": "correct horse battery"}

        response = client.post("/accounts/login/", form)

        assert (response.status_code, response["Location"]) == (302, "/")
        assert client.get("/").status_code == 200

    def test_with_a_wrong_password_shows_the_form_again(self, client: Client, alice: User) -> None:
        form = {"login": "alice@example.com", "password": "wrong horse battery"}

        response = client.post("/accounts/login/", form)

        assert response.status_code == 200
        assert "_auth_user_id" not in client.session

    def test_never_leads_to_a_foreign_host(self, client: Client, alice: User) -> None:
        form = {"login": "alice@example.com", "password": "correct horse battery"}

        response = client.post("/accounts/login/?next=https://evil.example/", form)

        assert response["Location"] == "/"

    def test_ends_with_signing_out(self, client: Client, alice: User) -> None:
        client.force_login(alice)

        client.post("/accounts/logout/")

        assert client.get("/").status_code == 302


class TestHome:
    def test_asks_who_is_not_signed_in(self, client: Client) -> None:
        response = client.get("/")

        assert (response.status_code, response["Location"]) == (302, "/accounts/login/?next=/")

    def test_shows_balance_and_keys(
        self, client: Client, alice: User, key: str, workspace: Workspace
    ) -> None:
        client.force_login(alice)

        page = client.get("/").content.decode()

        assert "<strong>1,000</strong>" in page
        assert key[:21] in page
        assert key[22:] not in page

    def test_shows_the_pictures(self, client: Client, alice: User, api: Client) -> None:
        job = wire.finished(api)
        client.force_login(alice)

        page = client.get("/").content.decode()

        assert f"/files/{job['images'][0]['id']}.png" in page

    def test_shows_no_prompt(self, client: Client, alice: User, api: Client) -> None:
        wire.finished(api, "a verysecret boat")
        client.force_login(alice)

        assert "verysecret" not in client.get("/").content.decode()

    def test_shows_a_member_only_their_own(
        self, client: Client, bob: User, bobs_membership: Membership, api: Client
    ) -> None:
        wire.finished(api)
        client.force_login(bob)

        assert "/files/img_" not in client.get("/").content.decode()

    def test_shows_a_stranger_nothing_of_it(
        self, client: Client, charlie: User, charlies_workspace: Workspace, api: Client
    ) -> None:
        wire.finished(api)
        client.force_login(charlie)

        page = client.get("/").content.decode()
        assert "Charlie&#x27;s studio" in page
        assert "/files/img_" not in page

    def test_tells_who_has_no_workspace(self, client: Client, bob: User, bobs_membership: Membership) -> None:
        bobs_membership.removed_at = clock.now()
        bobs_membership.save()
        client.force_login(bob)

        assert "You have no workspace" in client.get("/").content.decode()

    def test_escapes_what_people_typed(self, client: Client, charlie: User) -> None:
        onboarding.open_workspace("<script>alert(1)</script>", charlie)
        client.force_login(charlie)

        assert "<script>alert(1)" not in client.get("/").content.decode()


class TestErrorPage:
    def test_is_html_for_a_person(self, client: Client, db: None) -> None:
        response = client.get("/nothing")

        assert (response.status_code, response["Content-Type"]) == (404, "text/html; charset=utf-8")
        assert "There is no such page." in response.content.decode()
        assert response["X-Request-Id"] in response.content.decode()

    @pytest.mark.parametrize("path", ["/api/v1/nothing", "/files/nothing"])
    def test_is_a_problem_for_a_program(self, client: Client, path: str) -> None:
        wire.assert_is_problem(client.get(path), 404, "not_found")

    def test_is_an_envelope_for_an_openai_client(self, client: Client) -> None:
        response = client.get("/v1/nothing")

        wire.assert_is_openai_error(response, 404, "invalid_request_error", "not_found")

    def test_for_a_foreign_host_shows_nothing_of_the_inside(self, client: Client, db: None) -> None:
        response = client.get("/", headers={"Host": "evil.example"})

        assert response.status_code == 400
        assert "evil.example" not in response.content.decode()

    def test_for_a_foreign_host_tells_a_program_what_is_wrong(self, api: Client) -> None:
        response = api.get("/", headers={"Host": "evil.example"})

        wire.assert_is_problem(response, 400, "malformed_request")

    def test_for_a_foreign_host_is_no_fault_in_the_log(
        self, api: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        api.get("/", headers={"Host": "evil.example"})

        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []

    def test_escapes_the_address(self, client: Client, db: None) -> None:
        assert "<script>" not in client.get("/<script>alert(1)</script>").content.decode()


class TestHeaders:
    def test_of_a_page_forbid_frames(self, client: Client, db: None) -> None:
        assert client.get("/accounts/login/")["X-Frame-Options"] == "DENY"

    @pytest.mark.parametrize("path", ["/accounts/login/", "/accounts/signup/", "/accounts/password/reset/"])
    def test_of_a_page_come_with_our_style(self, client: Client, db: None, path: str) -> None:
        assert "gateway/atelier.css" in client.get(path).content.decode()
