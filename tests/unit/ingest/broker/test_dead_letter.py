"""What is read of a dead letter, and what it is when it is tried anew."""

from __future__ import annotations

import traceback

import pytest

from ingest.broker.dead_letter import last_line, read_dead_letter, renewed
from ingest.broker.hooks import MessageEncoder, message_encoder
from tests.support.dead_letters import dead_message

ENCODER = message_encoder()


def trace_of(error: BaseException) -> str:
    try:
        raise error
    except BaseException:
        return traceback.format_exc(limit=30)


def chained() -> BaseException:
    error = ValueError("the last")
    error.__cause__ = KeyError("the first")
    error.add_note("a note")
    return error


@pytest.mark.parametrize(
    ("trace", "line"),
    [
        (trace_of(ZeroDivisionError("division by zero")), "ZeroDivisionError: division by zero"),
        (trace_of(LookupError("one line\nand another\n  indented")), "LookupError: one line"),
        (trace_of(KeyboardInterrupt()), "KeyboardInterrupt"),
        (trace_of(chained()), "ValueError: the last"),
        (trace_of(ExceptionGroup("two", [ValueError("a"), TypeError("b")])), "ExceptionGroup: two (2 sub-exceptions)"),
        ("something else\nentirely", "entirely"),
        ("", ""),
    ],
)
def test_the_cause_is_the_line_that_names_the_exception(trace: str, line: str) -> None:
    assert last_line(trace) == line


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[]", b"{}", b"null", b'{"options": 3, "message_id": "x", "actor_name": "a"}', b"[" * 100_000]
)
def test_rubbish_is_a_dead_letter_with_a_problem(data: bytes) -> None:
    letter = read_dead_letter("trades", "x", 1.0, data, ENCODER)
    assert letter.problem.startswith("it is no message of the encoder in use: ")
    assert letter.size == len(data)
    assert renewed(letter, ENCODER) is None


def test_foreign_options_of_our_names_are_not_believed() -> None:
    message = dead_message(1, options={"frame": "x", "retries": "many", "traceback": None})
    letter = read_dead_letter("trades", "x", 1.0, ENCODER.encode(message), ENCODER)
    assert (letter.feed, letter.seq, letter.retries, letter.traceback, letter.cause) == (None, None, 0, "", "")
    assert renewed(letter, ENCODER) is not None


def test_every_retry_has_a_name_of_its_own_and_keeps_other_options() -> None:
    letter = read_dead_letter("trades", "x", 1.0, ENCODER.encode(dead_message(1, options={"max_age": 5, "mine": 1})), ENCODER)
    made = [renewed(letter, ENCODER) for _ in range(2)]
    assert made[0] is not None
    assert made[1] is not None
    assert made[0][0] != made[1][0]
    options = ENCODER.decode(made[0][1])["options"]
    assert (options["max_age"], options["mine"], options["redis_message_id"]) == (5, 1, made[0][0])


def test_what_the_encoder_will_not_write_again_is_not_retried() -> None:
    def refuse(data: object) -> bytes:
        raise TypeError("no")

    letter = read_dead_letter("trades", "x", 1.0, ENCODER.encode(dead_message(1)), ENCODER)
    assert renewed(letter, MessageEncoder(refuse, ENCODER.decode, False)) is None
