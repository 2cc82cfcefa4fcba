"""``python -m ingest web`` as a process, and whoever opens it: a plain client."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.processes import Process
from tests.support.waiting import wait_until

TOKEN = "a-token-of-the-tests"  # long enough, and no secret

_LISTENING = re.compile(r"web_listening url=(http://\S+)")


class WebProcess(Process):
    """The page on a free port of this machine; ended by pid at the end of the test."""

    def __init__(self, folder: Path, redis_url: str, *options: str, **environ: str) -> None:
        arguments = ("web", "--port", "0", *options)
        super().__init__(folder, "web", *arguments, REDIS_URL=redis_url, **environ)
        try:
            told = wait_until(lambda: _LISTENING.search(self.log) or not self.running, 60, "the page's address")
            assert not isinstance(told, bool), self.log
        except BaseException as error:
            self.__exit__(type(error), error, None)  # nobody else can end it
            raise
        self.url = told[1].replace("0.0.0.0", "127.0.0.1")


class Visitor:
    """A client that does as a browser does with forms; ``own`` are the headers of one that sends them from our page."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.own = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
        self.client = httpx.Client(base_url=url, timeout=15, trust_env=False)

    def log_in(self) -> None:
        answer = self.client.post("/login", data={"token": TOKEN}, headers=self.own)
        assert answer.status_code == 303, answer.text

    def csrf(self) -> str:
        """Return what the forms of this session carry."""
        found = re.search(r'name="csrf" value="(\w+)"', self.client.get("/").text)
        assert found is not None
        return found[1]

    def act(self, path: str, **fields: str | list[str]) -> httpx.Response:
        """Send a form, and follow to where it leads."""
        return self.client.post(path, data={"csrf": self.csrf(), **fields}, headers=self.own, follow_redirects=True)


@contextmanager
def visiting(url: str, *, logged_in: bool = False) -> Iterator[Visitor]:
    visitor = Visitor(url)
    with visitor.client:
        if logged_in:
            visitor.log_in()
        yield visitor


def text_of(page: str) -> str:
    """Return what a page says, without its tags."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))
