"""``python -m ingest web`` as a process over a real Valkey and a supervisor: what it shows, who may, what it withstands."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import SecretStr

from ingest.broker.control import Control
from ingest.broker.dead_letters import Filter
from ingest.broker.keys import Keys
from ingest.broker.status import publish_status
from ingest.web.access import MOST_FAILURES
from ingest.web.backend import Backend, Found
from settings.model import BrokerSettings
from tests.support.command_line import run_command
from tests.support.dead_letters import bury, dead_message, waiting
from tests.support.fault_feeds import PATIENT, feeds_toml
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.redis_server import Valkey, running_valkey
from tests.support.supervisor import SupervisorProcess
from tests.support.waiting import wait_until
from tests.support.web import TOKEN, Visitor, WebProcess, text_of, visiting

FEED = {"state": "READY", "lease": "leads", "queue": "trades", "frames": 1, "since": 0}
QUEUES = {"trades": {"depth": 0, "dead": 0, "high_watermark": 100}}


def tell(valkey: Valkey, **feeds: dict[str, object]) -> None:
    """Write a supervisor's last word, which stays for two minutes."""
    told = {"group": "", "queues": QUEUES, "feeds": {"trades": FEED, **feeds}}
    publish_status(valkey.client(), "dramatiq", "supervisor", "host:1:x", told, final=True)


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Valkey, WebProcess]]:
    """A page for this machine, with a token, over a Redis of its own, for all tests of a process that leave it running."""
    with running_valkey() as valkey, WebProcess(tmp_path_factory.mktemp("page"), valkey.url, WEB_TOKEN=TOKEN) as web:
        yield valkey, web


@pytest.fixture
def redis_of_page(_server: tuple[Valkey, WebProcess]) -> Iterator[Valkey]:
    valkey, _ = _server
    valkey.client().flushall()
    tell(valkey)
    yield valkey
    valkey.close_clients()


@pytest.fixture
def page(_server: tuple[Valkey, WebProcess], redis_of_page: Valkey) -> WebProcess:
    """The shared page; it has seen the feed of `tell`."""
    _, web = _server
    wait_for(web, "trades")
    return web


@pytest.fixture
def own_page(tmp_path: Path, shared_valkey: Valkey) -> Iterator[WebProcess]:
    """A page of the test's own, to be ended."""
    tell(shared_valkey)
    with WebProcess(tmp_path, shared_valkey.url, WEB_TOKEN=TOKEN) as web:
        yield web


def wait_for(web: WebProcess, text: str, path: str = "/", timeout: float = 60.0) -> str:
    """Wait until a page says this; return all that it says."""
    headers = {"Authorization": f"Bearer {TOKEN}"}

    def said() -> str:
        told = text_of(httpx.get(web.url + path, headers=headers, trust_env=False).text)
        return told if text in told else ""

    return wait_until(said, timeout, f"{text!r} on the page", interval=0.1)


def told_of(web: WebProcess) -> tuple[bool, str]:
    """Return whether all is well, and the state of the only feed."""
    told = httpx.get(f"{web.url}/api/overview", trust_env=False).json()
    return told["ok"], told["feeds"][0]["state"]


def test_a_real_feed_is_shown_paused_and_resumed(tmp_path: Path, shared_valkey: Valkey) -> None:
    client = shared_valkey.client()
    with numbered_server(NumberedStream(50)) as server, WebProcess(tmp_path, shared_valkey.url, WEB_TOKEN=TOKEN) as web:
        with SupervisorProcess(tmp_path, feeds_toml(server.url, extra=PATIENT), shared_valkey.url) as supervisor:
            wait_for(web, "all well: 1 feed, 1 supervisor, 0 worker processes")
            assert "READY" in wait_for(web, f":{supervisor.pid}", "/feed?group=&name=trades")
            with visiting(web.url, logged_in=True) as visitor:
                paused = visitor.act("/feed/pause", group="", name="trades")
                assert "trades paused: what was read is delivered" in text_of(paused.text)
                assert "trades was paused before" in text_of(visitor.act("/feed/pause", group="", name="trades").text)
                assert Control(client, Keys("dramatiq"), "").paused()["trades"].by == "the web page"
                wait_for(web, "PAUSED")
                visitor.act("/feed/resume", group="", name="trades")
                assert Control(client, Keys("dramatiq"), "").paused() == {}
                wait_for(web, "all well: 1 feed")
                assert "trades was not paused" in text_of(visitor.act("/feed/resume", group="", name="trades").text)
            wait_until(lambda: told_of(web) == (True, "READY"), 60, "the feed to be ready again")
        assert web.stop() == 0
    assert len(re.findall(r"WARNING +web_acted act=pause feed=trades", web.log)) == 2


