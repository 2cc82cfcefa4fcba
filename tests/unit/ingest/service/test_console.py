"""Python's path as the console script arranges it."""

from __future__ import annotations

import pytest

from ingest.service.console import arranged


@pytest.mark.parametrize(
    ("path", "result"),
    [
        (["/venv/bin", "/lib"], ["/root", "/venv/bin", "/lib", "/work"]),
        (["", "/lib"], ["/root", "/lib", "/work"]),
        (["/work", "/lib", "/root"], ["/root", "/lib", "/work"]),
    ],
)
def test_our_root_comes_first_and_the_working_directory_last(path, result):
    assert arranged(path, "/root", "/work") == result


def test_in_our_own_root_it_stands_once():
    assert arranged(["/venv/bin", "/root"], "/root", "/root") == ["/root", "/venv/bin"]
