"""The commands ``record`` and ``replay``.

The rule: as that of `ingest.service.cli`; here is only what the user may say, what becomes of it is `ingest.service.records`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.service.command_support import FeedsOption, known_feeds, problems_reported
from ingest.version import project_version

if TYPE_CHECKING:
    from settings import Settings

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="The record.")]
SpeedOption = Annotated[float | None, typer.Option("--speed", metavar="N", help="So many times as fast as recorded.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(epilog="Example: python -m ingest record trades -o trades.rec.zst --seconds 60")(record)
    app.command(epilog="Example: python -m ingest replay trades.rec.zst --to-queue --speed 10")(replay)


def record(
    feed: Annotated[str, typer.Argument(metavar="FEED", show_default=False, help="The feed's name in the settings.")],
    feeds: FeedsOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="A new file for the record. Default: FEED.rec.zst."),
    ] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", metavar="N", help="End after so long.")] = None,
    frames: Annotated[int | None, typer.Option("--frames", metavar="N", help="End after so many messages.")] = None,
    mask: Annotated[
        list[str] | None,
        typer.Option("--mask", metavar="NAME", help="Mask the value of this JSON member in all frames; may be repeated."),
    ] = None,
) -> None:
    """Record a feed's connections into a file.

    It connects as the supervisor would, reconnects included, but without Redis: frames of both directions, their times, what
    became of every connection and what the session emitted go into FILE. Secrets of the settings and what looks like
    credentials in sent frames are masked. Ctrl-C ends it.
    """
    with _refusals():
        from ingest.service import records

        records.check_packages("zstandard")
        records.check_positive(seconds, "--seconds")
        records.check_positive(frames, "--frames")
        with _settings(feeds, feed, "FEED") as settings:
            code = records.record_feed(
                settings,
                feed,
                output if output is not None else Path(f"{feed}.rec.zst"),
                seconds=seconds,
                frames=frames,
                masks=mask or (),
                recorder=f"dramatiq-websocket {project_version()}",
            )
    raise typer.Exit(code)


def replay(
    file: FileArgument,
    to_queue: Annotated[bool, typer.Option("--to-queue", help="Into the queue, through the feed's session.")] = False,
    serve: Annotated[
        int | None, typer.Option("--serve", metavar="PORT", min=0, max=65535, help="As a WebSocket server; 0: a free port.")
    ] = None,
    speed: SpeedOption = None,
    at_once: Annotated[bool, typer.Option("--at-once", help="Without any waiting.")] = False,
    feeds: FeedsOption = None,
    feed: Annotated[
        str | None, typer.Option("--feed", metavar="NAME", help="Through this feed. Default: the one recorded.")
    ] = None,
    first: Annotated[int, typer.Option("--from", metavar="N", help="With --to-queue: begin with frame N of the record.")] = 1,
    now: Annotated[bool, typer.Option("--now", help="With --to-queue: as received now, not when recorded.")] = False,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="With --serve: where to listen.")] = "127.0.0.1",
    loop: Annotated[bool, typer.Option("--loop", help="With --serve: begin again after the last connection.")] = False,
    wait: Annotated[
        str,
        typer.Option(
            "--wait", metavar="WHAT", help="With --serve, of the client: subscribe (its first frames), all (every frame), none."
        ),
    ] = "subscribe",
) -> None:
    """Replay a record into a queue, or as a WebSocket server. Without either, say what it holds.

    At the recorded pace, or with --speed or --at-once. The exit code is 1 where a record is not whole, or not all of it was
    replayed; what is whole is always replayed.
    """
    with _refusals():
        from ingest.service import records

        _check(to_queue, serve, at_once, speed, wait)
        records.check_packages(*(("zstandard", "websockets") if serve is not None else ("zstandard",)))
        records.check_positive(speed, "--speed")
        records.check_positive(first, "--from")
        pace = None if at_once else speed if speed is not None else 1.0
        if serve is not None:
            waits: records.Waits = "all" if wait == "all" else "none" if wait == "none" else "subscribe"
            code = records.serve(file, host, serve, speed=pace, loop=loop, waits=waits)
        elif not to_queue:
            code = records.describe(file)
        else:
            with records.opened(file) as opened:
                name = feed if feed is not None else opened.header.feed
                with _settings(feeds, name, "--feed") as settings:
                    code = records.replay_to_queue(settings, name, opened, file, speed=pace, first=first, now=now)
    raise typer.Exit(code)


def _check(to_queue: bool, serve: int | None, at_once: bool, speed: float | None, wait: str) -> None:
    from ingest.service.records import Refused

    if to_queue and serve is not None:
        raise Refused("--to-queue and --serve are two replays: choose one")
    if at_once and speed is not None:
        raise Refused("--at-once and --speed contradict each other: leave one out")
    if wait not in ("subscribe", "all", "none"):
        raise Refused(f"--wait is {wait}; it must be subscribe, all or none")


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn `Refused` into a line on standard error and exit code 2."""
    from ingest.service.records import Refused

    try:
        yield
    except Refused as refused:
        typer.echo(str(refused), err=True)
        raise typer.Exit(2) from None


@contextmanager
def _settings(feeds: Path | None, feed: str, option: str) -> Iterator[Settings]:
    """Load the settings, in which there must be this feed; problems are told as of every command."""
    from ingest.service.loading import load_settings

    with problems_reported(feeds):
        settings = load_settings(feeds, spools=False)
        known_feeds(settings, (feed,), option)
        yield settings