def test_dead_letters_are_picked_shown_retried_and_deleted(page: WebProcess, redis_of_page: Valkey) -> None:
    client = redis_of_page.client()
    errors = ("ValueError: no", "TimeoutError: late", "ValueError: <b>at redis://u:swordfish@h</b>", "KeyError: 1")
    bury(client, [(time.time() - 10 + n, dead_message(n, error=error)) for n, error in enumerate(errors)])
    with visiting(page.url, logged_in=True) as visitor:
        picked = visitor.client.get("/dead-letters?exception=valueerror&queue=trades").text
        assert re.findall(r'name="letter" value="(\S+)"', picked) == ["trades/dead-000000", "trades/dead-000002"]
        assert "<b>" not in picked
        assert "swordfish" not in picked

        letter = text_of(visitor.client.get("/dead-letter?queue=trades&id=dead-000002").text)
        assert "payload 2" in letter
        assert 'File "/app/actors.py", line 7, in handle' in letter
        assert "swordfish" not in letter

        retried = visitor.act(
            "/dead-letters/retry", letter=["trades/dead-000000", "trades/dead-000002", "trades/none"], queue="trades"
        )
        assert "2 dead letters put back into their queues; 1 were none any more" in text_of(retried.text)
        assert 'name="queue" value="trades"' in retried.text  # what was picked by stays
        assert [message["args"] for message in waiting(client)] == [["payload 0"], ["payload 2"]]

        asked = visitor.act("/dead-letters/delete", letter=["trades/dead-000001"])
        assert "Delete 1 dead letter?" in asked.text
        assert client.zcard("dramatiq:trades.XQ") == 2
        deleted = visitor.act("/dead-letters/delete", letter=["trades/dead-000001"], sure="yes")
        assert "1 dead letter deleted" in text_of(deleted.text)
        assert client.zrange("dramatiq:trades.XQ", 0, -1) == [b"dead-000003"]
        assert "No dead letter was chosen." in visitor.act("/dead-letters/retry").text
        assert visitor.client.get("/dead-letter?queue=trades&id=dead-000001").status_code == 404


def test_of_many_a_hundred_are_shown_and_no_more_are_looked_through_than_time_allows(
    page: WebProcess, redis_of_page: Valkey
) -> None:
    bury(redis_of_page.client(), ((1_790_000_000 + n, dead_message(n)) for n in range(5000)))
    with visiting(page.url) as visitor:
        shown = visitor.client.get("/dead-letters").text
        assert (shown.count("/dead-letter?"), "there are more" in shown) == (100, True)
        # What is asked for is an id in Redis; all need not be read for it.
        assert visitor.client.get("/dead-letter?queue=trades&id=message-4999").status_code == 404
    broker = BrokerSettings(url=SecretStr(redis_of_page.url))
    found = Backend(broker, patience=0).letters(Filter(exception="none of these"), 100)
    assert (list(found.letters), found.looked_at) == ([], 1)
    assert Backend(broker, patience=120).letters(Filter(exception="none of these"), 100) == Found([])
    some = Backend(broker).letters(Filter(queue="trades"), 3)
    assert [(letter.id, letter.content) for letter in some.letters] == [(f"dead-00000{n}", None) for n in range(3)]


def acting() -> list[tuple[str, dict[str, str]]]:
    return [
        ("/feed/pause", {"group": "", "name": "trades"}),
        ("/feed/resume", {"group": "", "name": "trades"}),
        ("/dead-letters/retry", {"letter": "trades/dead-000001"}),
        ("/dead-letters/delete", {"letter": "trades/dead-000001", "sure": "yes"}),
        ("/logout", {}),
    ]


def test_nobody_acts_without_a_session_its_csrf_token_and_our_own_page(page: WebProcess, redis_of_page: Valkey) -> None:
    client = redis_of_page.client()
    bury(client, [(time.time(), dead_message(1))])
    Control(client, Keys("dramatiq"), "").pause("trades", "ann")
    before = client.hgetall("dramatiq:__paused__.")
    with (
        visiting(page.url, logged_in=True) as visitor,
        visiting(page.url) as stranger,
        visiting(page.url, logged_in=True) as other,
    ):
        csrf = visitor.csrf()
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        for path, fields in acting():
            data = {**fields, "csrf": csrf}
            refused = [
                stranger.client.post(path, data=data, headers=stranger.own),
                stranger.client.post(path, data=data, headers={**stranger.own, **bearer}),  # the token alone only reads
                visitor.client.post(path, data={**fields, "csrf": ""}, headers=visitor.own),
                visitor.client.post(path, data={**fields, "csrf": other.csrf()}, headers=visitor.own),
                visitor.client.post(path, data=data),  # neither Origin nor Sec-Fetch-Site
                visitor.client.post(path, data=data, headers={"Origin": "http://evil.example.com"}),
                visitor.client.post(path, data=data, headers={"Origin": page.url, "Sec-Fetch-Site": "cross-site"}),
                visitor.client.post(path, data=data, headers={"Origin": "null", "Sec-Fetch-Site": "same-origin"}),
            ]
            assert [answer.status_code for answer in refused] == [403] * len(refused), path
            assert visitor.client.get(path, params=data).status_code == 405
            assert visitor.client.post(path, json=data, headers=visitor.own).status_code == 415
            assert visitor.client.post(path, files={"csrf": csrf}, headers=visitor.own).status_code == 415
        assert client.hgetall("dramatiq:__paused__.") == before
        assert client.zcard("dramatiq:trades.XQ") == 1
        assert visitor.act("/feed/resume", group="", name="trades").status_code == 200  # the session is still one


