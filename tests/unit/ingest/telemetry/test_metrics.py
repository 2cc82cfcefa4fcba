"""The list of metrics: names, kinds, labels."""

import re

from ingest import errors
from ingest.telemetry.metrics import BY_REASON, SUPERVISOR, WORKERS


def test_names_are_unique_and_follow_the_conventions_of_prometheus():
    names = [metric.full_name for metric in (*SUPERVISOR, *WORKERS)]
    assert len(names) == len(set(names))
    for metric in (*SUPERVISOR, *WORKERS):
        assert re.fullmatch(r"dramatiq_websocket_[a-z_]+", metric.full_name)
        assert metric.full_name.endswith("_total") == (metric.kind == "counter")
        assert metric.help.endswith(".")


def test_reasons_of_reconnects_are_the_reasons_there_are_without_those_after_which_there_is_none():
    reasons = {metric.name: values for metric, values, _ in BY_REASON}["reconnects"]
    assert {"ConnectionDropped", "ClosedByServer", "HandshakeRejected", "FeedCrashed"} <= set(reasons)
    assert not {"Stopped", "Fenced", "EndReason", "_TimedOut"} & set(reasons)
    assert all(issubclass(getattr(errors, reason), errors.EndReason) for reason in reasons)
