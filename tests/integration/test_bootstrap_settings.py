"""What a connection begins with and keeps alive by: functions of the user's, named in the settings, in the real supervisor."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from ingest.connection.session import Emit, Session, Skip
from ingest.errors import BootstrapFailed, IdleTimedOut
from ingest.events import ConnectionFailed, ConnectionLost, ConnectionReady
from ingest.testing import ScriptedServer
from ingest.testing.script import ScriptedConnection
from tests.support.feeds import RunningFeed
from tests.support.queue_content import messages_in
from tests.support.redis_server import Valkey
from tests.support.supervisor import SupervisorProcess
from tests.support.waiting import wait_until

USER_CODE = """
    import itertools
    from ingest import Emit, Session

    calls = itertools.count(1)
    tokens = itertools.count(1)

    def subscribe():
        return [f"subscribe {next(calls)}", b"\\x01\\x02"]

    def headers():
        return {"X-Token": f"token {next(tokens)}"}

    def delay(attempt):
        return 0.01

    class Greeting(Session):
        def setup(self, greeting, times=1):
            self._greeting = greeting * times

        def on_frame(self, payload):
            return Emit(f"{self._greeting} {payload}")
"""

FEED = """
    [feeds.trades]
    url = "{url}"
    actor = "handle"
    queue = "trades"
    subscribe_function = "user_code:subscribe"
    headers_function = "user_code:headers"
    session = "user_code:Greeting"
    session_args = {{ greeting = "hello", times = 2 }}
    retry.function = "user_code:delay"
    telemetry_id = "venue:trades"
"""


def test_functions_and_session_of_the_users_package_are_called_for_every_connection(
    tmp_path: Path, shared_valkey: Valkey
) -> None:
    (tmp_path / "user_code.py").write_text(dedent(USER_CODE))
    client = shared_valkey.client()

    def connection(number: int) -> object:
        def script(server: ScriptedConnection) -> None:
            assert server.recording.headers["x-token"] == f"token {number}"
            server.expect(f"subscribe {number}")
            server.expect(b"\x01\x02")
            server.send(str(number))
            if number < 3:
                server.hang_up()

        return script

    with (
        ScriptedServer(*map(connection, (1, 2, 3))) as server,
        SupervisorProcess(tmp_path, dedent(FEED.format(url=server.url)), shared_valkey.url) as supervisor,
    ):
        wait_until(lambda: client.llen("dramatiq:trades") == 3, 60, "a message of every connection")
        assert supervisor.stop() == 0
    assert [message["args"] for message in messages_in(client)] == [[f"hellohello {number}"] for number in (1, 2, 3)]
    assert supervisor.told(r"retry_scheduled feed=venue:trades attempt=\d delay=0\.01\b") == 2
    assert supervisor.told(r"connection_ready feed=venue:trades ") == 3


def test_frames_that_cannot_be_made_fail_the_attempt_which_is_tried_again() -> None:
    answers = iter([ConnectionError("no symbols yet")])

    def subscribe() -> list[str]:
        for error in answers:
            raise error
        return ["late"]

    def script(client: ScriptedConnection) -> None:
        client.expect("late")
        client.send("welcome")

    with (
        ScriptedServer(lambda client: client.wait_for_close() and None, script) as server,
        RunningFeed(server.url, subscribe_function=subscribe) as feed,
    ):
        feed.wait_for(lambda: feed.payloads, "the second attempt")
    (failed,) = feed.of(ConnectionFailed)
    assert isinstance(failed.reason, BootstrapFailed)
    assert "no symbols yet" in str(failed.reason)
    assert len(feed.of(ConnectionReady)) == 1


def test_a_sessions_own_heartbeat_is_sent_every_interval_in_place_of_a_text() -> None:
    class Beating(Session):
        beats = 0

        def heartbeat(self) -> list[str | bytes]:
            self.beats += 1
            return [f"beat {self.beats}", b"\x00"]

        def on_frame(self, payload: str | bytes) -> Emit | Skip:
            return Skip() if payload == "pong" else Emit(payload)

    def script(client: ScriptedConnection) -> None:
        for number in (1, 2, 3):
            client.expect(f"beat {number}")
            client.expect(b"\x00")
            client.send("pong")
        client.send("seen")

    with ScriptedServer(script) as server, RunningFeed(server.url, Beating, heartbeat={"interval": 0.05, "text": "no"}) as feed:
        feed.wait_for(lambda: feed.payloads == ["seen"], "three heartbeats")


def test_any_frame_answers_idle_timeout_and_with_ping_interval_0_we_send_no_ping() -> None:
    def script(client: ScriptedConnection) -> None:
        for number in range(8):
            client.ping(b"%d" % number)
            client.expect_pong(b"%d" % number)
            feed.ahead += 20
        client.send("still here")

    idle = {"idle_timeout": 60.0, "ping_interval": 0}
    with ScriptedServer(script, lambda client: client.accept()) as server:
        feed = RunningFeed(server.url, **idle)
        with feed:
            feed.wait_for(lambda: feed.payloads, "the frame after more than a minute of pings alone")
            assert len(server.recordings) == 1
            feed.pass_time(61)
            server.wait_for_connections(2)
    assert feed.of(ConnectionLost)[0].reason == IdleTimedOut(60.0)
    assert {frame.kind for frame in server.recordings[0].frames} <= {"pong", "close"}
