"""Middleware around messages of ours, as Dramatiq would call it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import dramatiq
import pytest
from dramatiq.broker import Broker
from dramatiq.brokers.stub import StubBroker
from dramatiq.encoder import PickleEncoder
from dramatiq.middleware import Middleware, MiddlewareError, default_middleware

from ingest.broker.hooks import EnqueueHooks, MessageEncoder, enqueue_hooks, message_encoder, wrapped, wrapped_encoder
from ingest.errors import EnqueueVetoed


class Tracer(Middleware):
    def __init__(self) -> None:
        self.seen: list[tuple[str, Any, object]] = []

    def before_enqueue(self, broker: Broker, message: dramatiq.Message[Any], delay: int) -> None:
        message.options["trace"] = "t1"
        self.seen.append(("before", message.args[0], delay))

    def after_enqueue(self, broker: Broker, message: dramatiq.Message[Any], delay: int) -> None:
        self.seen.append(("after", message.options["trace"], delay))


class Strict(Middleware):
    def before_enqueue(self, broker: Broker, message: dramatiq.Message[Any], delay: int) -> None:
        raise MiddlewareError("quota used up")


class Clumsy(Middleware):
    def before_enqueue(self, broker: Broker, message: dramatiq.Message[Any], delay: int) -> None:
        raise ZeroDivisionError


MESSAGE: dramatiq.Message[Any] = dramatiq.Message("q", "a", ("payload",), {}, {"redis_message_id": "1"}, "1", 1)


def broker(*middleware: Middleware) -> StubBroker:
    return StubBroker(middleware=list(middleware))


def test_without_middleware_that_takes_part_there_is_nothing_to_call() -> None:
    defaults = [each() for each in default_middleware if each.__name__ != "Prometheus"]
    hooks = enqueue_hooks(broker(*defaults))
    assert (hooks.before, hooks.after) == (None, None)


def test_changes_before_are_kept_and_seen_after() -> None:
    tracer = Tracer()
    hooks = enqueue_hooks(broker(tracer))
    assert hooks.before is not None
    assert hooks.after is not None
    data = hooks.before(MESSAGE.encode())
    assert dramatiq.Message.decode(data) == MESSAGE.copy(options={"trace": "t1"})
    hooks.after(data)
    assert tracer.seen == [("before", "payload", None), ("after", "t1", None)]


def test_a_method_set_on_the_object_counts_too() -> None:
    middleware, calls = Middleware(), list[object]()
    middleware.after_enqueue = lambda *arguments: calls.append(arguments)  # type: ignore[method-assign]
    hooks = enqueue_hooks(broker(middleware))
    assert hooks.before is None
    assert hooks.after is not None
    hooks.after(MESSAGE.encode())
    assert len(calls) == 1


def test_a_middleware_error_is_a_veto_and_any_other_is_only_logged() -> None:
    veto, log = enqueue_hooks(broker(Strict())).before, enqueue_hooks(broker(Clumsy())).before
    assert veto is not None
    assert log is not None
    with pytest.raises(EnqueueVetoed, match="quota used up"):
        veto(MESSAGE.encode())
    assert log(MESSAGE.encode()) == MESSAGE.encode()


class Careless(Middleware):
    def before_enqueue(self, broker: Broker, message: dramatiq.Message[Any], delay: int) -> None:
        message.options["tracer"] = object()


def test_what_middleware_makes_of_a_message_and_nobody_can_encode_is_a_veto() -> None:
    before = enqueue_hooks(broker(Careless())).before
    assert before is not None
    with pytest.raises(EnqueueVetoed, match=r"cannot be encoded: .*object"):
        before(MESSAGE.encode())


def around(seen: list[str], where: str, hook: Callable[..., Any]) -> Callable[..., Any]:
    def called(*arguments: Any) -> Any:
        seen.append(where)
        return hook(*arguments)

    return called


def test_what_there_is_can_be_wrapped_by_name_and_the_default_encoder_is_left_alone() -> None:
    seen: list[str] = []
    wrap: Any = partial(around, seen)
    hooks = wrapped(enqueue_hooks(broker(Tracer())), wrap)
    assert hooks.before is not None
    assert hooks.after is not None
    hooks.after(hooks.before(MESSAGE.encode()))
    assert seen == ["before_enqueue", "after_enqueue"]
    assert wrapped(enqueue_hooks(broker()), wrap) == EnqueueHooks(None, None)
    encoder = message_encoder()
    assert wrapped_encoder(encoder, wrap) is encoder
    own = wrapped_encoder(MessageEncoder(PickleEncoder().encode, PickleEncoder().decode, False), wrap)
    assert own.decode(own.encode({"a": {1}})) == {"a": {1}}
    assert seen[2:] == ["encoder", "encoder"]


def test_the_encoder_in_force_is_the_processs_own() -> None:
    before = dramatiq.get_encoder()
    assert message_encoder().is_json
    dramatiq.set_encoder(PickleEncoder())
    try:
        encoder = message_encoder()
        assert not encoder.is_json
        assert PickleEncoder().decode(encoder.encode({"a": {1}})) == {"a": {1}}
    finally:
        dramatiq.set_encoder(before)
