"""What a user meets when Redis is not as the settings say; and that a command is sent once."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest
import redis

from ingest.broker.broker import RateLimitedBroker
from ingest.broker.clients import check_server, make_client, translated
from ingest.errors import BrokerAuthFailed, BrokerRefused, BrokerTimedOut, BrokerTooOld, BrokerUnreachable
from tests.support.delivery import made_broker, payloads
from tests.support.lines import Caller
from tests.support.raw_server import RawServer
from tests.support.redis_proxy import RedisProxy
from tests.support.redis_server import Valkey
from tests.support.tls import Authority
from tests.support.waiting import wait_until


def test_says_what_answered(shared_valkey: Valkey) -> None:
    server = check_server(make_client(shared_valkey.url))
    assert (server.name, server.maxmemory, server.maxmemory_policy) == (shared_valkey.product, 0, "noeviction")
    assert server.version.count(".") == 2


def test_nothing_listens(tmp_path: Path) -> None:
    with RawServer(lambda _: None) as server:
        port = server.port
    for url in (f"redis://:secret@127.0.0.1:{port}/0", f"unix://{tmp_path}/none.sock?password=secret"):
        with pytest.raises(BrokerUnreachable) as caught:
            check_server(make_client(url))
        assert "secret" not in str(caught.value)


def test_a_name_that_does_not_resolve() -> None:
    with pytest.raises(BrokerUnreachable):
        check_server(make_client("redis://:secret@nowhere.invalid:6379/0"))


def test_a_wrong_password_and_a_missing_one(valkey: Valkey) -> None:
    valkey.client().config_set("requirepass", "right")
    refused, missing = r"the user or password \(WRONGPASS\)", r"the user or password \(NOAUTH\)"
    for query, text in (("?password=xyzzy", refused), ("", missing), ("?username=nobody&password=xyzzy", refused)):
        with pytest.raises(BrokerAuthFailed, match=text) as caught:
            check_server(make_client(valkey.url + query))
        assert "xyzzy" not in str(caught.value)
    assert check_server(make_client(valkey.url + "?password=right")).name == valkey.product


def test_a_server_that_is_too_old() -> None:
    def old(connection: object) -> None:
        while connection.recv(65536):  # type: ignore[attr-defined]
            info = b"redis_version:6.0.16\r\n"
            connection.sendall(b"$%d\r\n%b\r\n" % (len(info), info))  # type: ignore[attr-defined]

    with RawServer(old) as server:
        client = make_client(f"redis://127.0.0.1:{server.port}/0")
        with pytest.raises(BrokerTooOld, match=r"Redis 6\.0\.16 is too old: 6\.2 or newer"):
            check_server(client)
        client.connection_pool.disconnect()


def test_something_that_is_no_redis() -> None:
    def http(connection: object) -> None:
        connection.recv(65536)  # type: ignore[attr-defined]
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")  # type: ignore[attr-defined]

    with RawServer(http) as server:
        client = make_client(f"redis://127.0.0.1:{server.port}/0")
        with pytest.raises(BrokerUnreachable):
            check_server(client)
        client.connection_pool.disconnect()


@pytest.mark.parametrize("moment", ["connect", "command"])
def test_silence_ends_at_the_time_out_and_after_one_attempt(moment: str) -> None:
    with RawServer(lambda connection: connection.recv(65536) and server.closing.wait(60)) as server:
        client = make_client(f"redis://127.0.0.1:{server.port}/0", socket_timeout=0.2, connect_timeout=0.2)
        started = time.monotonic()
        with pytest.raises(BrokerTimedOut), translated():
            client.ping() if moment == "command" else client.connection_pool.get_connection()
        assert time.monotonic() - started < 30
        with socket.create_connection(("127.0.0.1", server.port)):  # whoever asked before is accepted before it
            wait_until(lambda: server.accepted >= 2, 60, "our own connection")
        assert server.accepted == 2, "one of theirs, and ours"
        client.connection_pool.disconnect()


def test_a_lost_reply_is_an_error_and_not_a_second_command(shared_valkey: Valkey) -> None:
    observer = shared_valkey.client()
    with RedisProxy(shared_valkey.path) as proxy:
        client = make_client(proxy.url)
        client.ping()
        proxy.losing.set()
        with pytest.raises(BrokerUnreachable), translated():
            client.rpush("list", "once")
        client.connection_pool.disconnect()
    assert observer.lrange("list", 0, -1) == [b"once"]


def test_more_threads_than_connections_wait_for_each_other(shared_valkey: Valkey) -> None:
    before = {each["id"] for each in shared_valkey.client().client_list()}  # of earlier tests, that are closing
    client = make_client(shared_valkey.url, max_connections=2)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(50):
                client.incr("count")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert client.get("count") == b"400"
    assert len({each["id"] for each in client.client_list()} - before) <= 2
    client.connection_pool.disconnect()


class TestTLS:
    def test_an_unknown_certificate_is_refused_with_the_remedy(self, shared_valkey: Valkey, tmp_path: Path) -> None:
        context = Authority(tmp_path).server_context("127.0.0.1")
        with (
            RedisProxy(shared_valkey.path, context) as proxy,
            pytest.raises(BrokerUnreachable, match=r"tls\.ca_file.*tls\.verify"),
        ):
            check_server(make_client(proxy.url))

    def test_with_its_ca_or_unverified_everything_works_and_lines_too(self, shared_valkey: Valkey, tmp_path: Path) -> None:
        authority = Authority(tmp_path)
        with RedisProxy(shared_valkey.path, authority.server_context("127.0.0.1")) as proxy:
            for options in ({"ca_file": authority.ca_file}, {"verify": False}):
                with made_broker(proxy.url, **options) as broker:
                    assert check_server(broker.client).name == shared_valkey.product
                    caller = Caller(broker)
                    caller.join()
                    assert caller.call(0, caller.entries(1, 300)).status == "ok"
                    caller.line.close()
        assert len(payloads(shared_valkey.client())) == 600

    def test_a_wrong_name_is_refused_though_the_ca_is_known(self, shared_valkey: Valkey, tmp_path: Path) -> None:
        authority = Authority(tmp_path)
        context = authority.server_context("elsewhere.invalid")
        with RedisProxy(shared_valkey.path, context) as proxy, pytest.raises(BrokerUnreachable):
            check_server(make_client(proxy.url, ca_file=authority.ca_file))


def test_a_client_of_the_users_own_is_used_and_left_open(shared_valkey: Valkey) -> None:
    with RedisProxy(shared_valkey.path) as proxy:
        own = redis.Redis(host="127.0.0.1", port=proxy.port)
        broker = RateLimitedBroker(client=own, middleware=[])
        caller = Caller(broker)
        caller.join()
        assert caller.call(0, caller.entries(1, 3)).status == "ok"
        caller.line.close()
        broker.close()
        assert own.ping()
        own.close()


def test_a_broker_needs_to_know_where_redis_is() -> None:
    with pytest.raises(ValueError, match="either a url or a client"):
        RateLimitedBroker()


def test_no_permission_to_look_is_said_so(shared_valkey: Valkey) -> None:
    admin = shared_valkey.client()
    admin.execute_command("ACL", "SETUSER", "blind", "on", ">pw", "~*", "+@all", "-info")
    try:
        client = make_client(shared_valkey.url + "?username=blind&password=pw")
        with pytest.raises(BrokerRefused, match="NOPERM"):
            check_server(client)
        client.connection_pool.disconnect()
    finally:
        admin.execute_command("ACL", "DELUSER", "blind")