def test_logging_out_ends_the_session_for_every_copy_of_its_cookie(page: WebProcess) -> None:
    with visiting(page.url, logged_in=True) as visitor, visiting(page.url) as thief:
        [cookie] = visitor.client.cookies.jar
        assert (cookie.has_nonstandard_attr("HttpOnly"), cookie.get_nonstandard_attr("SameSite")) == (True, "lax")
        thief.client.cookies.update(visitor.client.cookies)
        csrf = thief.csrf()
        visitor.act("/logout")
        answer = thief.client.post("/feed/pause", data={"csrf": csrf, "group": "", "name": "trades"}, headers=thief.own)
        assert (answer.status_code, "Log in first" in answer.text) == (403, True)


def test_a_notice_says_only_what_we_said(page: WebProcess) -> None:
    with visiting(page.url, logged_in=True) as visitor:
        ours = visitor.act("/feed/pause", group="", name="trades")
        assert "trades paused" in text_of(ours.text)
        seal = ours.url.params["seal"]
        for seal_given in ("", seal, "é"):
            forged = visitor.client.get("/", params={"done": "send your token to evil.example.com", "seal": seal_given})
            assert "evil.example.com" not in forged.text
    with visiting(page.url) as stranger:
        assert "trades paused" not in text_of(stranger.client.get(str(ours.url)).text)


def test_names_that_lead_here_are_refused_and_nobody_comes_through_a_proxy_unasked(page: WebProcess) -> None:
    with visiting(page.url) as visitor:
        get = visitor.client.get
        assert get("/", headers={"Host": "evil.example.com"}).status_code == 421
        assert get("/api/overview", headers={"Host": "evil.example.com:80"}).status_code == 421
        assert get("/api/overview", headers={"X-Forwarded-For": "198.51.100.7"}).status_code == 401
        assert get("/", headers={"X-Forwarded-For": "198.51.100.7"}).headers["location"] == "/login"
        assert get("/", headers={"Host": f"localhost:{urlsplit(page.url).port}"}).status_code == 200


def test_bad_requests_are_answers_and_nothing_in_the_log(page: WebProcess) -> None:
    with visiting(page.url, logged_in=True) as visitor:
        csrf, post = visitor.csrf(), visitor.client.post
        form = {"Content-Type": "application/x-www-form-urlencoded", **visitor.own}
        assert post("/dead-letters/retry", content=b"x" * 70_000, headers=form).status_code == 413
        assert post("/dead-letters/retry", content=iter([b"csrf=1"]), headers=form).status_code == 413  # of unknown length
        assert post("/dead-letters/retry", content=b"a=1&" * 300, headers=form).status_code == 400
        assert visitor.act("/feed/pause", group="", name="nonsense").status_code == 404
        assert post("/feed/pause", data={"csrf": csrf, "letter": "\x00/\x00"}, headers=visitor.own).status_code == 404
        assert visitor.act("/dead-letters/retry", letter=["no/such", "/", "x", "a/b/c/\u0000\ud7ff"]).status_code == 200
        for path in ("/nonsense", "/static/../serve.py", "/static/%2e%2e/serve.py", "/static/", "/static/none.css"):
            assert visitor.client.get(path).status_code == 404
        assert visitor.client.get("/feed", params={"name": "x" * 10_000}).status_code == 404
    assert "Traceback" not in page.log
    assert "ERROR" not in page.log


def test_a_head_is_the_answer_without_its_content(page: WebProcess) -> None:
    with visiting(page.url) as visitor:
        for path in ("/", "/feed?group=&name=trades", "/dead-letters", "/login", "/events", "/api/overview", "/static/page.css"):
            answer = visitor.client.head(path)
            assert (answer.status_code, answer.content) == (200, b""), path
            assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_guesses_at_the_token_have_an_end(own_page: WebProcess) -> None:
    with visiting(own_page.url) as visitor:
        guesses = [visitor.client.post("/login", data={"token": f"guess {n}"}, headers=visitor.own) for n in range(MOST_FAILURES)]
        assert {answer.status_code for answer in guesses} == {403}
        answer = visitor.client.post("/login", data={"token": TOKEN}, headers=visitor.own)
        assert (answer.status_code, "wait a minute" in answer.text) == (429, True)
        forged = {"X-Forwarded-For": "203.0.113.9"}
        assert visitor.client.post("/login", data={"token": TOKEN}).status_code == 403  # from no page of ours
        assert visitor.client.post("/login", data={"token": TOKEN}, headers={**visitor.own, **forged}).status_code == 303
    assert "web_login_refused address=127.0.0.1" in own_page.log
    assert TOKEN not in own_page.log


