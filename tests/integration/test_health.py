"""Health as orchestrators ask for it, of the real supervisor process; and clients that mean no good."""

import contextlib
import json
import socket
import threading
import time

import pytest

from ingest.service.http import LONGEST_REQUEST, PLACES, AddressUnusable, HTTPServer
from ingest.testing import ScriptedServer
from tests.support.command_line import run_command
from tests.support.scrapes import get
from tests.support.supervisor import SupervisorProcess
from tests.support.waiting import wait_until


def feeds(url, *, port=0, name="trades"):
    health = f"[supervisor]\nhealth_port = {port}\n"
    return f'{health}[feeds.{name}]\nurl = "{url}"\nactor = "handle"\nqueue = "trades"\nretry = {{ initial = 0.05, max = 0.1 }}\n'


def url_of(supervisor):
    supervisor.wait_for_log("health_listening")
    return next(line.partition("url=")[2].strip() for line in supervisor.log.splitlines() if "health_listening" in line)


def ready(url):
    answer = get(f"{url}/ready")
    return answer.status, answer.json


def until_ready(url, what):
    """Wait for readiness; return what it said of itself."""
    status, body = wait_until(lambda: (found := ready(url))[0] == 200 and found, 60, what)
    assert status == 200
    return body


def test_ready_follows_feeds_and_redis_with_the_reason_and_live_does_not(tmp_path, valkey):
    with ScriptedServer(lambda client: client.send("x")) as server:  # noqa: SIM117
        with SupervisorProcess(tmp_path, feeds(server.url), valkey.url) as supervisor:
            url = url_of(supervisor)
            body = until_ready(url, "readiness")
            assert (body["ok"], body["redis"]) == (True, {"ok": True})
            feed = body["feeds"]["trades"]
            assert (feed["ok"], feed["state"], feed["lease"]) == (True, "READY", "leads")

            valkey.stop()
            # The lease may be over before: that is another reason for the same status.
            lost = {"ok": False, "reason": "Redis does not answer"}
            status, _ = wait_until(lambda: (found := ready(url))[1]["redis"] == lost and found, 30, "the loss of Redis")
            assert status == 503
            live = get(f"{url}/live")
            assert (live.status, live.json["loops"]["feeds.trades"]) == (200, "turns")
            valkey.start()
            until_ready(url, "readiness again")
            supervisor.stop()


def test_a_feed_that_cannot_connect_says_why_and_one_that_stands_by_is_well(tmp_path, shared_valkey):
    with ScriptedServer(lambda client: client.refuse(503)) as closed, ScriptedServer(lambda client: client.send("x")) as open_:
        (tmp_path / "one").mkdir()
        (tmp_path / "two").mkdir()
        with SupervisorProcess(tmp_path / "one", feeds(closed.url), shared_valkey.url) as supervisor:
            url = url_of(supervisor)
            status, body = wait_until(lambda: "status 503" in str((found := ready(url))[1]) and found, 30, "the reason")
            assert (status, body["feeds"]["trades"]["ok"]) == (503, False)
            assert supervisor.stop() == 0
        first = SupervisorProcess(tmp_path / "one", feeds(open_.url), shared_valkey.url)
        with first, SupervisorProcess(tmp_path / "two", feeds(open_.url), shared_valkey.url) as second:
            both = [url_of(first), url_of(second)]
            bodies = [until_ready(url, "both to be ready") for url in both]
            assert {body["feeds"]["trades"]["state"] for body in bodies} == {"READY", "STANDBY"}
            first.stop()
            second.stop()


def test_a_loop_that_does_not_turn_is_no_life(tmp_path, shared_valkey, monkeypatch):
    """The session never comes back from a frame: nothing but a restart frees that feed."""
    (tmp_path / "hanging.py").write_text(
        "import time\nfrom ingest import Session\nfrom ingest.service import runner\n\nrunner.READING_SILENT = 0.5\n\n\n"
        "class Hanging(Session):\n    def on_frame(self, payload):\n        time.sleep(3600)\n"
    )
    with ScriptedServer(lambda client: client.send("x")) as server:
        text = feeds(server.url) + 'session = "hanging:Hanging"\nopen_timeout = 1\n'
        with SupervisorProcess(tmp_path, text, shared_valkey.url) as supervisor:
            url = url_of(supervisor)

            def hangs():
                answer = get(f"{url}/live")
                loops = answer.json["loops"]
                return "in on_frame" in loops["feeds.trades"] and loops["main"] == "turns" and answer

            answer = wait_until(hangs, 60, "the end of its life, and of nothing else")
            assert (answer.status, answer.json["ok"]) == (503, False)
            assert answer.json["loops"]["feeds.trades"].startswith("the reading thread has not turned for")
            assert answer.json["loops"]["feeds.trades"].endswith("in on_frame")
            wait_until(lambda: ready(url)[1]["feeds"]["trades"]["state"] == "SLOW_CALLBACK", 20, "the state")


