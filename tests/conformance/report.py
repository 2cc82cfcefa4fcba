"""Judge what the Autobahn suite's fuzzing server wrote of a run: ``python -m tests.conformance.report reports/index.json``.

The rule: nothing is passed over. A verdict of the suite's that is no pass, a close code other than our own list's, and a case
that was not played are told, and make the exit code 1; a file that is no such report makes it 2.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conformance import closing, compression, framing, utf8, volume

#: What the client must close with, by the number of the case.
CLOSE_CODES = {
    case.number: case.close for case in (*framing.CASES, *utf8.CASES, *closing.CASES, *volume.CASES, *compression.CASES)
}

#: The suite's verdicts that are a pass; the second it gives where RFC 6455 does not say what is right.
PASSES = ("OK", "INFORMATIONAL")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the suite says of one case: of the frames, and of the closing handshake with its code (None where none came)."""

    number: str
    behavior: str
    closing: str
    code: int | None

    @property
    def category(self) -> int:
        """The number before the first dot."""
        return int(self.number.split(".")[0])

    @property
    def fault(self) -> str | None:
        """What is wrong with it, or None."""
        if self.behavior not in PASSES or self.closing not in PASSES:
            return f"{self.number}: {self.behavior}, closing: {self.closing}"
        if self.code != CLOSE_CODES.get(self.number):
            return f"{self.number}: closed with {self.code} instead of {CLOSE_CODES.get(self.number)}"
        return None


def verdicts(index: Path) -> dict[str, list[Verdict]]:
    """Return the verdicts in ``index.json`` by the client's name; OSError, ValueError, TypeError or KeyError where it is none."""
    return {
        client: [
            Verdict(number, case["behavior"], case["behaviorClose"], case["remoteCloseCode"]) for number, case in cases.items()
        ]
        for client, cases in json.loads(index.read_text()).items()
    }


def counted(values: Iterator[object]) -> str:
    """Return how often each value comes, as text."""
    return ", ".join(f"{count} {value}" for value, count in sorted(Counter(map(str, values)).items()))


def summary(cases: list[Verdict]) -> Iterator[str]:
    """Yield a line for each category, one for all, and one for the close codes."""
    groups: dict[str, list[Verdict]] = {}
    for verdict in sorted(cases, key=lambda verdict: verdict.category):
        groups.setdefault(str(verdict.category), []).append(verdict)
    for name, group in [*groups.items(), ("all", cases)]:
        behavior, ending = counted(verdict.behavior for verdict in group), counted(verdict.closing for verdict in group)
        yield f"{name:>4} {len(group):4} cases: {behavior}; closing: {ending}"
    codes = Counter(verdict.code for verdict in cases)
    yield "close codes: " + ", ".join(f"{code} ({count})" for code, count in codes.most_common())


def named(numbers: list[str]) -> str:
    """Return the first few numbers, as text in brackets."""
    return f" ({', '.join(numbers[:5])}{', …' if len(numbers) > 5 else ''})" if numbers else ""


def missing(cases: list[Verdict]) -> list[str]:
    """Return the cases of our list that have no verdict."""
    played = {verdict.number for verdict in cases}
    return [number for number in CLOSE_CODES if number not in played]


def main(arguments: list[str] | None = None) -> int:
    """Print the summary and every fault; return the exit code."""
    parser = argparse.ArgumentParser(description="Sum up a run of the Autobahn suite's fuzzing server.")
    parser.add_argument("index", type=Path, help="index.json in the folder of the reports")
    index: Path = parser.parse_args(arguments).index
    try:
        runs = verdicts(index)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        print(f"{index} is not a report of the suite ({error!r}): name the index.json in its outdir", file=sys.stderr)
        return 2
    wrong = 0 if runs else 1
    for client, cases in runs.items():
        print(client, *summary(cases), sep="\n")
        faults = [fault for verdict in cases if (fault := verdict.fault)]
        absent = missing(cases)
        for fault in faults:
            print(f"wrong: {fault}")
        print(f"{len(faults)} wrong, {len(absent)} not played{named(absent)}")
        wrong += len(faults) + len(absent)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
