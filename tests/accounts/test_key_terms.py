import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts import key_terms
from accounts.key_terms import BroaderThanGiver, InvalidTerms, KeyForbids, NetworkForbidden, Terms
from accounts.models import ApiKey, Scope

END = datetime(2026, 3, 1, 12, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)


def key(**terms: Any) -> ApiKey:
    """A key with these terms, in no database."""
    return ApiKey(**key_terms.columns(Terms(**terms)))


def may_call_from(one: ApiKey, address: str) -> bool:
    try:
        key_terms.check_network(one, ipaddress.ip_address(address))
    except NetworkForbidden:
        return False
    return True


def is_within(giver: Terms, new: Terms) -> bool:
    try:
        key_terms.require_within(giver, new)
    except BroaderThanGiver:
        return False
    return True


class TestTerms:
    @pytest.mark.parametrize("cap", key_terms.CAPS)
    @pytest.mark.parametrize("value", [0, -1, key_terms.MAX_CAP + 1])
    def test_refuse_a_cap_that_cannot_be(self, cap: str, value: int) -> None:
        with pytest.raises(InvalidTerms) as refused:
            Terms(**{cap: value})  # type: ignore[arg-type]

        assert refused.value.field == cap

    @pytest.mark.parametrize("cap", key_terms.CAPS)
    @pytest.mark.parametrize("value", [1, key_terms.MAX_CAP])
    def test_take_a_cap_at_its_ends(self, cap: str, value: int) -> None:
        assert getattr(Terms(**{cap: value}), cap) == value  # type: ignore[arg-type]

    def test_take_so_many_networks_and_models_and_no_more(self) -> None:
        names = tuple(f"10.0.{number}.0/24" for number in range(key_terms.MAX_NETWORKS))

        assert len(Terms(networks=names, models=names).networks) == key_terms.MAX_NETWORKS
        with pytest.raises(InvalidTerms):
            Terms(networks=(*names, "10.1.0.0/16"))
        with pytest.raises(InvalidTerms):
            Terms(models=(*names, "one more"))

    def test_come_back_from_a_key_as_they_were(self) -> None:
        terms = Terms(
            scopes=(Scope.IMAGES,),
            models=("fake",),
            networks=("192.0.2.0/24", "2001:db8::/64"),
            max_pixels=1,
            max_steps=2,
            max_images=3,
            requests_per_minute=4,
            expires_at=END,
        )

        assert key_terms.of(ApiKey(**key_terms.columns(terms))) == terms


class TestNetwork:
    @pytest.mark.parametrize(
        "text, meant",
        [
            ("192.0.2.7", "192.0.2.7/32"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            (" 192.0.2.0/24\n", "192.0.2.0/24"),
            ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::7", "2001:db8::/64"),
            ("2001:DB8:0:0::/64", "2001:db8::/64"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::/0", "::/0"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("2001:0:1::/64", "2001:0:1::/64"),
        ],
    )
    def test_is_kept_in_one_form(self, text: str, meant: str) -> None:
        assert Terms(networks=(text,)).networks == (meant,)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "/",
            "*",
            "localhost",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.0/33",
            "192.0.2.0/-1",
            "192.0.2.1/24",
            "192.0.2.0/24/24",
            "192.0.2.07",
            "3221225985",
            "0xc0000207",
            "1".zfill(4_000),
            "2001:db8::/65",
            "2001:db8::7/128",
            "2001:db8::/129",
            "2001:db8::7/64",
            "::ffff:192.0.2.0/120",
            "[2001:db8::7]",
            "fe80::1%eth0",
            "fe80::%eth0/64",
            "64:ff9b::192.0.2.7",
            "64:ff9b:1::192.0.2.7",
            "::192.0.2.7",
            "2002:c000:207::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "192.0.2.7:80",
            "192.0.2.7,192.0.2.8",
            "１９２.0.2.7",
            "192.0.2.7\x00",
        ],
    )
    def test_is_refused_when_malformed(self, text: str) -> None:
        with pytest.raises(InvalidTerms) as refused:
            Terms(networks=(text,))

        assert refused.value.field == "networks"
        assert len(refused.value.message) < 120

    def test_is_not_repeated_whole_when_it_is_a_key(self) -> None:
        plain_text = "atl_live_" + "a" * 12 + "_" + "b" * 38

        with pytest.raises(InvalidTerms) as refused:
            Terms(networks=(plain_text,))

        assert "b" not in refused.value.message.replace("be ", "")


class TestCheckNetwork:
    def test_lets_everybody_in_without_a_network(self) -> None:
        assert may_call_from(key(), "203.0.113.1")
        key_terms.check_network(key(), None)

    @pytest.mark.parametrize(
        "address, is_inside",
        [
            ("192.0.1.255", False),
            ("192.0.2.0", True),
            ("192.0.2.255", True),
            ("192.0.3.0", False),
            ("::ffff:c000:207", False),
            ("2001:db8::1", False),
        ],
    )
    def test_ends_where_the_network_ends(self, address: str, is_inside: bool) -> None:
        assert may_call_from(key(networks=("192.0.2.0/24",)), address) is is_inside

    @pytest.mark.parametrize(
        "address, is_inside",
        [
            ("2001:db8::", True),
            ("2001:db8::ffff:ffff:ffff:ffff", True),
            ("2001:db8:0:1::", False),
            ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", False),
            ("192.0.2.7", False),
        ],
    )
    def test_takes_a_single_address_of_ipv6_for_its_64(self, address: str, is_inside: bool) -> None:
        assert may_call_from(key(networks=("2001:db8::7",)), address) is is_inside

    def test_lets_in_from_any_of_several(self) -> None:
        one = key(networks=("192.0.2.7", "2001:db8::/48"))

        assert may_call_from(one, "192.0.2.7")
        assert may_call_from(one, "2001:db8:0:ffff::1")
        assert not may_call_from(one, "192.0.2.8")

    def test_counts_an_unknown_address_to_no_network(self) -> None:
        with pytest.raises(NetworkForbidden):
            key_terms.check_network(key(networks=("0.0.0.0/0", "::/0")), None)


