"""Every callback of the user's behind a typed failure, and what a feed without a class does."""

import pytest

from ingest.connection.callbacks import FRAME_SHOWN, Callbacks, SessionMaker
from ingest.connection.session import Session
from ingest.connection.status import FeedStatus
from ingest.errors import BootstrapFailed, FrameHandlerFailed, HeadersFailed, UrlFailed
from ingest.telemetry.facts import event_fields
from settings.model import FeedSettings


def maker(kind=Session, functions=None, **settings):
    feed = FeedSettings(name="trades", url="ws://127.0.0.1:1/x", actor="handle", **settings)
    return SessionMaker(feed, kind, **(functions or {}))


def callbacks(kind=Session, functions=None, **settings):
    events = []
    made = Callbacks(maker(kind, functions, **settings), FeedStatus("trades", events.append))
    return made, events


def test_the_defaults_come_from_the_settings():
    made, events = callbacks(headers={"X-Key": "s"}, subscribe=("a", "b"), heartbeat={"interval": 1.0, "text": "hb"})
    assert made.prepare() == ("ws://127.0.0.1:1/x", {"X-Key": "s"})
    assert list(made.bootstrap()) == ["a", "b"]
    assert list(made.heartbeat()) == ["hb"]
    assert events == []


def test_arguments_reach_setup():
    class Configured(Session):
        def setup(self, symbols, depth=10):
            self.asked = (symbols, depth)

    made, _ = callbacks(Configured, session="a:B", session_args={"symbols": ["BTC"], "depth": 25})
    made.prepare()
    assert made.session.asked == (["BTC"], 25)


def test_arguments_that_setup_does_not_take_are_named():
    made, events = callbacks(type("Plain", (Session,), {}), session="a:B", session_args={"typo": 1})
    with pytest.raises(BootstrapFailed, match="typo"):
        made.prepare()
    assert [event.where for event in events] == ["setup"]


@pytest.mark.parametrize("value", [None, 7, "http://x/", b"ws://x/"])
def test_a_url_must_be_one(value):
    made, _ = callbacks(type("S", (Session,), {"url": lambda self: value}))
    with pytest.raises(UrlFailed):
        made.prepare()


@pytest.mark.parametrize("value", [None, ["X-Key: 1"], {"X-Key": 1}])
def test_headers_must_be_a_mapping_of_texts(value):
    made, _ = callbacks(type("S", (Session,), {"headers": lambda self: value}))
    with pytest.raises(HeadersFailed):
        made.prepare()


def test_a_headers_function_that_raises_is_typed_and_told():
    def expired():
        raise PermissionError("token expired")

    made, events = callbacks(functions={"headers_function": expired})
    with pytest.raises(HeadersFailed, match="token expired"):
        made.prepare()
    assert [(event.where, type(event.cause)) for event in events] == [("headers", PermissionError)]


def test_the_subscribe_function_is_named_when_it_returns_nonsense():
    made, _ = callbacks(functions={"subscribe_function": lambda: "one string"})
    made.prepare()
    with pytest.raises(BootstrapFailed, match="subscribe_function"):
        made.bootstrap()


def test_a_failing_heartbeat_is_a_handler_failure():
    def heartbeat(self):
        raise OSError("no beat")

    made, events = callbacks(type("S", (Session,), {"heartbeat": heartbeat}))
    made.prepare()
    with pytest.raises(FrameHandlerFailed, match="no beat"):
        made.heartbeat()
    assert [event.where for event in events] == ["heartbeat"]


def test_who_can_show_other_credentials_is_known():
    assert not maker().refreshes_credentials
    assert maker(functions={"headers_function": dict}).refreshes_credentials
    assert maker(type("S", (Session,), {"url": lambda self: "ws://x/"})).refreshes_credentials
    assert maker(type("S", (Session,), {"headers": lambda self: {}})).refreshes_credentials


def test_only_an_untouched_on_frame_passes_through():
    assert maker().passes_through
    assert not maker(type("S", (Session,), {"on_frame": lambda self, payload: None})).passes_through


@pytest.mark.parametrize("payload", ["x" * 9000, b"\xff" * 9000])
def test_the_frame_that_could_not_be_handled_goes_with_what_is_told_but_not_all_of_it(payload):
    class Failing(Session):
        def on_frame(self, payload):
            raise ValueError("no")

    made, events = callbacks(Failing)
    made.prepare()
    with pytest.raises(FrameHandlerFailed):
        made.on_frame(payload)
    assert [event.frame for event in events] == [payload[:FRAME_SHOWN]]
    assert "xxx" not in repr(events[0])
    assert "frame" not in event_fields(events[0])
