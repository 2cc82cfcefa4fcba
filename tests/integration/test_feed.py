"""A feed against real servers: every connection key of the settings does what it says."""

import json
import time

import pytest

from ingest.connection.session import Emit, Fail, Session, Skip
from ingest.connection.states import State
from ingest.errors import (
    ClosedByServer,
    ConnectionDropped,
    DataTimedOut,
    HandshakeRejected,
    HeadersFailed,
    IdleTimedOut,
    OpenTimedOut,
    PingTimedOut,
    ProtocolViolated,
    ReadyTimedOut,
)
from ingest.events import ConnectionFailed, ConnectionLost, ConnectionReady, FeedGaveUp, RetryScheduled
from ingest.testing import ScriptedServer
from tests.support.feeds import AT_ONCE, RunningFeed


def reasons(feed):
    return [event.reason for event in feed.events if isinstance(event, ConnectionLost | ConnectionFailed)]


def test_frames_of_every_kind_arrive_in_order():
    def script(client):
        client.send("text", b"\x00binary", {"a": 1})
        client.send_fragments("fr", "ag", "ment")
        client.ping(b"42")
        client.expect_pong(b"42")
        client.send("last")

    with ScriptedServer(script) as server, RunningFeed(server.url) as feed:
        feed.wait_for(lambda: feed.payloads[-1:] == ["last"], "the last frame")
        first_four = feed.payloads[:4]
    assert first_four[:2] == ["text", b"\x00binary"]
    assert json.loads(first_four[2]) == {"a": 1}
    assert first_four[3] == "fragment"
    assert feed.status.state is State.STOPPED
    assert server.recordings[0].close_code == 1001


def test_subscribe_frames_leave_again_on_every_connection():
    def script(client):
        client.expect("sub a")
        client.expect("sub b")
        client.cut()

    def last(client):
        client.send("done")

    with ScriptedServer(script, script, last) as server, RunningFeed(server.url, subscribe=["sub a", "sub b"]) as feed:
        feed.wait_for(lambda: feed.payloads == ["done"], "the third connection")
    assert all(isinstance(reason, ConnectionDropped) for reason in reasons(feed)[:2])


def test_headers_are_made_anew_for_every_attempt():
    tokens = iter(range(100))

    def script(client):
        if client.recording.headers["x-token"] == "0":
            client.refuse(401)
        else:
            client.send("welcome")

    with (
        ScriptedServer(script) as server,
        RunningFeed(server.url, headers_function=lambda: {"X-Token": str(next(tokens))}) as feed,
    ):
        feed.wait_for(lambda: "welcome" in feed.payloads, "the second token")
    assert isinstance(reasons(feed)[0], HandshakeRejected)


def test_headers_that_cannot_be_made_are_tried_again():
    answers = iter([PermissionError("no token yet")])

    def headers():
        for error in answers:
            raise error
        return {}

    def script(client):
        client.send("welcome")

    with ScriptedServer(script) as server, RunningFeed(server.url, headers_function=headers) as feed:
        feed.wait_for(lambda: feed.payloads, "a connection")
    assert isinstance(reasons(feed)[0], HeadersFailed)


def test_a_session_confirms_replies_and_keeps_its_memory():
    class Resuming(Session):
        awaits_ready = True

        def on_upgrade(self):
            return [json.dumps({"resume": self.memory.get("seq", 0)})]

        def on_frame(self, payload):
            value = json.loads(payload)
            if value == "ok":
                return Skip(ready=True, reply=["thanks"])
            self.memory["seq"] = value["seq"]
            return Emit(value["seq"])

    def first(client):
        client.expect({"resume": 0})
        client.send('"ok"')
        client.expect("thanks")
        client.send({"seq": 1}, {"seq": 2})
        client.close(1012, "restart")

    def second(client):
        client.expect({"resume": 2})
        client.send('"ok"', {"seq": 3})

    with ScriptedServer(first, second) as server, RunningFeed(server.url, Resuming) as feed:
        feed.wait_for(lambda: feed.payloads == [1, 2, 3], "the resumed stream")
    assert reasons(feed)[0] == ClosedByServer(1012, "restart")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"idle_timeout": 0.3, "ping_interval": 0}, IdleTimedOut(0.3)),
        ({"data_timeout": 0.5, "ping_interval": 0.1}, DataTimedOut(0.5)),
    ],
)
def test_silence_is_noticed(settings, reason):
    with ScriptedServer(lambda client: client.send("one")) as server, RunningFeed(server.url, **settings) as feed:
        server.wait_for_connections(2)
    assert reasons(feed)[0] == reason


