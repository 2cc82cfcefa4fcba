"""Makes the parts of one feed and connects them: reading, backlog and disk, publishing, and the way to the lead.

The rule: constructs and connects, and decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from threading import Event as Flag
from typing import Any, NamedTuple

from ingest.broker.broker import RateLimitedBroker
from ingest.broker.gaps import GapActor, GapRecord, gap_command, gap_message
from ingest.broker.hooks import EnqueueHooks, MessageEncoder, message_encoder, wrapped, wrapped_encoder
from ingest.broker.lease import Terms
from ingest.connection.callbacks import SessionMaker
from ingest.connection.feed import Feed, policy_of
from ingest.connection.hold import Hold
from ingest.connection.ports import Dial, Transport
from ingest.connection.session import To
from ingest.connection.status import FeedStatus
from ingest.connection.transport import connect
from ingest.connection.wakeup import Wakeup
from ingest.delivery.backlog import Backlog, Bounds
from ingest.delivery.batch_intake import BatchIntake
from ingest.delivery.core import Pace, PublisherCore
from ingest.delivery.envelope import mark_late
from ingest.delivery.feed_intake import intake_of
from ingest.delivery.intake import Intake
from ingest.delivery.losses import Losses
from ingest.delivery.publisher import Publisher
from ingest.delivery.spool_folder import Refusals
from ingest.delivery.store import Store
from ingest.errors import EnqueueVetoed, PayloadRefused, SpoolForeign
from ingest.events import Event, GapFound, SpoolingBegan, SpoolingEnded, SpoolTrouble
from ingest.service.claim import Claim
from ingest.service.gap_writer import GapWriter
from ingest.service.historian import Historian
from ingest.service.numbers import FeedReadings, GapTally
from ingest.service.progress import Progress
from ingest.service.references import FeedCode
from ingest.service.runner import FeedRunner
from ingest.service.spools import OpenSpool
from ingest.service.tenure import Tenure
from ingest.telemetry.bus import Bus
from ingest.telemetry.masking import hide_passing
from settings.masking import mask_url
from settings.model import FeedSettings, Settings


class Built(NamedTuple):
    """One feed, ready to start."""

    runner: FeedRunner
    claim: Claim
    tenure: Tenure


class _UserCode(NamedTuple):
    """What of the user's code takes part in one feed's delivery, noted while it runs."""

    hooks: EnqueueHooks
    encoder: MessageEncoder


class FeedBuilder:
    """Makes the feeds of one supervisor."""

    def __init__(self, settings: Settings, broker: RateLimitedBroker, gaps: GapWriter, history: Historian, bus: Bus) -> None:
        self._settings = settings
        self._broker = broker
        self._gaps = gaps
        self._history = history
        self._bus = bus
        self._tally = GapTally()
        self._hooks = broker.enqueue_hooks()
        self._encoder = message_encoder()

    def build(
        self,
        feed: FeedSettings,
        code: FeedCode,
        spool: OpenSpool | None,
        *,
        memory: dict[str, Any] | None = None,
        before: str = "",
    ) -> Built:
        """Return one feed; ``memory`` and ``before`` (a producer) are what this process kept of it under other settings."""
        wakeup, stop = Wakeup(), Flag()
        hold = Hold(wakeup.set)
        status = FeedStatus(feed.label, self._publish)
        user = _UserCode(wrapped(self._hooks, status.hooks.noted), wrapped_encoder(self._encoder, status.hooks.noted))
        self._gaps.use(feed.name, user.hooks, GapActor(feed.gap_actor, feed.queue) if feed.gap_actor is not None else None)
        self._history.know(feed.label, feed.name)
        losses = Losses(feed.name, feed.label, self._publish, position=lambda: status.position)
        store = self._store(feed, spool)
        backlog = Backlog(_bounds(feed), losses, store, spooling=partial(self._spooling, feed), on_room=wakeup.set)
        intake = intake_of(feed, backlog, encoder=user.encoder, routed=To, publish=self._publish, before=user.hooks.before)
        tenure = Tenure(feed.label, backlog, enter=intake.enter, changed=wakeup.set, publish=self._publish)
        flush = intake.flush_due if isinstance(intake, BatchIntake) else None
        publisher = self._publisher(feed, backlog, tenure, flush, user)
        progress = self._progress(feed, backlog, tenure, status, losses)
        claim = self._claim(feed, backlog, tenure, publisher, progress, before)
        reading = self._reading(feed, code, memory, intake, status, tenure, wakeup, stop, hold)
        self._take_up_gaps(feed, backlog)
        readings = FeedReadings(
            status,
            intake,
            backlog,
            losses,
            publisher,
            claim,
            slow_after=feed.open_timeout,
            gaps=partial(self._tally.of, feed.name),
        )
        return Built(FeedRunner(reading, intake, backlog, losses, publisher, readings, wakeup, stop, hold), claim, tenure)

    def _publish(self, event: Event) -> None:
        """Tell of an event; a gap is counted and recorded as well."""
        if isinstance(event, GapFound):
            self._tally.count(event)
            self._gaps.put(event)
        self._bus.publish(event)

    def _spooling(self, feed: FeedSettings, began: bool) -> None:
        self._publish(SpoolingBegan(telemetry_id=feed.label) if began else SpoolingEnded(telemetry_id=feed.label))

    def _take_up_gaps(self, feed: FeedSettings, backlog: Backlog) -> None:
        for data in backlog.take_gaps():
            record = GapRecord.decode(data)
            if record is not None:
                self._gaps.put_record(record, feed.label)

    def _terms(self, feed: FeedSettings) -> Terms:
        source = json.dumps([mask_url(feed.url, feed.secrets), feed.actor, feed.queue])
        return Terms(self._settings.supervisor.lease, sha256(source.encode()).hexdigest()[:16])

    def _store(self, feed: FeedSettings, opened: OpenSpool | None) -> Store | None:
        if opened is None or feed.spool is None:
            return None
        opened.folder.refusals = Refusals(partial(self._refused, feed))
        return Store(
            opened.spool,
            opened.folder,
            most=feed.spool.max_bytes,
            durable=feed.spool.fsync == "always" and feed.spool.persistent,
            feed=feed.name,
            label=feed.label,
            tell=self._publish,
        )

    def _refused(self, feed: FeedSettings, error: SpoolForeign) -> None:
        self._publish(SpoolTrouble(telemetry_id=feed.label, detail=str(error)))

    def _reading(
        self,
        feed: FeedSettings,
        code: FeedCode,
        memory: dict[str, Any] | None,
        intake: Intake,
        status: FeedStatus,
        tenure: Tenure,
        wakeup: Wakeup,
        stop: Flag,
        hold: Hold,
    ) -> Feed:
        maker = SessionMaker(
            feed, code.session_class, code.headers_function, code.subscribe_function, memory if memory is not None else {}
        )
        return Feed(
            feed,
            maker,
            policy_of(feed, maker, code.retry_function),
            intake,
            status,
            dial=_masking(feed, partial(connect, feed, wakeup=wakeup, stopping=lambda: stop.is_set() or bool(hold))),
            wakeup=wakeup,
            stopping=stop.is_set,
            lead=tenure,
            hold=hold,
        )

    def _publisher(
        self, feed: FeedSettings, backlog: Backlog, tenure: Tenure, flush: Callable[[], float] | None, user: _UserCode
    ) -> Publisher:
        core = PublisherCore(feed=feed.name, label=feed.label, queue=feed.queue, watermarks=self._broker.limits, pace=Pace())
        group = self._settings.supervisor.group
        return Publisher(
            backlog,
            self._broker.line(feed.name, group, self._terms(feed), partial(self._gap_arguments, feed, user)),
            core,
            tenure,
            publish=self._publish,
            mark_late=partial(mark_late, user.encoder) if feed.on_fenced == "deliver" else None,
            spools=feed.spool is not None,
            after=user.hooks.after,
            flush=flush,
        )

    def _gap_arguments(self, feed: FeedSettings, user: _UserCode, gap: GapFound) -> tuple[bytes, ...]:
        """Return the arguments of the EVAL that records a gap, and tells the feed's ``gap_actor`` where it names one."""
        record, message = GapRecord.of(gap), None
        if feed.gap_actor is not None:
            try:
                message = gap_message(record, GapActor(feed.gap_actor, feed.queue), user.hooks.before)
            except (PayloadRefused, EnqueueVetoed):
                message = None  # the gap writer tells of it
        return gap_command(self._broker.keys, self._settings.supervisor.group, record, message)

    def _progress(self, feed: FeedSettings, backlog: Backlog, tenure: Tenure, status: FeedStatus, losses: Losses) -> Progress:
        return Progress(
            backlog,
            tenure,
            places=status.places,
            missing_since=lambda: status.missing_since,
            unread_since=lambda: status.unread_since,
            unrecorded_since=(lambda: losses.since_us, lambda: self._gaps.since_us(feed.name)),
        )

    def _claim(
        self, feed: FeedSettings, backlog: Backlog, tenure: Tenure, publisher: Publisher, progress: Progress, before: str
    ) -> Claim:
        return Claim(
            feed.name,
            feed.label,
            self._terms(feed),
            backlog,
            tenure,
            publisher,
            progress=progress,
            adopted=partial(self._take_up_gaps, feed, backlog),
            before=before,
            publish=self._publish,
        )


def _masking(feed: FeedSettings, dial: Dial) -> Dial:
    """Let nothing that the user's code opens a connection with be readable in what is told of it."""

    def dial_masked(url: str, headers: Mapping[str, str]) -> Transport:
        hide_passing(feed, url, headers)
        return dial(url, headers)

    return dial_masked


def _bounds(feed: FeedSettings) -> Bounds:
    return Bounds(feed.backlog.messages, feed.backlog.bytes, feed.overflow, feed.durability == "disk")
