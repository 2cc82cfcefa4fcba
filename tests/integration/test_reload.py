"""SIGHUP: what a new settings file does to a supervisor that runs."""

import re
import signal
from functools import partial
from textwrap import dedent

import dramatiq
import pytest

from ingest.broker.control import Control
from ingest.broker.gaps import read_gaps
from ingest.broker.keys import Keys
from ingest.broker.status import read_statuses
from ingest.testing import ScriptedServer
from tests.support.supervisor import SupervisorProcess, payloads_in
from tests.support.waiting import wait_until


def feed(name, url, extra=""):
    keys = f'url = "{url}"\nactor = "handle"\nqueue = "{name}"\nretry = {{ initial = 0.05, max = 0.1 }}'
    return f"[feeds.{name}]\n{keys}\n{dedent(extra)}\n"


class Counting:
    """A server's script: goes on counting over all connections, so that a number more or less would be seen."""

    def __init__(self):
        self.number = 0

    def __call__(self, client):
        while True:
            client.send(*[str(self.number + more) for more in range(10)])
            self.number += 10
            client.listen(0.03)  # so slowly that the queue is not full before a busy machine is through


def reload(supervisor, *tables, told="settings_reloaded"):
    before = supervisor.told(told)
    (supervisor.folder / "feeds.toml").write_text("\n".join(tables))
    supervisor.signal(signal.SIGHUP)
    wait_until(lambda: supervisor.told(told) > before or not supervisor.running, 60, told)
    assert supervisor.running, supervisor.log


def arrived(client, queue, count=1):
    wait_until(lambda: client.llen(f"dramatiq:{queue}") >= count, 60, f"{count} messages in {queue}")


def closed(server):
    """Tell whether the first client has left."""
    return server.recordings[0].close_code is not None


def wait_until_behind(client, count):
    """Wait until the feed has read more than so many: then a queue of that size leaves some without a place."""
    wait_until(lambda: [status for status in read_statuses(client, "dramatiq") if frames_of(status) > count], 60, "a backlog")


def frames_of(status):
    return status["feeds"].get("trades", {}).get("frames", 0)


def take(client, queue):
    """Take what waits, as a worker would: nothing can come between looking and taking."""
    ids = client.lpop(f"dramatiq:{queue}", 1000) or []
    found = client.hmget(f"dramatiq:{queue}.msgs", ids) if ids else []
    return [dramatiq.Message.decode(data).args[0] for data in found]


def assert_in_order(client, queue):
    """The numbers that are there rise, and none is there twice."""
    found = [int(payload) for payload in payloads_in(client, queue)]
    assert found == sorted(set(found))
    return found


@pytest.fixture
def run(tmp_path, shared_valkey):
    return partial(SupervisorProcess, tmp_path, redis_url=shared_valkey.url)


def test_changed_feeds_begin_anew_new_ones_begin_others_end_and_the_rest_is_untouched(run, shared_valkey):
    client = shared_valkey.client()
    with ScriptedServer(Counting()) as same, ScriptedServer(Counting()) as other, ScriptedServer(Counting()) as third:
        tables = (feed("stays", same.url), feed("changes", other.url), feed("goes", third.url))
        with run("\n".join(tables)) as supervisor:
            for queue in ("stays", "changes", "goes"):
                arrived(client, queue)
            reload(supervisor, feed("stays", same.url), feed("changes", other.url, "idle_timeout = 9"), feed("comes", third.url))
            arrived(client, "comes")
            length = client.llen("dramatiq:changes")
            arrived(client, "changes", length + 50)
            gone = client.llen("dramatiq:goes")
            assert "changed=changes added=comes removed=goes" in supervisor.log
            wait_until(lambda: all(closed(server) for server in (other, third)), 60, "the close of what was changed or removed")
            assert supervisor.stop() == 0
        assert [len(server.recordings) for server in (same, other, third)] == [1, 2, 2]
        assert [server.recordings[0].close_code for server in (other, third)] == [1001, 1001]
    assert client.llen("dramatiq:goes") == gone
    for queue in ("stays", "changes", "goes", "comes"):
        assert_in_order(client, queue)
    (gap,) = read_gaps(client, Keys("dramatiq"), "", ["changes"])
    assert gap.cause == "restart"
    assert "lost=0" in supervisor.last_line or "lost=0" in supervisor.log.splitlines()[-2]


def test_a_file_that_is_wrong_is_refused_with_its_problems_and_what_runs_goes_on(run, shared_valkey):
    client = shared_valkey.client()
    with ScriptedServer(Counting()) as server:
        with run(feed("trades", server.url)) as supervisor:
            arrived(client, "trades")
            reload(
                supervisor,
                feed("trades", server.url, "idle_timout = 9\nping_timeout = 20000"),
                told="reload_refused.*ping_timeout",
            )
            reload(supervisor, feed("trades", server.url), '[broker]\nnamespace = "other"', told="reload_refused.*namespace")
            reload(supervisor, feed("trades", server.url, 'session = "nowhere:At"'), told="reload_refused.*nowhere")
            reload(supervisor, "", told="reload_refused.*no feed is left")
            assert supervisor.told("reload_refused.*did you mean idle_timeout") == 1
            length = client.llen("dramatiq:trades")
            arrived(client, "trades", length + 50)
            reload(supervisor, feed("trades", server.url, "idle_timeout = 9"))
            wait_until(lambda: len(server.recordings) == 2, 60, "the connection of what was changed")
            assert supervisor.stop() == 0
        assert len(server.recordings) == 2
    assert_in_order(client, "trades")