def test_a_server_that_does_not_answer_pings_is_left():
    def script(client):
        client.mute()
        for _ in range(100):
            client.send("data")
            client.listen(0.05)

    with ScriptedServer(script) as server, RunningFeed(server.url, ping_interval=0.2, ping_timeout=0.4) as feed:
        server.wait_for_connections(2)
    assert reasons(feed)[0] == PingTimedOut(0.4)


def test_a_session_that_is_not_confirmed_is_left():
    class Waiting(Session):
        awaits_ready = True

    with ScriptedServer() as server, RunningFeed(server.url, Waiting, ready_timeout=0.3) as feed:
        server.wait_for_connections(2)
    assert reasons(feed)[0] == ReadyTimedOut(0.3)
    assert feed.of(ConnectionReady) == []


def test_an_upgrade_that_never_comes_is_left():
    with ScriptedServer(lambda client: client.stall()) as server, RunningFeed(server.url, open_timeout=0.3) as feed:
        server.wait_for_connections(2)
    assert isinstance(reasons(feed)[0], OpenTimedOut)


def test_heartbeats_are_text_frames():
    def script(client):
        assert [client.expect(), client.expect()] == ["ping", "ping"]
        client.send("seen")

    with ScriptedServer(script) as server, RunningFeed(server.url, heartbeat={"interval": 0.1, "text": "ping"}) as feed:
        feed.wait_for(lambda: feed.payloads, "two heartbeats")


def test_backoff_grows_and_is_told():
    retry = {"initial": 0.02, "max": 0.05, "jitter": "none"}
    with ScriptedServer(lambda client: client.refuse(503)) as server, RunningFeed(server.url, retry=retry) as feed:
        feed.wait_for(lambda: len(feed.of(RetryScheduled)) >= 4, "four retries")
    assert [event.delay for event in feed.of(RetryScheduled)][:4] == [0.02, 0.04, 0.05, 0.05]


def test_attempts_can_be_limited():
    retry = {**AT_ONCE, "max_attempts": 2}
    with ScriptedServer(lambda client: client.refuse(503)) as server, RunningFeed(server.url, retry=retry) as feed:
        feed.wait_for(lambda: feed.status.state is State.FAILED, "the end of all attempts")
        assert len(server.recordings) == 3
    assert [event.reason for event in feed.of(FeedGaveUp)] == [feed.status.last_reason]


def test_retry_after_holds_the_next_attempt_back():
    moments = []

    def script(client):
        moments.append(time.monotonic())
        client.refuse(429, headers={"Retry-After": "1"})

    with ScriptedServer(script) as server, RunningFeed(server.url) as feed:
        server.wait_for_connections(2)
        feed.wait_for(lambda: len(moments) >= 2, "two attempts")
    assert moments[1] - moments[0] >= 0.99


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 426, 301])
def test_statuses_that_are_fatal(status):
    headers = {"Location": "ws://127.0.0.1:1/other"} if status == 301 else {}
    with ScriptedServer(lambda client: client.refuse(status, headers=headers)) as server, RunningFeed(server.url) as feed:
        feed.wait_for(lambda: feed.status.state is State.FAILED, "the feed to give up")
        assert len(server.recordings) == 1
    assert feed.status.last_reason.status == status


def test_own_fatal_statuses_and_close_codes():
    with (
        ScriptedServer(lambda client: client.refuse(404), lambda client: client.close(4004, "gone")) as server,
        RunningFeed(server.url, fatal_statuses=[503], fatal_close_codes=["4xxx"]) as feed,
    ):
        feed.wait_for(lambda: feed.status.state is State.FAILED, "the fatal close")
    assert feed.status.last_reason == ClosedByServer(4004, "gone")


