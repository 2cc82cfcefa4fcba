"""A hook of the user's that hangs in delivery: told, shown, and no reason to wait at the end; every number is in a count."""

from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

import pytest
import redis

from ingest.broker.status import read_statuses
from ingest.testing import ScriptedServer
from tests.support.delivery import payloads
from tests.support.fault_feeds import feeds_toml
from tests.support.supervisor import SupervisorProcess
from tests.support.waiting import wait_until

HOOKS = """
import threading
import dramatiq

def hang_at(value):
    if "hang" in value:
        threading.Event().wait()

class HangingBefore(dramatiq.Middleware):
    def before_enqueue(self, broker, message, delay):
        hang_at(message.args[0])

class HangingAfter(dramatiq.Middleware):
    def after_enqueue(self, broker, message, delay):
        hang_at(message.args[0])

class HangingEncoder(dramatiq.JSONEncoder):
    def encode(self, data):
        if "args" in data:
            hang_at(data["args"][0])
        return super().encode(data)

def before():
    return [HangingBefore()]

def after():
    return [HangingAfter()]

def encoder():
    dramatiq.set_encoder(HangingEncoder())
    return []
"""

LAST_WORD = "read=3 emitted=3 enqueued={} spooled={} dropped=0 lost={} exit_code={}"


@dataclass
class Hanging:
    """A supervisor whose hook hangs at the second frame; the third is sent when the test says so."""

    supervisor: SupervisorProcess
    client: redis.Redis
    goes_on: Event

    def shows(self, name, value):
        return any(status["feeds"]["trades"][name] == value for status in read_statuses(self.client, "dramatiq"))


@contextmanager
def hanging(folder, valkey, hook, extra=""):
    (folder / "hooks.py").write_text(HOOKS)
    client, arrived, goes_on = valkey.client(), Event(), Event()

    def script(server):
        server.send("before")
        assert arrived.wait(100)
        server.send("hang")
        assert goes_on.wait(100)
        server.send("after")
        server.listen(60)

    top = f'[broker]\nmiddleware = ["hooks:{hook}"]\n[supervisor]\nshutdown_timeout = 60\n'
    with ScriptedServer(script) as server:
        text = feeds_toml(server.url, top=top, extra=f"open_timeout = 0.5\nping_interval = 0\n{extra}")
        with SupervisorProcess(folder, text, valkey.url) as supervisor:
            try:
                wait_until(lambda: client.llen("dramatiq:trades"), 60, "the first message")
                arrived.set()
                yield Hanging(supervisor, client, goes_on)
            finally:
                goes_on.set()


def wait_until_shown(run, where):
    run.supervisor.wait_for_log(f"callback_slow feed=trades where={where}")
    wait_until(lambda: run.shows("state", "SLOW_CALLBACK"), 20, "the state")


def test_what_hangs_in_before_enqueue_at_the_end_is_counted_as_lost_and_recorded(tmp_path, shared_valkey):
    with hanging(tmp_path, shared_valkey, "before") as run:
        wait_until_shown(run, "before_enqueue")
        assert run.supervisor.stop(timeout=40) == 1, "not after shutdown_timeout"
        assert payloads(run.client) == ["before"]
        assert "read=2 emitted=2 enqueued=1 spooled=0 dropped=0 lost=1 exit_code=1" in run.supervisor.log
        assert "gap_found feed=trades cause=lost" in run.supervisor.log


@pytest.mark.parametrize("spools", [False, True], ids=["memory", "spool"])
def test_behind_a_hung_after_enqueue_nothing_is_delivered_and_what_waits_is_spooled_or_counted(tmp_path, shared_valkey, spools):
    extra = f'spool = {{ directory = "{tmp_path}" }}' if spools else ""
    with hanging(tmp_path, shared_valkey, "after", extra) as run:
        wait_until_shown(run, "after_enqueue")
        run.goes_on.set()
        wait_until(lambda: run.shows("emitted", 3), 20, "what is read meanwhile")
        assert run.supervisor.stop(timeout=40) == (0 if spools else 1), "not after shutdown_timeout"
        assert payloads(run.client) == ["before", "hang"]
        assert LAST_WORD.format(2, int(spools), int(not spools), int(not spools)) in run.supervisor.log
        assert run.supervisor.told("callback_slow feed=trades where=after_enqueue") == 1


def test_a_hung_encoder_of_batches_is_told_and_what_it_has_is_counted(tmp_path, shared_valkey):
    with hanging(tmp_path, shared_valkey, "encoder", "batch = { size = 10, timeout = 0.05 }") as run:
        wait_until_shown(run, "encoder")
        assert run.supervisor.stop(timeout=40) == 1, "not after shutdown_timeout"
        assert payloads(run.client) == [["before"]]
        assert "read=2 emitted=2 enqueued=1 spooled=0 dropped=0 lost=1 exit_code=1" in run.supervisor.log
