"""A worker is killed (SIGKILL) under load: every message comes to the actor at least once."""

from dramatiq.brokers.redis import RedisBroker

from tests.support.fault_run import supervising
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.waiting import wait_until

#: Numbers per second, and in all.
RATE, ALL = 1000, 2000

ACTORS = """
import dramatiq, os

results = os.open("results", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@dramatiq.actor(queue_name="trades")
def handle(payload):
    os.write(results, payload.encode() + b"\\n")
"""

#: What the dead worker did not send for so many milliseconds is Dramatiq's sign of its death.
HEARTBEAT_TIMEOUT = 60_000


def test_every_number_comes_to_the_actor_though_workers_are_killed(tmp_path, project, shared_valkey, fault):
    stream = NumberedStream(rate=RATE, limit=ALL)
    project.write("feeds.toml", '[workers]\nactors = ["actors"]\n')
    project.write("actors.py", ACTORS)
    client = shared_valkey.client()
    folder = tmp_path / "supervisor"
    folder.mkdir()
    with numbered_server(stream) as server, supervising(folder, shared_valkey, server.url) as run:
        fault("worker killed (SIGKILL), twice", run.memory)
        for _ in range(2):
            worker = project.run("workers", REDIS_URL=shared_valkey.url)
            count = len(project.results())
            project.wait_for_results(count + 300)
            fault.begins()
            worker.kill()
        pretend_that_a_minute_passed(client)
        worker = project.run("workers", REDIS_URL=shared_valkey.url)
        redeliver(shared_valkey)
        stream.wait_for(ALL)
        fault.recovered(lambda: len(project.results()) >= ALL and len(set(project.results())) == ALL, 60, "all numbers")
        wait_until(lambda: client.hlen("dramatiq:trades.msgs") == 0, 60, "all to be acknowledged")
        assert worker.terminate() == 0, worker.log
    results = project.results()
    assert set(results) == set(range(1, ALL + 1))
    fault.lost, fault.doubled = ALL - len(set(results)), len(results) - len(set(results))
    assert [connection[-1] for connection in stream.connections] == [ALL]


def pretend_that_a_minute_passed(client):
    """Make every sign of life older; nobody is alive."""
    workers = client.zrange("dramatiq:__heartbeats__", 0, -1)
    assert len(workers) >= 2
    for worker in workers:
        client.zincrby("dramatiq:__heartbeats__", -2 * HEARTBEAT_TIMEOUT, worker)


def redeliver(valkey):
    """Have Dramatiq's own rule applied now: its scripts do it at random, once in a thousand calls."""
    broker = RedisBroker(url=valkey.url, middleware=[], heartbeat_timeout=HEARTBEAT_TIMEOUT, maintenance_chance=1_000_000)
    broker.do_qsize("trades")
    broker.close()