def test_beyond_this_machine_reading_needs_the_token_too(tmp_path: Path, shared_valkey: Valkey) -> None:
    tell(shared_valkey)
    with WebProcess(tmp_path, shared_valkey.url, "--host", "0.0.0.0", WEB_TOKEN=TOKEN) as web, visiting(web.url) as visitor:
        get = visitor.client.get
        wait_for(web, "trades")
        for path in ("/", "/feed?group=&name=trades", "/dead-letters", "/dead-letter?queue=q&id=1", "/nonsense"):
            assert (get(path).status_code, get(path).headers["location"]) == (303, "/login")
        assert [get(path).status_code for path in ("/events", "/api/overview")] == [401, 401]
        assert shared_valkey.url not in get("/login").text
        assert get("/api/overview", headers={"Authorization": f"Bearer {TOKEN}"}).json()["feeds"][0]["name"] == "trades"
        assert get("/", headers={"Host": "page.example.com"}).status_code == 303  # any name: the token guards it
        visitor.log_in()
        assert "trades" in get("/").text


def test_streams_end_with_the_server_and_a_client_that_does_not_read_harms_nobody(
    own_page: WebProcess, shared_valkey: Valkey
) -> None:
    port = urlsplit(own_page.url).port
    assert port is not None
    with socket.create_connection(("127.0.0.1", port)) as slow, visiting(own_page.url) as visitor:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        with visitor.client.stream("GET", "/events") as stream:
            lines = stream.iter_lines()
            data = next(line for line in lines if line.startswith("data: "))
            assert "STOPPED" in json.loads(data.removeprefix("data: "))["feeds"] or "READY" in data
            tell(shared_valkey, book=FEED)
            next(line for line in lines if "name=book" in line)
            assert own_page.stop() == 0  # within its time-out, though nobody has closed a stream
            list(lines)  # ended in order: no error
    assert "Traceback" not in own_page.log


def test_ctrl_c_ends_it_too(own_page: WebProcess) -> None:
    assert own_page.stop(number=signal.SIGINT) == 0
    assert own_page.log.rstrip().endswith("web_stopped")


def test_it_starts_without_redis_says_so_and_recovers(tmp_path: Path, valkey: Valkey) -> None:
    valkey.kill()
    with WebProcess(tmp_path, valkey.url, WEB_TOKEN=TOKEN) as web, visiting(web.url, logged_in=True) as visitor:
        wait_for(web, "Redis does not answer: Redis is unreachable")
        answer = visitor.client.get("/api/overview")
        assert (answer.status_code, answer.json()["ok"]) == (503, False)
        assert "Redis does not do it" in text_of(visitor.client.get("/dead-letters").text)
        valkey.start()
        tell(valkey)
        wait_for(web, "trades")
        valkey.kill()
        wait_for(web, "no news for")
        failed = visitor.act("/feed/pause", group="", name="trades")
        assert (failed.status_code, "Redis does not do it" in failed.text) == (503, True)
        assert "Redis does not tell." in visitor.client.get("/feed?group=&name=trades").text
        assert web.stop() == 0
    assert web.log.count("web_redis_silent") == 2
    assert web.log.count("web_redis_answers") == 1


def test_a_stalled_redis_holds_up_neither_the_page_nor_its_end(tmp_path: Path, valkey: Valkey) -> None:
    tell(valkey)
    with WebProcess(tmp_path, valkey.url) as web, visiting(web.url) as visitor:
        wait_for(web, "trades")
        with valkey.stalled():
            wait_for(web, "Redis does not answer")
            # Whoever waited for Redis would wait for two seconds each time; what a busy machine adds it does not add each time.
            assert min(seconds_for(visitor) for _ in range(5)) < 1
            assert web.stop() == 0


def seconds_for(visitor: Visitor) -> float:
    """Return how long the page took."""
    before = time.monotonic()
    assert visitor.client.get("/").status_code == 200
    return time.monotonic() - before


def test_a_port_that_is_taken_is_a_sentence(tmp_path: Path, shared_valkey: Valkey) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_command(tmp_path, "web", REDIS_URL=shared_valkey.url, PORT=str(port))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"web: 127.0.0.1 port {port}: another process listens there; end it, or give another --port\n"
