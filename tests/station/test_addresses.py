from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders

from station.addresses import (
    _remembered_walk,
    client_address,
    is_trusted,
    parse_networks,
    throttle_key,
)

TRUSTED = parse_networks("10.0.0.0/8, 2001:db8:f::/48")
PROXY = "10.0.0.1"


def forwarded(value: str) -> HTTPHeaders:
    headers = HTTPHeaders()
    headers["X-Forwarded-For"] = value  # assigned, not added: arbitrary text is not refused
    return headers


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9, 10.0.0.7", "203.0.113.9"),
        ("6.6.6.6,203.0.113.9,2001:db8:f::7 , 10.0.0.7", "203.0.113.9"),
        ("10.0.0.8, 10.0.0.7", "10.0.0.8"),
        ("203.0.113.9:5678", "203.0.113.9"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, ::ffff:10.0.0.7", "203.0.113.9"),
        ("fe80::1%<script>", "fe80::1"),
    ],
)
def test_walks_from_the_right_through_trusted_hops(header: str, expected: str) -> None:
    assert client_address(PROXY, forwarded(header), TRUSTED) == expected


@pytest.mark.parametrize(
    "malformed", ["", "unknown", "_hidden", "203.0.113.999", "203.0.113.9:", "[2001:db8::1", "1", ":80", "[]"]
)
def test_a_malformed_entry_ends_the_walk(malformed: str) -> None:
    assert client_address(PROXY, forwarded(f"6.6.6.6, {malformed}, 10.0.0.7"), TRUSTED) == "10.0.0.7"
    assert client_address(PROXY, forwarded(malformed), TRUSTED) == PROXY


def test_repeated_headers_are_one_list() -> None:
    headers = HTTPHeaders()
    headers.add("X-Forwarded-For", "6.6.6.6")
    headers.add("X-Forwarded-For", "203.0.113.9, 10.0.0.7")
    assert client_address(PROXY, headers, TRUSTED) == "203.0.113.9"


def test_without_the_header_the_peer_is_the_client() -> None:
    assert client_address(PROXY, HTTPHeaders(), TRUSTED) == PROXY


@pytest.mark.parametrize("peer", ["198.51.100.4", "2001:db8::4"])
@given(header=st.text())
def test_the_header_of_an_untrusted_peer_changes_nothing(peer: str, header: str) -> None:
    assert client_address(peer, forwarded(header), TRUSTED) == peer


_entry = st.text() | st.ip_addresses().map(str) | st.sampled_from(["10.0.0.7", "[::1]:9", "1.2.3.4:5", "%"])


@given(peer=_entry, header=st.lists(_entry).map(",".join))
def test_any_text_gives_an_address(peer: str, header: str) -> None:
    address = client_address(peer, forwarded(header), TRUSTED)
    assert client_address(address, HTTPHeaders(), ()) == address
    assert throttle_key(address)


@pytest.mark.parametrize("peer", ["", "0.0.0.0"])
def test_a_unix_socket_is_trusted_only_by_name(peer: str) -> None:
    header = forwarded("203.0.113.9")
    assert client_address(peer, header, TRUSTED) == "0.0.0.0"
    assert client_address(peer, header, parse_networks("0.0.0.0/32")) == "203.0.113.9"


def test_is_trusted() -> None:
    assert is_trusted("10.200.0.1", TRUSTED)
    assert is_trusted("::ffff:10.0.0.1", TRUSTED)
    assert not is_trusted("11.0.0.1", TRUSTED)
    assert not is_trusted("", TRUSTED)


def test_throttle_key() -> None:
    assert throttle_key("203.0.113.9") == "203.0.113.9"
    assert throttle_key("2001:db8:1:2:3:4:5:6") == throttle_key("2001:db8:1:2::") == "2001:db8:1:2::/64"
    assert throttle_key("2001:db8:1:3::") != throttle_key("2001:db8:1:2::")
    assert throttle_key("::ffff:203.0.113.9") == "203.0.113.9"


def test_parse_networks() -> None:
    assert [str(network) for network in parse_networks(" 10.0.0.0/8,127.0.0.1,, ::1 ")] == [
        "10.0.0.0/8",
        "127.0.0.1/32",
        "::1/128",
    ]
    assert parse_networks("") == ()


def test_parse_networks_names_all_that_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8 has host bits set; 'proxy' does not appear"):
        parse_networks("10.0.0.1/8, ::1, proxy")


def test_what_anybody_may_write_does_not_fill_the_memory() -> None:
    _remembered_walk.cache_clear()
    longest = "6" * 180 + ", 203.0.113.9"
    assert client_address(PROXY, forwarded(longest), TRUSTED) == "203.0.113.9"
    assert _remembered_walk.cache_info().currsize == 1
    assert client_address(PROXY, forwarded("6" * 100_000 + ", 203.0.113.9"), TRUSTED) == "203.0.113.9"
    assert _remembered_walk.cache_info().currsize == 1
    client_address(PROXY, forwarded("6" * 100_000), ())
    assert _remembered_walk.cache_info().currsize == 2  # without proxies the header is not even looked at
