"""The supervisor's failures as Sentry sees them: a real SDK in a process of its own, a local envelope endpoint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ingest.version import project_version
from tests.support.sentry_server import SentryServer

ROOT = Path(__file__).parents[2]

PROLOGUE = """
import logging, sys
from ingest.errors import *
from ingest.events import *
from ingest.telemetry.bus import Bus
from ingest.telemetry.log import LogSink, configure_logging
from ingest.telemetry.sentry import SentrySink, init_sentry

SECRET = "hun" + "ter"  # not in one piece: lines of source around a failure are sent, and that is meant

def price_of(frame):
    api_key = f"{SECRET}-local"
    raise KeyError(f"price of https://example.com/?token={SECRET}-url")

def failure():
    try:
        price_of(f"{SECRET}-frame")
    except KeyError as error:
        return error

init_sentry(sys.argv[1], "supervisor", "test@1.0")
configure_logging("INFO")
bus = Bus([LogSink(), SentrySink()])
url = f"wss://bob:{SECRET}-password@example.com/stream?token={SECRET}-query"
"""

EPILOGUE = """
assert bus.close(10)
"""


def publish(server: SentryServer, body: str) -> None:
    program = [sys.executable, "-c", PROLOGUE + body + EPILOGUE, server.dsn]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_handler_s_failure_is_one_issue_however_often_it_happens(sentry_server: SentryServer) -> None:
    publish(
        sentry_server,
        """
for _ in range(40):
    bus.publish(HandlerFailed(telemetry_id="trades", where="on_frame", cause=failure()))
bus.publish(HandlerFailed(telemetry_id="books", where="on_frame", cause=failure()))
""",
    )

    assert [event["fingerprint"] for event in sentry_server.events] == [
        ["handler_failed", "trades", "on_frame", "KeyError"],
        ["handler_failed", "books", "on_frame", "KeyError"],
    ]
    event = sentry_server.events[0]
    assert event["exception"]["values"][-1]["type"] == "KeyError"
    assert [frame["function"] for frame in event["exception"]["values"][-1]["stacktrace"]["frames"]] == ["failure", "price_of"]
    assert (event["tags"], event["release"]) == ({"process": "supervisor", "feed": "trades"}, "test@1.0")


def test_an_issue_carries_its_own_feed_s_history_as_breadcrumbs(sentry_server: SentryServer) -> None:
    publish(
        sentry_server,
        """
bus.publish(ConnectionReady(telemetry_id="trades", url=url))
bus.publish(ConnectionReady(telemetry_id="books", url=url))
bus.publish(ConnectionLost(telemetry_id="trades", reason=ClosedByServer(1012, "restart"), lasted=3.0))
bus.publish(RetryScheduled(telemetry_id="trades", attempt=1, delay=0.5))
bus.publish(FeedGaveUp(telemetry_id="trades", reason=HandshakeRejected(401, {"x-token": f"{SECRET}-header"})))
""",
    )

    [event] = sentry_server.events
    assert event["fingerprint"] == ["feed_gave_up", "trades", "HandshakeRejected"]
    assert event["exception"]["values"][-1]["value"] == "the server answered the upgrade with status 401"
    crumbs = [(crumb["message"], crumb["data"]["feed"]) for crumb in event["breadcrumbs"]["values"]]
    assert crumbs == [("connection_ready", "trades"), ("connection_lost", "trades"), ("retry_scheduled", "trades")]
    assert event["breadcrumbs"]["values"][1]["data"]["detail"] == "closed by the server with 1012 (restart)"


@pytest.mark.parametrize(
    ("happened", "fingerprint"),
    [
        (
            'FeedRestarted(telemetry_id="trades", cause=failure(), delay=1.0)',
            ["feed_restarted", "trades", "KeyError"],
        ),
        (
            'MessageRejected(telemetry_id="trades", seq=7, detail="ERR no")',
            ["message_rejected", "trades"],
        ),
    ],
)
def test_what_needs_a_person_is_an_issue(sentry_server: SentryServer, happened: str, fingerprint: list[str]) -> None:
    publish(sentry_server, f"bus.publish({happened})")

    assert [event["fingerprint"] for event in sentry_server.events] == [fingerprint]


def test_what_heals_by_itself_is_none(sentry_server: SentryServer) -> None:
    publish(
        sentry_server,
        """
bus.publish(ConnectionLost(telemetry_id="trades", reason=ClosedByServer(1001), lasted=3.0))
bus.publish(BrokerUnavailable(telemetry_id="trades", detail="refused"))
""",
    )

    assert sentry_server.events == []


def test_no_secret_leaves_the_process(sentry_server: SentryServer) -> None:
    publish(
        sentry_server,
        """
bus.publish(ConnectionReady(telemetry_id="trades", url=url))
rejected = HandshakeRejected(500, {"x-token": f"{SECRET}-header"}, SECRET.encode())
bus.publish(ConnectionFailed(telemetry_id="trades", reason=rejected))
bus.publish(HandlerFailed(telemetry_id="trades", where="on_frame", cause=failure()))
""",
    )

    assert len(sentry_server.events) == 1
    assert "hunter" not in sentry_server.raw


@pytest.mark.parametrize("send_frames", [False, True])
def test_a_frame_goes_along_masked_and_cut_only_where_that_is_allowed(sentry_server: SentryServer, send_frames: bool) -> None:
    publish(
        sentry_server,
        f"""
bus = Bus([SentrySink(send_frames={send_frames})])
for frame in (b"\\xff binary", f"text ?token={{SECRET}}-in-frame " + "x" * 9000):
    bus.publish(HandlerFailed(telemetry_id=f"trades-{{type(frame).__name__}}", where="on_frame", cause=failure(), frame=frame))
""",
    )

    frames = [event["contexts"].get("frame") for event in sentry_server.events]
    if send_frames:
        assert frames[0] == {"payload": "\ufffd binary"}
        assert frames[1]["payload"].startswith("text ?token=*** xxx")
        assert len(frames[1]["payload"]) == 2001
    else:
        assert frames == [None, None]
        assert "binary" not in sentry_server.raw
    assert "hunter" not in sentry_server.raw


def test_without_a_release_of_the_application_s_it_is_ours(sentry_server: SentryServer, tmp_path: Path) -> None:
    program = [sys.executable, "-c", PROLOGUE.replace(', "test@1.0"', "") + "bus.publish(HandlerFailed("
               'telemetry_id="trades", where="on_frame", cause=failure()))' + EPILOGUE, sentry_server.dsn]  # fmt: skip
    environ = {"PATH": "/nonexistent", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(program, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr

    [event] = sentry_server.events
    assert event["release"] == f"dramatiq-websocket@{project_version()}"
