"""How often the pages without a session may be used."""

from typing import Any

import pytest
from django.core import mail
from django.test import Client

from accounts.models import User
from gateway.api.guards import LOGIN, LOGIN_BY_NAME, PASSWORD_RESET, SIGN_UP

LOGIN_PAGE, SIGN_UP_PAGE, RESET_PAGE = "/accounts/login/", "/accounts/signup/", "/accounts/password/reset/"
PAGES = [(LOGIN_PAGE, LOGIN), (SIGN_UP_PAGE, SIGN_UP), (RESET_PAGE, PASSWORD_RESET)]


def _log_in(client: Client, email: str, password: str = "wrong", address: str = "127.0.0.1") -> Any:
    return client.post(LOGIN_PAGE, {"login": email, "password": password}, REMOTE_ADDR=address)


class TestPages:
    @pytest.mark.parametrize(("page", "guard"), PAGES)
    def test_refuse_an_address_that_sends_them_too_often(
        self, client: Client, db: None, page: str, guard: Any
    ) -> None:
        answers = [client.post(page, {"login": n}).status_code for n in range(guard.per_minute + 1)]

        assert answers == [200] * guard.per_minute + [429]

    @pytest.mark.parametrize(("page", "guard"), PAGES)
    def test_can_always_be_looked_at(self, client: Client, db: None, page: str, guard: Any) -> None:
        answers = {client.get(page).status_code for _ in range(guard.per_minute + 1)}

        assert answers == {200}

    @pytest.mark.parametrize(("page", "guard"), PAGES)
    def test_say_when_to_come_back(self, client: Client, db: None, page: str, guard: Any) -> None:
        for _ in range(guard.per_minute):
            client.post(page)

        response = client.post(page)

        assert 1 <= int(response["Retry-After"]) <= 60
        assert "too often" in response.content.decode()
        assert response["Content-Type"].startswith("text/html")


class TestLogin:
    def test_works_as_before(self, client: Client, alice: User) -> None:
        response = _log_in(client, alice.email, "correct horse battery")

        assert (response.status_code, response["Location"]) == (302, "/")

    def test_of_one_name_is_refused_from_many_addresses(self, client: Client, alice: User) -> None:
        answers = [
            _log_in(client, f" {alice.email.upper()}", address=f"198.51.100.{n}").status_code
            for n in range(LOGIN_BY_NAME.per_minute + 1)
        ]

        assert answers == [200] * LOGIN_BY_NAME.per_minute + [429]

    def test_of_another_name_goes_on(self, client: Client, alice: User, bob: User) -> None:
        for n in range(LOGIN_BY_NAME.per_minute + 1):
            _log_in(client, alice.email, address=f"198.51.100.{n}")

        assert _log_in(client, bob.email, "correct horse battery").status_code == 302


class TestPasswordReset:
    def test_sends_one_person_few_mails(self, client: Client, alice: User) -> None:
        for n in range(PASSWORD_RESET.per_minute):
            client.post(RESET_PAGE, {"email": alice.email}, REMOTE_ADDR=f"198.51.100.{n}")

        assert 1 <= len(mail.outbox) <= 5
