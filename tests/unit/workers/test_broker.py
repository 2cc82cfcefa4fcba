"""The broker of a worker process."""

from __future__ import annotations

import pytest
from dramatiq.middleware import CurrentMessage, Retries, default_middleware
from pydantic import SecretStr

from ingest.broker.assembly import MiddlewareRefused
from settings.model import BrokerSettings
from workers.broker import build_broker
from workers.middleware.frame_context import FrameContext
from workers.middleware.frame_metrics import FrameMetrics


def test_it_has_dramatiq_s_middleware_ours_and_the_user_s_and_connects_to_nothing() -> None:
    settings = BrokerSettings(url=SecretStr("redis://127.0.0.1:1/3"), namespace="shop")

    broker = build_broker(settings, {"app:current": CurrentMessage, "app:retries": Retries(max_retries=1)})

    kinds = [type(middleware) for middleware in broker.middleware]
    assert kinds == [*default_middleware, FrameContext, CurrentMessage, FrameMetrics]
    assert broker.namespace == "shop"
    assert broker.client.connection_pool.connection_kwargs["db"] == 3
    broker.close()


def test_what_is_no_middleware_is_refused() -> None:
    with pytest.raises(MiddlewareRefused, match="app:number"):
        build_broker(BrokerSettings(), {"app:number": 7})


@pytest.mark.parametrize(("wake", "queue", "listens"), [(True, "q", True), (False, "q", False), (True, "q.DQ", False)])
def test_it_waits_for_pushes_where_the_settings_say_so_but_polls_for_delayed_messages(
    wake: bool, queue: str, listens: bool
) -> None:
    broker = build_broker(BrokerSettings(url=SecretStr("redis://127.0.0.1:1/3")), {}, wake)

    broker.consume(queue)

    assert broker._consumed[queue].listens is listens
    broker.close()