def test_an_announced_restart_is_followed_at_once():
    class Venue(Session):
        def on_frame(self, payload):
            return Fail("restart", retry_after=0) if payload == "restart" else Emit(payload)

    def first(client):
        client.send("a", "restart")
        client.wait_for_close(1000)

    retry = {"initial": 60, "max": 60, "jitter": "none"}
    with (
        ScriptedServer(first, lambda client: client.send("b")) as server,
        RunningFeed(server.url, Venue, retry=retry) as feed,
    ):
        feed.wait_for(lambda: feed.payloads == ["a", "b"], "the next connection")
    assert [event.delay for event in feed.of(RetryScheduled)] == [0.0]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"\x81\x02\xff\xfe", 1007),
        (b"\x83\x00", 1002),
        (b"\x81\x85\x01\x02\x03\x04hello", 1002),
        (b"\x82\x7f" + (1 << 30).to_bytes(8, "big"), 1009),
    ],
)
def test_what_breaks_the_protocol_is_closed_with_its_code(raw, code):
    def script(client):
        client.send("good")
        client.send_raw(raw)
        client.wait_for_close(code)
        client.hang_up()

    with (
        ScriptedServer(script, lambda client: client.send("again")) as server,
        RunningFeed(server.url, max_message_bytes=1_000_000) as feed,
    ):
        feed.wait_for(lambda: feed.payloads == ["good", "again"], "the next connection")
    assert isinstance(reasons(feed)[0], ProtocolViolated)
    assert reasons(feed)[0].code == code


def test_a_compressed_feed():
    def script(client):
        client.accept(compression=True)
        client.send("x" * 10_000, "y")

    with ScriptedServer(script) as server, RunningFeed(server.url, compression="deflate") as feed:
        feed.wait_for(lambda: len(feed.payloads) == 2, "both messages")
        assert "permessage-deflate" in server.recordings[0].headers["sec-websocket-extensions"]
    assert feed.payloads == ["x" * 10_000, "y"]


def test_subprotocol_origin_and_headers_are_sent():
    def script(client):
        client.accept(subprotocol="v2.json")
        client.send("ok")

    with (
        ScriptedServer(script) as server,
        RunningFeed(
            server.url + "stream?x=1", subprotocols=["v1.json", "v2.json"], origin="https://example.com", headers={"X-Key": "k"}
        ) as feed,
    ):
        feed.wait_for(lambda: feed.payloads, "the connection")
        request = server.recordings[0]
    assert request.path == "/stream?x=1"
    assert request.headers["origin"] == "https://example.com"
    assert request.headers["x-key"] == "k"


def test_a_full_backlog_stops_reading_and_nothing_is_lost():
    room = True

    def script(client):
        client.send("first")
        client.expect("hb")
        for number in range(1000):
            client.send(str(number))

    with ScriptedServer(script) as server:
        feed = RunningFeed(server.url, heartbeat={"interval": 20, "text": "hb"}, idle_timeout=60, ping_interval=0)
        feed.sink.room = lambda: room or not feed.payloads
        room = False
        with feed:
            feed.wait_for(lambda: feed.status.shown(10) == "BLOCKED", "the block")
            for number in range(1, 6):  # longer than idle_timeout together
                feed.pass_time(20)
                server.wait_until(lambda number=number: len(server.recordings[0].texts) >= number, "a heartbeat")
            assert set(server.recordings[0].texts) == {"hb"}
            assert feed.payloads == ["first"]
            room = True
            feed.wake()
            feed.wait_for(lambda: len(feed.payloads) == 1001, "all frames")
    assert feed.payloads[1:] == [str(number) for number in range(1000)]
    assert len(server.recordings) == 1


def test_events_carry_the_telemetry_id():
    with ScriptedServer() as server, RunningFeed(server.url, telemetry_id="my_app_ws") as feed:
        feed.wait_for(lambda: feed.of(ConnectionReady), "ready")
    assert {event.telemetry_id for event in feed.events} == {"my_app_ws"}
