"""References of the settings become the user's code, or problems with the path of their key."""

from __future__ import annotations

import pytest

from ingest.connection.session import Session
from ingest.imports import ImportRefused
from ingest.service.references import FeedCode, resolve, resolve_all
from settings import SettingsError
from tests.support.settings_files import FEED, load_text
from tests.support.user_code import WriteModule

CODE = """
    from ingest.connection.session import Session

    class Feed(Session):
        def setup(self, *, symbol, depth=10): ...

    class Plain(Session): ...

    class Unrelated: ...

    class Async(Session):
        async def on_frame(self, payload): ...

    class Needy(Session):
        def __init__(self, symbol): ...

    async def later(*args): ...

    def function(*args): ...

    number = 5
    nothing = None
"""


@pytest.fixture(autouse=True)
def _code(user_module: WriteModule):
    user_module("shopcode", CODE)


def problems(tmp_path, text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        resolve_all(load_text(tmp_path, text))
    return str(caught.value).splitlines()


def test_a_feed_without_references_has_the_plain_session(tmp_path):
    assert resolve_all(load_text(tmp_path, FEED)).feeds == {"trades": FeedCode(Session, None, None, None)}


def test_everything_that_can_be_named(tmp_path):
    text = FEED + (
        'session = "shopcode:Feed"\nsession_args = { symbol = "BTC/USD" }\nsubscribe_function = "shopcode:function"\n'
        'headers_function = "shopcode:function"\nretry.function = "shopcode:function"\n'
        '[telemetry]\nsubscribers = ["shopcode:function"]\n[broker]\nmiddleware = ["shopcode:number"]\n'
    )
    found = resolve_all(load_text(tmp_path, text))
    import shopcode  # type: ignore[import-not-found] # written by the fixture

    function = shopcode.function
    assert found.feeds == {"trades": FeedCode(shopcode.Feed, function, function, function)}
    assert found.subscribers == {"shopcode:function": function}
    assert found.middleware == {"shopcode:number": 5}  # whether it is a middleware is for the broker to say


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            'session = "shopcode:Unrelated"',
            "session: shopcode:Unrelated is the class Unrelated; a subclass of ingest.Session is expected",
        ),
        ('session = "shopcode:function"', "session: shopcode:function is a function; a subclass of ingest.Session is expected"),
        ('session = "shopcode:Fed"', "session: the module 'shopcode' has no 'Fed'; did you mean Feed?"),
        ('session = "shopcode:nothing"', "session: shopcode:nothing is None"),
        ('session = "shopcode:Feed"', "session_args: Feed.setup() missing a required argument: 'symbol'"),
        (
            'session = "shopcode:Feed"\nsession_args = { symbol = "x", dept = 5 }',
            "session_args: Feed.setup() got an unexpected keyword argument 'dept'",
        ),
        ('session = "shopcode:Plain"\nsession_args = { a = 1 }', "session_args: Plain has no setup() to take them"),
        ('headers_function = "shopcode:number"', "headers_function: shopcode:number is no function but a int"),
        ('subscribe_function = "shopcode:nothing"', "subscribe_function: shopcode:nothing is None"),
        ('session = "shopcode:Async"', "session: Async.on_frame is a coroutine function; it must be a plain one"),
        (
            'session = "shopcode:Needy"',
            "session: Needy() missing a required argument: 'symbol'; a session is made without arguments, "
            "session_args go to its setup()",
        ),
        (
            'headers_function = "shopcode:later"',
            "headers_function: shopcode:later is a coroutine function; it must be a plain one",
        ),
        ('retry.function = "shopcode:number"', "retry.function: shopcode:number is no function but a int"),
    ],
)
def test_what_is_not_what_it_should_be(tmp_path, line, says):
    assert problems(tmp_path, FEED + line) == [f"feeds.trades.{says}"]


def test_all_at_once(tmp_path):
    text = (
        FEED + 'session = "shopcode:x"\nheaders_function = "nowhere_y:y"\n'
        '[telemetry]\nsubscribers = ["shopcode:function", "shopcode:z"]\n[broker]\nmiddleware = ["shopcode:w"]\n'
    )
    assert [problem.partition(": ")[0] for problem in problems(tmp_path, text)] == [
        "feeds.trades.session", "feeds.trades.headers_function", "telemetry.subscribers[1]", "broker.middleware[0]",
    ]  # fmt: skip


def test_one_reference_alone():
    assert resolve("shopcode:number") == 5
    with pytest.raises(ImportRefused, match="has no 'x'"):
        resolve("shopcode:x")
