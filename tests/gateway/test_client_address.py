"""Where a request comes from, whatever its `X-Forwarded-For` claims."""

from ipaddress import ip_address
from typing import Any

import pytest
from django.test import RequestFactory

from gateway.api import client_address

PEER = "203.0.113.9"
UNREADABLE = [
    *(
        "",
        " ",
        "unknown",
        "_hidden",
        "<b>",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "01.2.3.4",
        "1.2.3.4%0",
        "[::1",
    ),
    *("::1]", "1.2.3.4:x", "1.2.3.4:123456", "2130706433", "0x7f000001", "\u0661.2.3.4"),
]


def _find(settings: Any, proxies: int, forwarded: str | None, peer: str = PEER) -> str | None:
    settings.TRUSTED_PROXIES = proxies
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    found = client_address.find(RequestFactory().get("/", headers=headers, REMOTE_ADDR=peer))
    return found and str(found)


class TestAddress:
    @pytest.mark.parametrize("forged", [None, "", "198.51.100.1", "198.51.100.1, 198.51.100.2", "x"])
    def test_is_the_peer_without_proxies(self, settings: Any, forged: str | None) -> None:
        assert _find(settings, 0, forged) == PEER

    @pytest.mark.parametrize(
        ("proxies", "expected"), [(1, "198.51.100.3"), (2, "198.51.100.2"), (3, "198.51.100.1"), (4, None)]
    )
    def test_is_counted_from_the_right(self, settings: Any, proxies: int, expected: str | None) -> None:
        assert _find(settings, proxies, "198.51.100.1, 198.51.100.2, 198.51.100.3") == expected

    @pytest.mark.parametrize(
        "forged", ["10.0.0.1", "10.0.0.1, 10.0.0.2", ",,,", "unknown", "x" * 5_000, "::1,"]
    )
    def test_is_not_moved_by_what_stands_further_left(self, settings: Any, forged: str) -> None:
        assert _find(settings, 1, f"{forged}, 198.51.100.7") == "198.51.100.7"

    @pytest.mark.parametrize("entry", UNREADABLE)
    def test_is_unknown_when_its_entry_cannot_be_read(self, settings: Any, entry: str) -> None:
        assert _find(settings, 1, f"198.51.100.7, {entry}") is None

    @pytest.mark.parametrize("forwarded", [None, ""])
    def test_is_unknown_when_a_proxy_was_passed_by(self, settings: Any, forwarded: str | None) -> None:
        assert _find(settings, 1, forwarded) is None

    @pytest.mark.parametrize(
        ("entry", "expected"),
        [
            ("198.51.100.7:4711", "198.51.100.7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"),
            ("2001:DB8:0::7", "2001:db8::7"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
            ("[::ffff:c633:6407]:80", "198.51.100.7"),
            ("fe80::1%eth0", "fe80::1"),
        ],
    )
    def test_is_read_in_all_its_spellings(self, settings: Any, entry: str, expected: str) -> None:
        assert _find(settings, 1, entry) == expected
        assert _find(settings, 0, None, peer=entry) == expected

    def test_may_come_through_a_socket_file(self, settings: Any) -> None:
        """The peer then has no address, and is a proxy all the same."""
        assert _find(settings, 1, "198.51.100.7", peer="") == "198.51.100.7"
        assert _find(settings, 0, "198.51.100.7", peer="") is None


class TestGroup:
    @pytest.mark.parametrize(
        ("address", "expected"),
        [
            ("198.51.100.7", "198.51.100.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ],
    )
    def test_is_an_address_or_a_network(self, address: str, expected: str) -> None:
        assert client_address.group(ip_address(address)) == expected

    def test_holds_all_that_are_unknown(self) -> None:
        assert client_address.group(None) == "unknown"
