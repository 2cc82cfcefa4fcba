"""Reads the TOML file as a plain dictionary.

The rule: whatever is wrong with the file is one sentence with line and column, which shows nothing of its content.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from settings.problems import Problem, SettingsError

_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)
_TWICE = re.compile(r"Cannot declare \((.*?),?\) twice")


def read_document(path: Path) -> dict[str, Any]:
    """Return the file's content; `SettingsError` where it cannot be read or is no TOML."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        return tomllib.loads(text)
    except FileNotFoundError:
        raise _failure(path, "there is no such file; name yours with --feeds or FEEDS_FILE") from None
    except OSError as error:
        raise _failure(path, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise _failure(path, f"line {line} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise _failure(path, _syntax(str(error), text)) from None


def _failure(path: Path, text: str) -> SettingsError:
    return SettingsError([Problem(str(path), text)])


def _syntax(said: str, text: str) -> str:
    """Return the parser's sentence with the place in front, in words for someone who knows the file only."""
    found = _PLACE.fullmatch(said)
    if found is None:
        return f"is no TOML: {said}"
    lines = text.split("\n")
    line, column = (found[2], found[3]) if found[2] else (len(lines), len(lines[-1]) + 1)
    return f"line {line}, column {column}: {_in_words(found[1])}"


def _in_words(said: str) -> str:
    if twice := _TWICE.fullmatch(said):
        names = re.findall(r"'([^']*)'", twice[1])
        return f"[{'.'.join(names)}] is there twice"
    if said == "Cannot overwrite a value":
        return "a key is there twice"
    return said
