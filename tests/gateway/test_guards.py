"""What is counted of callers who have no key."""

from typing import Any

import pytest
from django.test import Client, RequestFactory

from accounts import api_keys, clock, key_text
from gateway.api import guards
from gateway.api.guards import REFUSED_KEYS, Guard, TooManyCalls
from tests.gateway import wire

MODELS = "/api/v1/models"
# Well-formed, with the right checksum, and never issued.
UNKNOWN = "atl_live_000000000000_00000000000000000000000000000000"
GUARD = Guard("a guard", 3)


def _refuse(times: int, key: str = "sk-of-another-service", path: str = MODELS) -> list[int]:
    return [wire.client(key).get(path).status_code for _ in range(times)]


class TestRefusedKeys:
    def test_are_answered_with_401_and_then_429(self, db: None) -> None:
        assert _refuse(REFUSED_KEYS.per_minute + 1) == [401] * REFUSED_KEYS.per_minute + [429]

    def test_that_do_not_exist_count_like_malformed_ones(self, db: None) -> None:
        unknown = UNKNOWN + key_text.checksum(UNKNOWN)
        _refuse(REFUSED_KEYS.per_minute - 1)

        assert _refuse(2, unknown) == [401, 429]

    def test_say_when_to_come_back(self, db: None) -> None:
        _refuse(REFUSED_KEYS.per_minute)

        response = wire.client("x").get(MODELS)

        wire.assert_is_problem(response, 429, "too_many_refused_keys")
        assert 1 <= int(response["Retry-After"]) <= 60

    def test_are_not_to_be_retried_by_an_openai_client(self, db: None) -> None:
        _refuse(REFUSED_KEYS.per_minute, path="/v1/models")

        response = wire.client("x").get("/v1/models")

        wire.assert_is_openai_error(response, 429, "requests", "rate_limit_exceeded")
        assert response["x-should-retry"] == "false"

    def test_do_not_keep_out_a_good_key_of_the_same_address(self, api: Client) -> None:
        _refuse(REFUSED_KEYS.per_minute + 1)

        assert api.get(MODELS).status_code == 200

    def test_of_other_addresses_do_not_count(self, db: None) -> None:
        _refuse(REFUSED_KEYS.per_minute + 1)

        assert wire.client("x").get(MODELS, REMOTE_ADDR="198.51.100.7").status_code == 401

    def test_are_counted_by_the_address_that_our_proxy_saw(self, db: None, settings: Any) -> None:
        """Whoever makes up another list of addresses each time is still the same."""
        settings.TRUSTED_PROXIES = 1
        answers = [
            wire.client("x").get(MODELS, headers={"X-Forwarded-For": f"10.0.0.{n}, 198.51.100.7"}).status_code
            for n in range(REFUSED_KEYS.per_minute + 1)
        ]

        assert answers[-1] == 429

    def test_of_revoked_keys_do_not_count(self, api: Client, key: str) -> None:
        """Somebody had a right to that one, and should see why it ended."""
        found = api_keys.find(key)
        assert found is not None
        api_keys.revoke(found, clock.now())

        assert {api.get(MODELS).status_code for _ in range(REFUSED_KEYS.per_minute + 1)} == {401}


class TestCount:
    def test_lets_through_as_many_as_the_guard_says(self) -> None:
        request = RequestFactory().post("/")
        for _ in range(3):
            guards.count(request, GUARD)

        with pytest.raises(TooManyCalls) as refused:
            guards.count(request, GUARD)

        assert 1 <= refused.value.retry_after_seconds <= 60

    def test_takes_a_network_of_ipv6_for_one_caller(self) -> None:
        for n in range(3):
            guards.count(RequestFactory().post("/", REMOTE_ADDR=f"2001:db8::{n}"), GUARD)

        with pytest.raises(TooManyCalls):
            guards.count(RequestFactory().post("/", REMOTE_ADDR="2001:db8::1:2:3:4"), GUARD)
        guards.count(RequestFactory().post("/", REMOTE_ADDR="2001:db8:0:1::1"), GUARD)

    @pytest.mark.parametrize("forged", ["x, y, z", "," * 500, "::1, [::1]:1, 1.2.3.4", "\u00e9"])
    def test_survives_any_list_of_addresses(self, settings: Any, forged: str) -> None:
        settings.TRUSTED_PROXIES = 2

        guards.count(RequestFactory().post("/", headers={"X-Forwarded-For": forged}), GUARD)

    def test_keeps_logins_apart_whatever_they_are_called(self) -> None:
        """The library joins the name with the time; one that ends in digits must not become another's."""
        request = RequestFactory().post("/")
        for _ in range(3):
            guards.count_for_login(request, GUARD, "A@example.com ")

        with pytest.raises(TooManyCalls):
            guards.count_for_login(request, GUARD, "a@example.com")
        for digits in range(20):
            guards.count_for_login(request, GUARD, f"a@example.com{digits}")
