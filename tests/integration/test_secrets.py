"""Secrets of every kind, thrown at every way out of a running supervisor: none may be read anywhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import dedent

import pytest
import redis

from ingest.broker.history import FeedHistory, read_history
from ingest.broker.keys import Keys
from ingest.broker.status import read_statuses
from ingest.testing import ScriptedServer
from tests.support.redis_server import Valkey
from tests.support.scrapes import get
from tests.support.sentry_server import SentryServer
from tests.support.supervisor import SupervisorProcess
from tests.support.waiting import wait_until

#: Every secret has this in it, and nothing else has.
SIGN = "hunter2"

ENVIRON = {
    "TOKEN": f"{SIGN}-environment",
    "HEADER": f"{SIGN}-header-from-environment",
    "SUBSCRIBE": f'{SIGN} "quoted" subscription',
}

FEEDS = """
    [broker]
    url = "unix://bob:hunter2-redis@{redis}"

    [supervisor]
    health_port = 0

    [telemetry]
    subscribers = ["code:subscriber"]

    [feeds.quiet]
    url = "{url}"
    actor = "handle"
    subscribe = ["${{SUBSCRIBE}}"]
    headers_function = "code:fresh_headers"
    retry = {{ initial = 0.2, max = 0.2 }}
"""

#: One feed for each secret, so that each is told at once in the log and is an issue of its own.
FEED = """
    [feeds.leaking-{number}]
    url = "{url}?token=hunter2-query&env=${{TOKEN}}"
    actor = "handle"
    session = "code:Leaking"
    session_args = {{ token = "${{TOKEN}}", number = {number} }}
    headers = {{ "X-Literal" = "hunter2-literal", "Authorization" = "Bearer hunter2-bearer", "X-Env" = "${{HEADER}}" }}
    retry = {{ initial = 0.2, max = 0.2 }}
"""

CODE = """
    import os
    from ingest import Emit, Fail, Session

    SIGN = "hun" "ter2"  # not in one piece: lines of source around a failure are sent, and that is meant
    SECRETS = [
        os.environ["TOKEN"],
        os.environ["HEADER"],
        os.environ["SUBSCRIBE"],
        *(f"{SIGN}-{each}" for each in ("literal", "bearer", "redis", "query")),
        f"unix://bob:{SIGN}-redis@/tmp/x",
        f"wss://x.example/?api_key={SIGN}-url",
        f"GET /?sig={SIGN}-path",
        f"Authorization: Bearer {SIGN}.0.1",
    ]

    class Leaking(Session):
        def setup(self, token, number):
            self.token, self.secret = token, SECRETS[number]
            self.memory["turn"] = self.memory.get("turn", 0) + 1

        def on_frame(self, payload):
            if payload == "first":
                return Emit(payload)
            if self.memory["turn"] % 2:
                raise ValueError(f"refused with {self.secret}")
            return Fail(f"asked with {self.secret}")

        def position(self):
            return {"place": SECRETS[2]}

    def fresh_headers():
        return {"X-Fresh": f"{SIGN}-fresh", "Authorization": f"Bearer {SIGN}-renewed"}

    def subscriber(event):
        raise RuntimeError(f"the subscriber knows {SECRETS[0]}")
"""

SECRETS = 11

#: What a session says of its place is data, kept as it is for whoever goes on from there, and masked where it is shown.
POSITION = re.compile(r"""["']position["']: ?(b')?\{[^}]*\}""")


def echoing(client) -> None:
    """Send back what the client has shown, as servers do, and close with it."""
    headers = client.recording.headers
    client.send("first", "second")
    client.send_close(1008, f"you said {headers.get('x-fresh', '')} {headers.get('authorization', '')}"[:120])


def history(client: redis.Redis) -> dict[tuple[str, str], FeedHistory]:
    return read_history(client, Keys("dramatiq"), [("", "leaking-0"), ("", "quiet")])


def content(client: redis.Redis, key: bytes) -> object:
    """Return the bytes of a key, of whatever type it is."""
    read = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"set": client.smembers,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"zset": lambda key: client.zrange(key, 0, -1),
        b"stream": client.xrange,
    }
    return read[client.type(key)](key)


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_secret_is_readable_in_log_sentry_metrics_health_snapshot_history_or_gaps(
    tmp_path: Path, valkey: Valkey, sentry_server: SentryServer, log_format: str
) -> None:
    client = valkey.client()
    client.execute_command("ACL", "SETUSER", "bob", "on", f">{SIGN}-redis", "~*", "&*", "+@all")
    (tmp_path / "code.py").write_text(dedent(CODE))
    with ScriptedServer(echoing) as server:
        leaking = "".join(dedent(FEED).format(url=server.url, number=number) for number in range(SECRETS))
        text = dedent(FEEDS).format(url=server.url, redis=valkey.path) + leaking
        environ = {**ENVIRON, "LOG_FORMAT": log_format, "LOG_LEVEL": "debug", "SENTRY_DSN": sentry_server.dsn}
        with SupervisorProcess(tmp_path, text, valkey.url, **environ) as supervisor:
            supervisor.wait_for_log("health_listening")
            wait_until(lambda: supervisor.told("refused with") >= SECRETS, 60, "every secret in an exception")
            wait_until(lambda: supervisor.told("asked with") >= SECRETS, 60, "every secret in a reason")
            wait_until(lambda: supervisor.told("you said") > 0, 60, "what the server said")
            wait_until(lambda: supervisor.told("gap_found.*position") > 0, 60, "a gap with a position")
            wait_until(lambda: client.zcard("dramatiq:__gaps__..quiet"), 60, "a gap in the records")
            wait_until(lambda: read_statuses(client, "dramatiq"), 60, "a snapshot")
            [line] = [line for line in supervisor.log.splitlines() if "health_listening" in line]
            url = json.loads(line)["url"] if log_format == "json" else line.partition("url=")[2]
            told = {
                "metrics": get(f"{url}/metrics").text,
                "health": get(f"{url}/ready").text + get(f"{url}/live").text,
                "snapshot": json.dumps(read_statuses(client, "dramatiq")),
            }
            client.execute_command("ACL", "SETUSER", "bob", "resetpass", ">another")
            client.execute_command("CLIENT", "KILL", "USER", "bob")
            supervisor.wait_for_log("broker_unavailable")
            client.execute_command("ACL", "SETUSER", "bob", f">{SIGN}-redis")
            supervisor.wait_for_log("broker_recovered")
            wait_until(lambda: len(sentry_server.events) >= SECRETS, 60, "an issue of each")
            wait_until(lambda: all(each.happenings for each in history(client).values()), 60, "what happened, in the history")
            supervisor.stop()
    told["log"] = supervisor.log
    told["sentry"] = sentry_server.raw
    told["history"] = repr(history(client))
    told["gaps"] = repr(client.zrange("dramatiq:__gaps__..quiet", 0, -1))
    told["redis"] = "\n".join(POSITION.sub("", f"{key!r} {content(client, key)!r}") for key in client.scan_iter())
    assert {name for name, text in told.items() if not text} == set()
    leaks = {name: [line[:300] for line in text.splitlines() if SIGN in line][:3] for name, text in told.items() if SIGN in text}
    assert leaks == {}
