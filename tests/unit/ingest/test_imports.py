"""Importing what the settings name: what is wrong, in one sentence with file and line."""

from __future__ import annotations

import pytest

from ingest.imports import ImportRefused, import_module, import_object
from tests.support.user_code import WriteModule


def said_of(reference: str) -> str:
    with pytest.raises(ImportRefused) as caught:
        import_object(reference) if ":" in reference else import_module(reference)
    return str(caught.value)


def test_what_is_there_is_returned(user_module: WriteModule):
    user_module("shop.feeds", "answer = 42")
    assert import_object("shop.feeds:answer") == 42
    assert import_module("shop.feeds").answer == 42


@pytest.mark.parametrize(
    ("reference", "missing"), [("shop_x:Feed", "shop_x"), ("shop_x.feeds:Feed", "shop_x"), ("shop.feedz:Feed", "shop.feedz")]
)
def test_a_module_that_is_not_there(user_module: WriteModule, monkeypatch, tmp_path, reference, missing):
    user_module("shop.feeds", "")
    monkeypatch.chdir(tmp_path)
    assert said_of(reference) == f"there is no module {missing!r} (looked in {tmp_path} and on the Python path)"


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("import nothing_of_this_name", 1, "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("\n\n1 / 0", 3, "ZeroDivisionError: division by zero"),
        ("def broken(:", 1, "SyntaxError: invalid syntax"),
        ("import sys\nsys.exit(3)", 2, "SystemExit: 3"),
        ("import sys\nsys.exit()", 2, "SystemExit"),
        (
            "import json\njson.loads('{')",
            2,
            "JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        ("raise KeyError('wss://u:hunter2@h/')", 1, "KeyError: 'wss://***@h/'"),
    ],
)
def test_a_module_that_does_not_import_is_told_with_the_users_own_line(
    user_module: WriteModule, monkeypatch, tmp_path, text, line, what
):
    user_module("shop.broken", text)
    monkeypatch.chdir(tmp_path)
    assert said_of("shop.broken:Feed") == f"the module 'shop.broken' does not import: shop/broken.py, line {line}: {what}"


def test_the_innermost_line_of_the_users_code_counts(user_module: WriteModule):
    inner = user_module("shop.inner", "def load():\n    return {}['key']\n")
    user_module("shop.outer", "from shop.inner import load\nload()\n")
    assert said_of("shop.outer").endswith(f"{inner}, line 2: KeyError: 'key'")


def test_a_name_that_the_module_has_not(user_module: WriteModule):
    user_module("shop.feeds", "class KrakenFeed: pass")
    assert said_of("shop.feeds:KrakenFeeds") == "the module 'shop.feeds' has no 'KrakenFeeds'; did you mean KrakenFeed?"
    assert said_of("shop.feeds:zzz") == "the module 'shop.feeds' has no 'zzz'"


def test_ctrl_c_while_importing_is_no_problem_of_the_module(user_module: WriteModule):
    user_module("shop.slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        import_module("shop.slow")
