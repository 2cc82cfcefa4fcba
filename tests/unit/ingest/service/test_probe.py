"""Trying what the settings name; over real servers in tests/integration/test_cli_connect.py."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from ingest.connection.session import Session
from ingest.errors import BrokerError, HeadersFailed, UrlFailed
from ingest.service.probe import probe_feed, probe_redis
from ingest.service.references import FeedCode
from settings.model import BrokerSettings, FeedSettings


def test_an_option_in_the_url_that_redis_cannot_take_is_told_without_the_url():
    with pytest.raises(BrokerError, match="an argument that redis-py does not take, of: socket_timeout") as caught:
        probe_redis(BrokerSettings(url=SecretStr("redis://:hunter2@h/0?socket_timeout=soon")))
    assert "hunter2" not in str(caught.value)


def test_what_the_users_code_says_wrong_is_told_before_anything_is_dialled():
    class Elsewhere(Session):
        def url(self) -> str:
            return "http://127.0.0.1:1/"

    feed = FeedSettings(name="trades", url="ws://127.0.0.1:1/", actor="a")
    with pytest.raises(UrlFailed):
        probe_feed(feed, FeedCode(Elsewhere))
    with pytest.raises(HeadersFailed):
        probe_feed(feed, FeedCode(headers_function=lambda: {"Host": "other"}))