class TestCheckModel:
    def test_allows_all_when_none_is_named(self) -> None:
        key_terms.check_model(key(), "anything")

    def test_allows_what_is_named_and_nothing_that_resembles_it(self) -> None:
        one = key(models=("fake", "other"))

        key_terms.check_model(one, "other")
        for slug in ("fak", "fake2", "Fake", ""):
            with pytest.raises(KeyForbids) as refused:
                key_terms.check_model(one, slug)
            assert (refused.value.field, refused.value.allowed) == ("model", "only fake, other")


class TestCheckGeneration:
    @pytest.mark.parametrize(
        "cap, field, at_the_edge, beyond",
        [
            ("max_pixels", "width", {"width": 10, "height": 10}, {"width": 101, "height": 1}),
            ("max_steps", "num_inference_steps", {"steps": 100}, {"steps": 101}),
            ("max_images", "num_images", {"images": 100}, {"images": 101}),
        ],
    )
    def test_allows_up_to_the_cap(
        self, cap: str, field: str, at_the_edge: dict[str, int], beyond: dict[str, int]
    ) -> None:
        one, small = key(**{cap: 100}), {"width": 1, "height": 1, "steps": 1, "images": 1}

        key_terms.check_generation(one, **{**small, **at_the_edge})
        with pytest.raises(KeyForbids) as refused:
            key_terms.check_generation(one, **{**small, **beyond})

        assert refused.value.field == field

    def test_allows_all_without_caps(self) -> None:
        key_terms.check_generation(key(), width=10**6, height=10**6, steps=10**6, images=10**6)


class TestRequireWithin:
    def test_allows_the_same_terms(self) -> None:
        terms = Terms(
            scopes=(Scope.ADMIN, Scope.IMAGES),
            models=("fake",),
            networks=("192.0.2.0/24",),
            max_pixels=1,
            max_steps=1,
            max_images=1,
            requests_per_minute=1,
            expires_at=END,
        )

        assert is_within(terms, terms)

    def test_allows_everything_of_a_giver_without_limits_but_its_scopes(self) -> None:
        assert is_within(Terms(), Terms(models=("x",), networks=("::/0",), max_steps=9, expires_at=END))
        assert not is_within(Terms(), Terms(scopes=(Scope.ADMIN,)))

    def test_allows_fewer_scopes_down_to_none(self) -> None:
        giver = Terms(scopes=(Scope.ADMIN, Scope.IMAGES))

        assert is_within(giver, Terms(scopes=(Scope.ADMIN,)))
        assert is_within(giver, Terms(scopes=()))
        assert not is_within(giver, Terms(scopes=(Scope.IMAGES, Scope.JOBS)))

    def test_takes_no_model_list_for_all_models(self) -> None:
        giver = Terms(models=("fake", "other"))

        assert is_within(giver, Terms(models=("other",)))
        assert not is_within(giver, Terms(models=()))
        assert not is_within(giver, Terms(models=("other", "third")))

    @pytest.mark.parametrize(
        "networks, is_inside",
        [
            (("192.0.2.0/24",), True),
            (("192.0.2.128/25", "2001:db8:0:5::/64"), True),
            (("192.0.2.7", "2001:db8::1"), True),
            ((), False),
            (("192.0.2.0/23",), False),
            (("192.0.3.0/25",), False),
            (("192.0.2.0/25", "198.51.100.1"), False),
            (("2001:db8::/47",), False),
            (("0.0.0.0/0",), False),
            (("::/0",), False),
        ],
    )
    def test_takes_no_network_list_for_all_networks(self, networks: tuple[str, ...], is_inside: bool) -> None:
        giver = Terms(networks=("192.0.2.0/24", "2001:db8::/48"))

        assert is_within(giver, Terms(networks=networks)) is is_inside

    @pytest.mark.parametrize("cap", key_terms.CAPS)
    def test_takes_no_cap_for_the_highest(self, cap: str) -> None:
        giver = Terms(**{cap: 100})  # type: ignore[arg-type]

        assert is_within(giver, Terms(**{cap: 100}))  # type: ignore[arg-type]
        assert not is_within(giver, Terms(**{cap: 101}))  # type: ignore[arg-type]
        assert not is_within(giver, Terms())

    def test_lets_no_key_outlive_its_giver(self) -> None:
        giver = Terms(expires_at=END)

        assert is_within(giver, Terms(expires_at=END))
        assert not is_within(giver, Terms(expires_at=END + INSTANT))
        assert not is_within(giver, Terms())

    @pytest.mark.parametrize(
        "field, giver, new",
        [
            ("scopes", Terms(scopes=()), Terms()),
            ("models", Terms(models=("a",)), Terms()),
            ("networks", Terms(networks=("192.0.2.7",)), Terms()),
            ("max_pixels", Terms(max_pixels=1), Terms()),
            ("expires_at", Terms(expires_at=END), Terms()),
        ],
    )
    def test_names_the_field(self, field: str, giver: Terms, new: Terms) -> None:
        with pytest.raises(BroaderThanGiver) as refused:
            key_terms.require_within(giver, new)

        assert refused.value.field == field
