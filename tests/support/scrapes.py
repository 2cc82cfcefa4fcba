"""Metrics and health as a monitoring system reads them, over HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families


class Answer(NamedTuple):
    status: int
    content_type: str
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def get(url: str, *, method: str = "GET", accept: str = "") -> Answer:
    """Ask, whatever the status is; OSError where nobody answers."""
    request = urllib.request.Request(url, method=method, headers={"Accept": accept} if accept else {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return Answer(answer.status, answer.headers["Content-Type"], answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers["Content-Type"], error.read().decode())


class Scrape:
    """What one scrape brought."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    @classmethod
    def of(cls, url: str) -> Scrape:
        answer = get(f"{url}/metrics")
        assert answer.status == 200, answer
        return cls(answer.text)

    @property
    def names(self) -> set[str]:
        return {sample.name for sample in self._samples}

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of all samples of this name that have these labels; 0 while there is none."""
        return sum(sample.value for sample in self._samples if sample.name == name and labels.items() <= sample.labels.items())

    def value(self, name: str, **labels: str) -> float:
        """Return the one sample of this name that has these labels."""
        found = [sample.value for sample in self._samples if sample.name == name and labels.items() <= sample.labels.items()]
        assert len(found) == 1, f"{name}{labels}: {found}"
        return found[0]
