"""Where the page listens, and what is said where it cannot."""

from __future__ import annotations

import socket

import pytest

from ingest.web.serve import AddressUnusable, address_url, listen


def test_a_free_port_is_found_and_told() -> None:
    with listen("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        assert address_url(sock) == f"http://127.0.0.1:{port}"
        with pytest.raises(AddressUnusable, match=f"127.0.0.1 port {port}: another process listens there"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("198.51.100.7", "that is no address of this machine"),
        ("no such name", "there is no such address"),
    ],
)
def test_an_address_of_others_is_a_sentence(host: str, says: str) -> None:
    with pytest.raises(AddressUnusable, match=says):
        listen(host, 0)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6_addresses_are_in_brackets() -> None:
    try:
        sock = listen("::1", 0)
    except AddressUnusable:
        pytest.skip("no IPv6 loopback here")
    with sock:
        assert address_url(sock).startswith("http://[::1]:")