def test_nothing_is_lost_where_a_queue_is_full_while_its_feed_changes(run, shared_valkey):
    """Without a spool the feed waits for room, and only then begins anew; limits of queues count at once."""
    client = shared_valkey.client()
    full = "[queues.trades]\nhigh_watermark = 50\nlow_watermark = 10\n"
    with ScriptedServer(Counting()) as server, run(feed("trades", server.url) + full) as supervisor:
        arrived(client, "trades", 50)
        wait_until_behind(client, 50)
        (supervisor.folder / "feeds.toml").write_text(feed("trades", server.url, "idle_timeout = 9") + full)
        supervisor.signal(signal.SIGHUP)
        wait_until(lambda: closed(server), 60, "the connection closed")
        assert supervisor.told("settings_reloaded") == 0  # what was read has no place yet
        taken = []
        while supervisor.told("settings_reloaded") == 0:
            taken += take(client, "trades")
        # Of the two lines another thread writes this one: it may be the later.
        drained = wait_until(lambda: re.search(r"feed_drained .*read=(\d+) .*lost=0", supervisor.log), 60, "what it had read")
        supervisor.kill()
    taken += take(client, "trades")
    read, found = int(drained[1]), [int(payload) for payload in taken]
    assert found[:read] == list(range(read))  # all that the old connection read; the server knows not what of its last words was
    assert found == sorted(set(found))


def test_limits_of_queues_change_without_touching_their_feeds(run, shared_valkey):
    client = shared_valkey.client()
    with ScriptedServer(Counting()) as server:
        with run(feed("trades", server.url) + "[queues.trades]\nhigh_watermark = 50\nlow_watermark = 10\n") as supervisor:
            arrived(client, "trades", 50)
            reload(supervisor, feed("trades", server.url), "[queues.trades]\nhigh_watermark = 500\nlow_watermark = 100\n")
            arrived(client, "trades", 500)
            supervisor.kill()
        assert len(server.recordings) == 1


def test_what_is_in_the_spool_comes_before_what_the_feed_reads_after_the_change(run, tmp_path, shared_valkey):
    client = shared_valkey.client()
    (tmp_path / "spool").mkdir()
    spool = 'durability = "disk"\nspool = { directory = "spool" }\n'
    with ScriptedServer(Counting()) as server, run(feed("trades", server.url, spool)) as supervisor:
        arrived(client, "trades", 100)
        for timeout in (7, 8, 9):
            length = client.llen("dramatiq:trades")
            reload(supervisor, feed("trades", server.url, f"idle_timeout = {timeout}\n{spool}"))
            arrived(client, "trades", length + 50)
        assert supervisor.stop() == 0
    assert_in_order(client, "trades")


def test_sessions_of_the_same_class_remember(run, tmp_path, shared_valkey):
    client = shared_valkey.client()
    (tmp_path / "myapp.py").write_text(
        dedent("""
        from ingest import Emit, Session

        class Numbered(Session):
            def on_frame(self, payload):
                self.memory["count"] = self.memory.get("count", 0) + 1
                return Emit(self.memory["count"])
        """)
    )
    script = lambda connection: connection.send("one", "two")  # noqa: E731
    with ScriptedServer(script) as server:
        table = partial(feed, "trades", server.url)
        with run(table('session = "myapp:Numbered"')) as supervisor:
            arrived(client, "trades", 2)
            reload(supervisor, table('session = "myapp:Numbered"\nidle_timeout = 9'))
            arrived(client, "trades", 4)
            assert supervisor.stop() == 0
    assert payloads_in(client, "trades") == [1, 2, 3, 4]


def test_a_feed_that_gave_up_begins_anew_at_a_reload(run, shared_valkey):
    client = shared_valkey.client()
    refuses = [True]

    def script(connection):
        if refuses:
            connection.refuse(403)
        else:
            connection.send("here")

    with (
        ScriptedServer(Counting()) as well,
        ScriptedServer(script) as other,
        run(feed("well", well.url) + feed("other", other.url)) as supervisor,
    ):
        supervisor.wait_for_log("feed_gave_up")
        refuses.clear()
        reload(supervisor, feed("well", well.url), feed("other", other.url))
        arrived(client, "other")
        assert supervisor.stop() == 0


def test_a_stop_during_a_reload_ends_everything_in_order(run, shared_valkey):
    client = shared_valkey.client()
    full = "[queues.trades]\nhigh_watermark = 50\nlow_watermark = 10\n[supervisor]\nshutdown_timeout = 2\n"
    with ScriptedServer(Counting()) as server, run(feed("trades", server.url) + full) as supervisor:
        arrived(client, "trades", 50)
        wait_until_behind(client, 50)
        (supervisor.folder / "feeds.toml").write_text(feed("trades", server.url, "idle_timeout = 9") + full)
        supervisor.signal(signal.SIGHUP)
        wait_until(lambda: closed(server), 60, "the connection closed")
        assert supervisor.stop() == 1  # there was no room, and no disk: counted, and said
    assert supervisor.told(r"supervisor_stopped .*lost=[1-9]") == 1
    assert supervisor.told("settings_reloaded") == 0


def test_a_paused_feed_stays_paused_and_makes_no_connection(run, shared_valkey):
    client = shared_valkey.client()
    control = Control(client, Keys("dramatiq"), "")
    with ScriptedServer(Counting()) as server, run(feed("trades", server.url)) as supervisor:
        arrived(client, "trades")
        control.pause("trades", "a test")
        supervisor.wait_for_log("feed_paused")
        reload(supervisor, feed("trades", server.url, "idle_timeout = 9"))
        wait_until(lambda: supervisor.told("feed_paused") == 2, 60, "the pause of the new one")
        assert len(server.recordings) == 1
        control.resume("trades")
        wait_until(lambda: len(server.recordings) == 2, 60, "its connection")
        assert supervisor.stop() == 0
    assert_in_order(client, "trades")
