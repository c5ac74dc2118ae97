"""Where requests may go."""

from __future__ import annotations

import pytest

from tocsin.dispatcher.core.egress import EgressPolicy, check_url

PUBLIC = EgressPolicy()
OPEN = EgressPolicy.of("10.0.0.0/8, 127.0.0.0/8 fd00::/8", http=True)

DENIED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.168.1.1",
    "192.175.48.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.1.2.3",
    "::ffff:0:1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "3fff::1",
    "fc00::1",
    "fd12::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "::127.0.0.1",
    "4000::1",
]

ALLOWED = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "168.63.129.15",
    "2606:4700::1111",
    "2a00::1",
    "2001:200::1",
    "::ffff:8.8.8.8",
]


@pytest.mark.parametrize("address", DENIED)
def test_no_socket_to_an_address_that_is_not_public(address: str) -> None:
    refusal = PUBLIC.refusal(address)
    assert refusal is not None
    assert address in refusal


@pytest.mark.parametrize("address", ALLOWED)
def test_public_addresses_are_allowed(address: str) -> None:
    assert PUBLIC.refusal(address) is None


def test_an_allow_list_opens_its_networks_mapped_ones_too_and_nothing_else() -> None:
    for address in ("10.1.2.3", "127.0.0.1", "::ffff:10.1.2.3", "fd12::1"):
        assert OPEN.refusal(address) is None
    for address in ("192.168.1.1", "::1", "169.254.169.254", "not an address"):
        assert OPEN.refusal(address) is not None


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://example.com/", "the URL must start with https:// (plain http is off"),
        ("ftp://example.com/", "the URL must start with https://"),
        ("example.com/hook", "the URL must start with https://"),
        ("https://user:pass@example.com/", "must not hold a user name or password"),
        ("https://user@example.com/", "must not hold a user name or password"),
        ("https://@example.com/", "must not hold a user name or password"),
        ("https:///path", "the URL has no host"),
        ("https://example.com:0/", "port must be 1 to 65535"),
        ("https://example.com:99999/", "malformed"),
        ("https://exa mple.com/", "spaces, backslashes or control characters"),
        ("https://example.com\\@10.0.0.1/", "spaces, backslashes or control characters"),
        ("https://example.com/\r\nX: y", "spaces, backslashes or control characters"),
        ("https://10.0.0.1/", "10.0.0.1 is in 10.0.0.0/8"),
        ("https://[::1]/", "::1 is in a network outside 2000::/3"),
        ("https://[::ffff:127.0.0.1]/", "127.0.0.0/8"),
        ("https://2130706433/", "is a number"),
        ("https://0x7f.1/", "is a number"),
        ("https://127.1/", "is a number"),
        ("https://local\u00adhost/", "not a name that can be looked up"),
        ("https://a b.example/", "spaces"),
        ("https://" + "a" * 2100, "more than 2048"),
    ],
)
def test_a_url_that_cannot_be_used_says_why(url: str, problem: str) -> None:
    problems = check_url(url, PUBLIC)
    assert any(problem in one for one in problems), problems
    assert not any("pass" in one and "user:pass" in one for one in problems)


def test_good_urls_pass() -> None:
    assert check_url("https://example.com/hook?a=%20b#c", PUBLIC) == []
    assert check_url("https://bücher.example/", PUBLIC) == []
    assert check_url("https://[2606:4700::1111]:8443/", PUBLIC) == []
    assert check_url("http://127.0.0.1:8080/hook", OPEN) == []


def test_networks_that_are_none_are_named() -> None:
    with pytest.raises(ValueError, match=r"'10\.0\.0\.1/8' is not a network"):
        EgressPolicy.of("10.0.0.1/8")
