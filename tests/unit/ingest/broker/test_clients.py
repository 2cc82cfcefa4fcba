"""Redis clients: nothing resent, nothing secret told."""

from __future__ import annotations

import pytest
import redis
from redis.connection import SSLConnection, UnixDomainSocketConnection

from ingest.broker.clients import (
    CONNECT_TIMEOUT,
    SOCKET_TIMEOUT,
    UnusableURL,
    dedicated_connection,
    library_error,
    make_client,
    public_url,
    refusal,
    translate,
)
from ingest.errors import BrokerAuthFailed, BrokerError, BrokerRefused, BrokerTimedOut, BrokerUnreachable


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "redis://127.0.0.1/0?retry_on_timeout=true&protocol=3",
        "rediss://u:p@127.0.0.1:6380/1?retry_on_error=x",
        "unix:///tmp/x.sock?db=2",
    ],
)
def test_the_library_never_sends_twice_whatever_the_url_says(url: str) -> None:
    client = make_client(url)
    for connection in (
        client.connection_pool.connection_class(**client.connection_pool.connection_kwargs),
        dedicated_connection(client),
    ):
        assert connection.retry.get_retries() == 0
        assert connection.retry_on_error == []
        assert connection.protocol == 2
        assert (connection.socket_connect_timeout, connection.socket_timeout) == (CONNECT_TIMEOUT, SOCKET_TIMEOUT)


def test_a_client_of_the_users_own_lends_its_address_but_not_its_habits() -> None:
    own = redis.Redis(
        host="example.invalid", port=7, password="pw", decode_responses=True, socket_timeout=None, health_check_interval=9
    )
    connection = dedicated_connection(own)
    assert (connection.host, connection.port, connection.password) == ("example.invalid", 7, "pw")  # type: ignore[attr-defined]
    assert (connection.retry.get_retries(), connection.socket_timeout, connection.health_check_interval) == (0, SOCKET_TIMEOUT, 0)
    assert not connection.encoder.decode_responses


def test_tls_is_verified_unless_told_otherwise() -> None:
    def made(**options: object) -> SSLConnection:
        connection = dedicated_connection(make_client("rediss://127.0.0.1/0", **options))  # type: ignore[arg-type]
        assert isinstance(connection, SSLConnection)
        return connection

    strict, lax, own_ca = made(), made(verify=False), made(ca_file="/ca.pem")
    assert (strict.cert_reqs.name, strict.check_hostname) == ("CERT_REQUIRED", True)
    assert (lax.cert_reqs.name, lax.check_hostname) == ("CERT_NONE", False)
    assert (own_ca.cert_reqs.name, own_ca.ca_certs) == ("CERT_REQUIRED", "/ca.pem")


def test_tls_options_do_not_hurt_plain_urls() -> None:
    assert isinstance(dedicated_connection(make_client("unix:///tmp/x.sock", verify=False)), UnixDomainSocketConnection)


@pytest.mark.parametrize("url", ["http://x", "redis://:pa/ss@host:6379", "redis://host:port", "nonsense", "redis://[::1"])
def test_a_bad_url_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="the Redis URL must be") as caught:
        make_client(url)
    assert "pa" not in str(caught.value).replace("path", "")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@host:6380/3?password=secret", "redis://host:6380/3"),
        ("rediss://:secret@host", "rediss://host"),
        ("unix:///run/redis.sock?password=secret", "unix:///run/redis.sock"),
        ("redis://:sec/ret@host:x", "redis://…"),
    ],
)
def test_the_public_url_holds_no_secret(url: str, shown: str) -> None:
    assert public_url(url) == shown


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (redis.TimeoutError("slow"), BrokerTimedOut("slow")),
        (redis.ConnectionError("gone"), BrokerUnreachable("gone")),
        (ConnectionResetError("reset"), BrokerUnreachable("reset")),
        (redis.AuthenticationError("invalid"), BrokerAuthFailed("WRONGPASS", "")),
        (redis.exceptions.BusyLoadingError("loading"), BrokerRefused("LOADING", "loading")),
        (redis.exceptions.OutOfMemoryError("full"), BrokerRefused("OOM", "full")),
        (redis.exceptions.NoScriptError("which"), BrokerRefused("NOSCRIPT", "which")),
        (redis.exceptions.MasterDownError("down"), BrokerRefused("MASTERDOWN", "down")),
        (redis.ResponseError("MISCONF disk"), BrokerRefused("MISCONF", "disk")),
        (redis.ResponseError("something odd"), BrokerRefused("ERR", "something odd")),
    ],
)
def test_every_error_of_the_library_has_our_name(error: Exception, expected: BrokerError) -> None:
    translated = translate(error)
    assert translated == expected
    assert type(translated) is type(expected)


