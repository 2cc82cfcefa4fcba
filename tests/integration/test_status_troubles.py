"""What ``status`` says of troubles that real supervisors have while all of them run."""

from __future__ import annotations

import shutil
from pathlib import Path

import redis
from pydantic import SecretStr

from ingest.broker.dead_letters import DeadLetters, Filter
from ingest.testing import ScriptedServer
from ingest.tools.findings import Finding, Severity, find
from ingest.tools.watching import Watcher
from settings.model import BrokerSettings
from tests.support.fault_feeds import PATIENT, feeds_toml
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.redis_server import Valkey
from tests.support.scrapes import get
from tests.support.supervisor import SupervisorProcess
from tests.support.waiting import wait_until
from tests.support.workers_process import Project


def findings(url: str) -> list[Finding]:
    watcher = Watcher(BrokerSettings(url=SecretStr(url)))
    try:
        return find(watcher.look())
    finally:
        watcher.close()


def says(url: str, words: str) -> bool:
    return any(words in finding.text for finding in findings(url))


def only_one(url: str, words: str) -> Finding | None:
    """Return the finding that says this, once no other is there."""
    found = findings(url)
    return found[0] if len(found) == 1 and words in found[0].text else None


def test_a_redis_that_refuses_writes_is_told_first_and_makes_nobody_ready(tmp_path: Path, valkey: Valkey) -> None:
    client: redis.Redis = valkey.client()
    health = "[supervisor]\nhealth_port = 0\n"
    with (
        ScriptedServer(lambda connection: connection.send("x")) as server,
        SupervisorProcess(tmp_path, feeds_toml(server.url, extra=PATIENT, top=health), valkey.url) as supervisor,
    ):
        supervisor.wait_for_log("health_listening")
        [line] = [line for line in supervisor.log.splitlines() if "health_listening" in line]
        url = line.partition("url=")[2].strip()
        wait_until(lambda: get(f"{url}/ready").status == 200, 60, "readiness")

        client.config_set("maxmemory", "100kb")
        wait_until(lambda: get(f"{url}/ready").status == 503, 60, "the refusal")
        assert get(f"{url}/ready").json["redis"]["reason"].startswith("Redis refuses writes: OOM ")
        assert "dramatiq_websocket_redis_up 0.0" in get(f"{url}/metrics").text
        finding = wait_until(lambda: only_one(valkey.url, "refuses writes ("), 60, "the finding")
        assert (finding.severity, finding.subject) == (Severity.ERROR, "Redis")

        client.config_set("maxmemory", "0")
        wait_until(lambda: get(f"{url}/ready").status == 200, 60, "readiness again")
        wait_until(lambda: not findings(valkey.url), 60, "that all is well")
        supervisor.stop()


def test_a_spool_whose_folder_is_gone_and_a_name_that_is_taken_are_told_until_they_are_over(
    tmp_path: Path, shared_valkey: Valkey
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    (one / "spool").mkdir(parents=True)
    two.mkdir()
    url = shared_valkey.url
    with ScriptedServer(lambda connection: connection.send("x")) as server:
        first = SupervisorProcess(one, feeds_toml(server.url, extra=PATIENT + 'spool = { directory = "spool" }'), url)
        with first:
            first.wait_for_log("connection_ready")
            wait_until(lambda: not findings(url), 60, "that all is well")

            shutil.rmtree(one / "spool")
            wait_until(lambda: says(url, "its spool takes nothing on "), 60, "the folder that is gone")
            (one / "spool").mkdir()
            wait_until(lambda: not findings(url), 60, "the file in its new place")

            with SupervisorProcess(two, feeds_toml(server.url + "other", extra=PATIENT), url) as second:
                second.wait_for_log("feed_name_taken")
                finding = wait_until(lambda: only_one(url, "another feed of that name leads on "), 60, "the name that is taken")
                assert finding.subject == "trades"
                assert f":{second.pid} reads nothing" in finding.text
                second.stop()
            wait_until(lambda: not findings(url), 60, "that it is over")
            first.stop()


ACTORS = """
    import dramatiq

    @dramatiq.actor(queue_name="trades")
    def fails(payload):
        raise ValueError(payload)

    @dramatiq.actor(queue_name="books")
    def handle_book(payload):
        pass
"""


def test_an_actor_that_fails_and_one_that_no_worker_has_are_told_within_the_minute(project: Project, valkey: Valkey) -> None:
    project.write("feeds.toml", '[workers]\nactors = ["shop"]\n')
    project.write("shop.py", ACTORS)
    (folder := project.folder / "supervisor").mkdir()

    with numbered_server(NumberedStream(50)) as server:
        feeds = feeds_toml(server.url, extra='actor = "fails"')
        feeds += feeds_toml(server.url, "books", extra='actor = "handle_boks"\nqueue = "books"', top="")
        with SupervisorProcess(folder, feeds, valkey.url) as supervisor:
            project.run("workers", REDIS_URL=valkey.url).ready()
            wait_until(lambda: says(valkey.url, "its actor fails fails: "), 30, "the actor that fails")
            wait_until(lambda: says(valkey.url, "messages became dead letters in the last minute"), 30, "the unknown actor")
            by_subject = {finding.subject: finding for finding in findings(valkey.url)}
            assert by_subject["trades"].severity == by_subject["queue books"].severity == Severity.WARNING
            supervisor.stop()
    causes = {letter.cause for letter in DeadLetters(valkey.client(), "dramatiq").scan(Filter(queue="books"))}
    assert causes == {"dramatiq.errors.ActorNotFound: handle_boks"}
