"""Reading the file: what is wrong with it, with line and column."""

from __future__ import annotations

import os

import pytest

from settings.document import read_document
from settings.problems import SettingsError


def said_of(path) -> str:
    with pytest.raises(SettingsError) as caught:
        read_document(path)
    [problem] = caught.value.problems
    assert problem.path == str(path)
    return problem.text


@pytest.mark.parametrize("content", [b"[broker]\nnamespace = 'x'\n", b"\xef\xbb\xbf[broker]\r\nnamespace = 'x'\r\n"])
def test_a_file_with_or_without_byte_order_mark(tmp_path, content):
    path = tmp_path / "feeds.toml"
    path.write_bytes(content)
    assert read_document(path) == {"broker": {"namespace": "x"}}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[feeds.trades]\nurl wss\n", "line 2, column 5: Expected '=' after a key in a key/value pair"),
        ("[feeds.trades\n", "line 1, column 14: Expected ']' at the end of a table declaration"),
        ("a = 1\n\nb = 'x", "line 3, column 7: "),
        ("a = 1\nb = ", "line 2, column 5: Invalid value"),
        ("[queues.trades]\n[queues.trades]\n", "line 2, column 15: [queues.trades] is there twice"),
        ("[feeds.a]\nurl = 'x'\nurl = 'y'\n", "line 3, column 10: a key is there twice"),
    ],
)
def test_broken_toml_is_told_with_line_and_column(tmp_path, content, says):
    path = tmp_path / "feeds.toml"
    path.write_text(content)
    assert said_of(path).startswith(says)


def test_what_is_not_utf_8(tmp_path):
    path = tmp_path / "feeds.toml"
    path.write_bytes(b"a = 1\nb = '\xff'\n")
    assert said_of(path) == "line 2 is not UTF-8"


def test_no_file_and_no_file_at_all(tmp_path):
    assert said_of(tmp_path / "nothing.toml") == "there is no such file; name yours with --feeds or FEEDS_FILE"
    assert said_of(tmp_path) == f"cannot be read: {os.strerror(21)}"