def test_what_a_command_said_within_a_script_is_found() -> None:
    text = "ERR Error running script (call to f_1): @user_script:123: -OOM command not allowed when used memory > 'maxmemory'."
    assert refusal(text).code == "OOM"
    wrapped = "ERR Error running script (call to f_1): @user_script:94: WRONGTYPE Operation against a key"
    assert (refusal(wrapped).code, refusal(wrapped).detail) == ("WRONGTYPE", "Operation against a key")
    twice = "@user_script: 1: -READONLY You can't write against a read only replica.\r\n"
    assert (refusal(twice).code, refusal(twice).detail) == ("READONLY", "You can't write against a read only replica.")
    assert refusal("ERR ACL failure in script: User x has no permissions to run the 'rpush' command").code == "NOPERM"
    assert refusal("ACL failure in script: User x has no permissions to run the 'zadd' command").code == "NOPERM"
    kept = "The user executing the script can't run this command or subcommand"
    for said in (
        f"ERR {kept}",
        f"@user_script: 1: {kept}",
        f"ERR Error running script (call to f_1): @user_script:1: @user_script: 1: {kept}",
    ):
        assert (refusal(said).code, refusal(said).detail) == ("NOPERM", kept)
    assert refusal("WRONGTYPE Operation against a key. script: f, on @user_script:9.").code == "WRONGTYPE"


@pytest.mark.parametrize(
    "error",
    [
        redis.exceptions.OutOfMemoryError("command not allowed"),
        redis.exceptions.ReadOnlyError("You can't write against a read only replica."),
        redis.ResponseError("MISCONF disk"),
        redis.ResponseError("WRONGTYPE Operation against a key"),
    ],
)
def test_the_way_back_gives_what_the_library_would_have_raised(error: redis.ResponseError) -> None:
    refused = translate(error)
    assert isinstance(refused, BrokerRefused)
    made = library_error(f"{refused.code} {refused.detail}")
    assert (type(made), str(made)) == (type(error), str(error))


def test_texts_are_bounded() -> None:
    assert len(str(translate(redis.ConnectionError("x" * 10_000)))) < 300
    assert len(str(refusal("ERR " + "x" * 10_000))) < 300


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://:hunter2@h/0?ssl_cert_reqs=none", "asks for ssl_cert_reqs, but not for TLS: write rediss://"),
        ("unix:///s?ssl_ca_certs=/hunter2", "asks for ssl_ca_certs, but not for TLS"),
        ("rediss://h/0?ssl_cert_reqs=hunter2", "has an argument that redis-py does not take, of: ssl_cert_reqs"),
        ("redis://h/0?socket_timeout=hunter2", "has an argument that redis-py does not take, of: socket_timeout"),
        ("redis://:hunter2@h:port/0", "must be redis://host:6379/0, rediss:// or unix:///path"),
        ("redis://:hunter2@h/0?color=hunter2&db=1", "has an argument that redis-py does not take, of: color, db"),
    ],
)
def test_arguments_that_no_connection_takes_are_told_before_the_first_command(url: str, says: str) -> None:
    with pytest.raises(UnusableURL) as refused:
        make_client(url)
    assert says in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_arguments_of_tls_are_taken_with_tls() -> None:
    make_client("rediss://h/0?ssl_cert_reqs=none&ssl_check_hostname=false")
