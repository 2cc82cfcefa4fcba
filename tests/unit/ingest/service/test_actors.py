"""The feeds' actors and queues against those that the user's modules declare."""

from __future__ import annotations

from collections.abc import Iterator

import dramatiq
import pytest
from dramatiq import Middleware

from ingest.service.actors import OfflineBroker, check_actors, compare
from settings.model import FeedSettings
from tests.support.settings_files import load_text
from tests.support.user_code import WriteModule

FEEDS = '[workers]\nactors = ["shopactors"]\n[feeds.trades]\nurl = "ws://h"\nactor = "handle_trade"\nqueue = "trades"\n'
ACTOR = 'import dramatiq\n@dramatiq.actor(queue_name="{queue}"{more})\ndef {name}(payload): ...\n'


@pytest.fixture(autouse=True)
def _broker_of_the_process() -> Iterator[None]:
    before = dramatiq.broker.global_broker
    yield
    dramatiq.broker.global_broker = before


def problems(tmp_path, middleware=None, feeds: str = FEEDS) -> list[str]:
    return [str(problem) for problem in check_actors(load_text(tmp_path, feeds), middleware or {})]


def test_names_that_fit(tmp_path, user_module: WriteModule):
    user_module("shopactors", ACTOR.format(queue="trades", name="handle_trade", more=""))
    assert problems(tmp_path) == []


def test_an_actor_that_is_not_there(tmp_path, user_module: WriteModule):
    user_module("shopactors", ACTOR.format(queue="trades", name="handle_trades", more=""))
    assert problems(tmp_path) == [
        "feeds.trades.actor: no module of [workers] actors has an actor 'handle_trade'; did you mean 'handle_trades'?"
    ]


def test_an_actor_on_another_queue(tmp_path, user_module: WriteModule):
    user_module("shopactors", ACTOR.format(queue="default", name="handle_trade", more=""))
    assert problems(tmp_path) == [
        "feeds.trades.queue: the feed sends to 'trades', but the actor 'handle_trade' listens on 'default': "
        'write queue = "default" here, or queue_name="trades" at the actor'
    ]


def test_without_modules_nothing_is_said(tmp_path):
    assert problems(tmp_path, feeds=FEEDS.replace('"shopactors"', "")) == []


def test_the_actor_of_gaps_is_compared_too():
    feed = FeedSettings(name="t", url="ws://h", actor="handle", gap_actor="backfil", queue="q")
    assert [str(problem) for problem in compare(feed, {"handle": "q", "backfill": "q"})] == [
        "feeds.t.gap_actor: no module of [workers] actors has an actor 'backfil'; did you mean 'backfill'?"
    ]
    feed = feed.model_copy(update={"gap_actor": "backfill"})
    assert list(compare(feed, {"handle": "q", "backfill": "q"})) == []
    assert [str(problem) for problem in compare(feed, {"handle": "q", "backfill": "other"})] == [
        "feeds.t.gap_actor: the feed sends to 'q', but the actor 'backfill' listens on 'other': "
        'write queue_name="q" at the actor'
    ]


def test_without_anything_near_what_there_is_is_listed():
    feed = FeedSettings(name="t", url="ws://h", actor="zzz", queue="q")
    assert [problem.text for problem in compare(feed, {"b": "q", "a": "q"})] == [
        "no module of [workers] actors has an actor 'zzz'; there are a, b"
    ]
    assert [problem.text.rpartition("; ")[2] for problem in compare(feed, {})] == ["there are none"]


def test_an_actor_may_have_the_options_of_the_users_middleware(tmp_path, user_module: WriteModule):
    class Audited(Middleware):
        actor_options = frozenset({"audited"})

    user_module("shopactors", ACTOR.format(queue="trades", name="handle_trade", more=", audited=True"))
    assert problems(tmp_path, {"shop:Audited": Audited}) == []
    assert dramatiq.get_broker().actor_options >= {"audited", "max_retries"}


def test_an_option_that_no_middleware_knows(tmp_path, user_module: WriteModule):
    user_module("shopactors", ACTOR.format(queue="trades", name="handle_trade", more=", audited=True"))
    [problem] = problems(tmp_path)
    assert problem.startswith("workers.actors[0]: the module 'shopactors' does not import")
    assert "actor options are undefined: audited" in problem


def test_what_is_no_middleware_is_said_even_without_modules(tmp_path):
    [problem] = problems(tmp_path, {"shop:number": 5}, FEEDS.replace('"shopactors"', ""))
    assert problem.startswith("broker.middleware: 'shop:number' is a int")


def test_a_module_that_replaces_the_broker(tmp_path, user_module: WriteModule):
    user_module(
        "shopactors",
        "import dramatiq\nfrom dramatiq.brokers.stub import StubBroker\nbroker = StubBroker()\ndramatiq.set_broker(broker)\n",
    )
    [problem] = problems(tmp_path)
    assert problem.startswith(
        "workers.actors[0]: the module 'shopactors' replaces the broker (dramatiq.set_broker): remove that call"
    )
    assert isinstance(dramatiq.get_broker(), OfflineBroker)


def test_a_module_that_sends_while_it_is_imported(tmp_path, user_module: WriteModule):
    user_module("shopactors", ACTOR.format(queue="trades", name="handle_trade", more="") + "handle_trade.send('x')\n")
    [problem] = problems(tmp_path)
    assert "a message for 'handle_trade' was sent while the module was imported" in problem
