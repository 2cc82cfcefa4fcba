from __future__ import annotations

from typing import Any

import pytest

from ingest.service.changes import Changes, changes_between
from settings.model import Settings
from settings.problems import SettingsError


def make(feeds: dict[str, dict[str, Any]], **tables: Any) -> Settings:
    named = {name: {"name": name, "url": "ws://x", "actor": "a", **feed} for name, feed in feeds.items()}
    return Settings.model_validate({"feeds": named, **tables})


def test_the_same_file_changes_nothing() -> None:
    changes = changes_between(make({"a": {}}), make({"a": {}}))
    assert changes == Changes([], [], [], [])
    assert not changes


def test_feeds_are_told_apart_by_what_happens_to_them() -> None:
    old = make({"stays": {}, "goes": {}, "changes": {"idle_timeout": 5}})
    new = make({"stays": {}, "comes": {}, "changes": {"idle_timeout": 6}})
    changes = changes_between(old, new)
    assert changes == Changes(removed=["goes"], added=["comes"], changed=["changes"], queues=[])
    assert changes


def test_a_feed_that_gave_up_begins_anew() -> None:
    assert changes_between(make({"a": {}, "b": {}}), make({"a": {}, "b": {}}), ended=["b"]).changed == ["b"]


def test_limits_of_queues_are_changes_of_no_feed() -> None:
    old = make({"a": {}}, queues={"x": {"high_watermark": 10}, "same": {"high_watermark": 20_000}})
    new = make({"a": {}}, queues={"x": {"high_watermark": 20}, "y": {"rate_limit": 5}})
    assert changes_between(old, new) == Changes([], [], [], ["x", "y"])


def test_feeds_of_others_are_left_alone() -> None:
    old = make({"mine": {}, "other": {}, "gone": {}})
    new = make({"mine": {}, "other": {"idle_timeout": 1}, "more": {}})
    assert not changes_between(old, new, only=["mine"])


def test_what_only_a_new_process_can_take_up_is_refused_all_at_once() -> None:
    new = make(
        {"a": {}}, broker={"namespace": "other"}, supervisor={"lease": 7, "group": "g"}, telemetry={"subscribers": ["m:f"]}
    )
    with pytest.raises(SettingsError) as caught:
        changes_between(make({"a": {}}), new)
    assert [problem.path for problem in caught.value.problems] == [
        "broker.namespace",
        "supervisor.group",
        "supervisor.lease",
        "telemetry.subscribers",
    ]
    assert "restart it" in str(caught.value)


def test_workers_read_their_own_table_themselves() -> None:
    assert not changes_between(make({"a": {}}), make({"a": {}}, workers={"wake": False}))


def test_nothing_left_to_run_is_refused() -> None:
    with pytest.raises(SettingsError, match="no feed is left"):
        changes_between(make({"a": {}}), make({}))
    with pytest.raises(SettingsError, match="'a' of --only is not in the file any more"):
        changes_between(make({"a": {}, "b": {}}), make({"b": {}}), only=["a"])


SPOOLED = {"spool": {"directory": "one"}}


@pytest.mark.parametrize("after", [{}, {"spool": {"directory": "two"}}])
def test_a_spool_that_would_be_left_behind_is_refused(after: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as caught:
        changes_between(make({"a": SPOOLED}), make({"a": after}))
    [problem] = caught.value.problems
    assert problem.path == "feeds.a.spool.directory"
    assert "what waits in one would stay there" in problem.text


def test_a_spool_may_come_and_change_its_limits_and_go_with_its_feed() -> None:
    assert changes_between(make({"a": {}}), make({"a": SPOOLED})).changed == ["a"]
    larger = {"spool": {"directory": "one/", "max_bytes": 1 << 30}}
    assert changes_between(make({"a": SPOOLED}), make({"a": larger})).changed == ["a"]
    assert changes_between(make({"a": SPOOLED, "b": {}}), make({"b": {}})).removed == ["a"]
    passing = {"spool": {"directory": "one", "persistent": False}}
    assert changes_between(make({"a": passing}), make({"a": {}})).changed == ["a"]