def test_the_command_asks_the_supervisor_and_says_what_it_said(tmp_path, shared_valkey):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # nobody listens, and nobody else can
        nobody = run_command(tmp_path, "health", HEALTH_PORT=str(probe.getsockname()[1]))
    assert (nobody.returncode, "no answer from http://127.0.0.1" in nobody.stderr) == (1, True)
    with ScriptedServer(lambda client: client.send("x")) as server:  # noqa: SIM117
        with SupervisorProcess(tmp_path, feeds(server.url), shared_valkey.url) as supervisor:
            url = url_of(supervisor)
            until_ready(url, "readiness")
            port = int(url.rpartition(":")[2])
            (tmp_path / "feeds.toml").write_text(feeds(server.url, port=port))  # now that it is known which was free
            well = run_command(tmp_path, "health", REDIS_URL=shared_valkey.url)
            assert (well.returncode, json.loads(well.stdout)["ok"]) == (0, True)
            alive = run_command(tmp_path, "health", "--live", REDIS_URL=shared_valkey.url)
            assert (alive.returncode, json.loads(alive.stdout)["loops"]["main"]) == (0, "turns")
            in_use = run_command(tmp_path, "run", REDIS_URL=shared_valkey.url)
            assert in_use.returncode == 2
            assert f"supervisor.health_port: port {port} on 127.0.0.1 is in use" in in_use.stderr
            assert "Traceback" not in in_use.stderr
            supervisor.stop()
    unset = run_command(tmp_path, "health")
    assert unset.returncode == 1  # the file names the port


def test_without_a_port_there_is_nothing_to_ask(tmp_path):
    (tmp_path / "feeds.toml").write_text('[feeds.trades]\nurl = "ws://127.0.0.1/"\nactor = "x"\n')
    done = run_command(tmp_path, "health")
    assert done.returncode == 2
    assert "HEALTH_PORT: names no port to ask" in done.stderr


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [("192.0.2.1", 0, "192.0.2.1 is no address of this machine"), ("no such host.invalid", 0, "is no address, and no name")],
)
def test_an_address_that_cannot_be_used_is_told_in_words(host, port, reason):
    with pytest.raises(AddressUnusable) as caught:
        HTTPServer(host, port)
    assert reason in str(caught.value)


@pytest.fixture
def server():
    listening = HTTPServer("127.0.0.1", 0)
    listening.start({"/live": lambda accept: (200, "text/plain", b"yes"), "/broken": lambda accept: 1 / 0})
    yield listening
    listening.close()


class TestRudeClients:
    def test_paths_and_methods_that_there_are_not(self, server):
        assert get(f"{server.url}/").status == 404
        assert "/live" in get(f"{server.url}/../etc/passwd").json["reason"]
        assert get(f"{server.url}/live", method="POST").status == 501
        assert get(f"{server.url}/live?x=1") == (200, "text/plain", "yes")
        assert get(f"{server.url}/live", method="HEAD") == (200, "text/plain", "")

    def test_a_fault_of_ours_is_an_answer_and_not_the_end(self, server, caplog):
        for _ in range(2):
            answer = get(f"{server.url}/broken")
            assert (answer.status, answer.json["reason"]) == (500, "the answer could not be made: ZeroDivisionError")
        assert [record.message for record in caplog.records] == ["health_failed"]
        assert get(f"{server.url}/live").status == 200

    def test_who_dribbles_and_who_says_nothing_loses_the_place_in_time(self, server, monkeypatch):
        monkeypatch.setattr("ingest.service.http.PATIENCE", 60.0)
        idle = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(PLACES)]
        try:
            with pytest.raises(OSError):  # noqa: PT011 - how it ends for the client depends on the moment
                get(f"{server.url}/live")  # every place is taken: turned away at once
        finally:
            for each in idle:
                each.close()
        wait_until(lambda: _answers(server), 30, "a free place")

        monkeypatch.setattr("ingest.service.http.PATIENCE", 2.0)
        idle = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(PLACES)]
        try:
            idle[0].sendall(b"GET /live HTTP/1.1\r\nX: ")
            stop = threading.Event()

            def dribble():
                while not stop.wait(0.05):
                    try:
                        idle[0].sendall(b"y")
                    except OSError:
                        return

            thread = threading.Thread(target=dribble)
            thread.start()
            with contextlib.suppress(ConnectionResetError):  # where it came to dribble after the end
                assert idle[0].recv(100) == b""
            stop.set()
            thread.join()
            wait_until(lambda: _answers(server), 30, "a free place")
        finally:
            for each in idle:
                each.close()

    def test_a_request_without_end_is_cut(self, server):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            began = time.monotonic()
            sent = 0
            try:
                client.sendall(b"GET /live HTTP/1.1\r\n")
                while sent < 100 * LONGEST_REQUEST:
                    client.sendall(b"X-Header: " + b"y" * 1000 + b"\r\n")
                    sent += 1000
                    if time.monotonic() - began > 10:
                        break
            except OSError:
                pass
            assert sent < 100 * LONGEST_REQUEST or client.recv(100) != b"HTTP/1.0 200"
        assert get(f"{server.url}/live").status == 200

    def test_garbage_is_refused(self, server):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
            client.shutdown(socket.SHUT_WR)
            assert b"400" in client.recv(1000)
        assert get(f"{server.url}/live").status == 200


def _answers(server):
    try:
        return get(f"{server.url}/live").status == 200
    except OSError:
        return False
