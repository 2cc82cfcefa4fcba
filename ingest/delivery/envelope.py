"""Writes Dramatiq messages: a payload, its number and the time of its receipt become the bytes that a worker decodes.

The rule: what is the same for every message of a destination is encoded once, and the result is what Dramatiq's own encoder
would have written, field by field (design: `settings.wire`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple, Protocol

import orjson

from ingest.delivery.backlog import Entry
from ingest.delivery.numbers import decimals, message_ids
from ingest.delivery.payloads import BinaryRule, TextRule, checked_json, fast_json, offender, parsed_json, text_of
from ingest.errors import PayloadRefused
from settings.wire import FRAME_OPTION

#: Destinations remembered; a session that routes by content must not grow this without end.
_MOST_TEMPLATES = 1024

_TEXT = frozenset({str})

#: Makes an entry of a tuple of its fields; its own constructor takes four times as long.
_ENTRY: Callable[[tuple[Any, ...]], Entry] = partial(tuple.__new__, Entry)


class Routed(Protocol):
    """A payload with its own destination (`ingest.connection.session.To`); what is None comes from the feed."""

    payload: Any
    actor: str | None
    queue: str | None
    options: Mapping[str, Any] | None


class Encoder(Protocol):
    """The process's Dramatiq encoder; ``is_json`` says that it is Dramatiq's default, which writes JSON."""

    @property
    def encode(self) -> Callable[[dict[str, Any]], bytes]: ...
    @property
    def decode(self) -> Callable[[bytes], dict[str, Any]]: ...
    @property
    def is_json(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Destination:
    """Where messages go and with which Dramatiq options."""

    queue: str
    actor: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PayloadRules:
    """How a feed's texts and binary payloads become JSON (settings ``payload`` and ``binary``)."""

    text: TextRule = "text"
    binary: BinaryRule = "base64"


class Template(NamedTuple):
    """A message of one destination, cut where payload, id, number and time of receipt go."""

    destination: Destination
    to_payload: bytes
    to_first_id: bytes
    to_seq: bytes


class Piece(NamedTuple):
    """One payload on its way into a message that carries several: its JSON, or its value where that is not JSON; its size."""

    template: Template
    body: Any
    size: int


class Envelope:
    """Makes the messages of one producer.

    `PayloadRefused` if the destination's options cannot be encoded.

    Parameters:
      routed: the class of payloads that carry a destination of their own.
    """

    def __init__(
        self, *, feed: str, producer: str, destination: Destination, rules: PayloadRules, encoder: Encoder, routed: type[Routed]
    ) -> None:
        self._feed = feed
        self._producer = producer.encode()
        self._rules = rules
        self._encoder = encoder
        self._routed = routed
        self._templates: dict[tuple[str, str, bytes], Template] = {}
        self._default_options = self._encode_options(destination.options)
        self._default = self._template(destination.queue, destination.actor, destination.options, self._default_options)
        self._texts_as_they_are = rules.text == "text" and encoder.is_json

    def seal(self, payloads: Sequence[object], seq: int, received_us: int, out: list[Entry]) -> None:
        """Append a message for each payload to ``out``, numbered from ``seq``.

        `PayloadRefused` at the first that cannot be encoded; those before it are in ``out``.
        """
        sealed = 0
        if self._texts_as_they_are and _TEXT.issuperset(map(type, payloads)):
            before = len(out)
            try:
                out.extend(self._seal_texts(payloads, seq, received_us))
            except orjson.JSONEncodeError:  # a lone surrogate: those before it are in
                sealed = len(out) - before
            else:
                return
        for at in range(sealed, len(payloads)):
            out.append(self._seal_any(payloads[at], seq + at, received_us))

    def _seal_texts(self, texts: Sequence[object], first: int, received_us: int) -> Iterator[Entry]:
        """Yield the messages of texts: nearly all of a feed, hence no Python of ours that runs once per message."""
        destination, to_payload, to_first_id, to_seq = self._default
        to_second_id, to_end = _ending(received_us)
        seqs = range(first, first + len(texts))
        names = message_ids(self._producer, first, len(texts))
        columns = (
            repeat(to_payload),
            map(orjson.dumps, texts),  # one by one, so that what it allocates is free again for the next
            repeat(to_first_id),
            names,
            repeat(to_seq),
            decimals(first, len(texts)),
            repeat(to_second_id),
            names,
            repeat(to_end),
        )
        data = map(b"".join, zip(*columns, strict=False))
        return map(
            _ENTRY, zip(seqs, seqs, repeat(destination.queue), names, data, repeat(received_us), repeat(False), strict=False)
        )

    @property
    def writes_texts(self) -> bool:
        """Whether a text becomes JSON as it is."""
        return self._texts_as_they_are

    @property
    def default(self) -> Template:
        """The feed's own destination."""
        return self._default

    def piece(self, payload: object) -> Piece:
        """Return one payload of a message that carries several; `PayloadRefused`."""
        template = self._default
        if isinstance(payload, self._routed):
            template = self._template_of(payload)
            payload = payload.payload
        body = self._body(payload)
        if body is not None:
            return Piece(template, body, len(body))
        value = self._value(payload)
        data = self._through_encoder({"value": value}, value)
        if self._encoder.is_json:
            return Piece(template, data[len(b'{"value":') : -1], len(data))
        return Piece(template, self._encoder.decode(data)["value"], len(data))  # not what its owner may still change

    def seal_list(self, template: Template, pieces: Sequence[Any], first: int, last: int, received_us: int) -> Entry:
        """Return the message that carries these payloads, whose numbers are ``first`` to ``last``; `PayloadRefused`."""
        count, name = last - first + 1, b"%b-%012x" % (self._producer, first)
        if self._encoder.is_json:
            to_second_id, to_end = _ending(received_us, count)
            start = (template.to_payload, b"[", b",".join(pieces), b"]", template.to_first_id, name, template.to_seq)
            data = b"".join((*start, b"%d" % first, to_second_id, name, to_end))
        else:
            data = self._encode(template.destination, list(pieces), name.decode(), first, received_us, count)
        return Entry(first, last, template.destination.queue, name, data, received_us)

    def _seal_any(self, payload: object, seq: int, received_us: int) -> Entry:
        template = self._default
        if isinstance(payload, self._routed):
            template = self._template_of(payload)
            payload = payload.payload
        name = b"%b-%012x" % (self._producer, seq)
        body = self._body(payload)
        if body is None:
            data = self._encode(template.destination, self._value(payload), name.decode(), seq, received_us)
        else:
            to_second_id, to_end = _ending(received_us)
            start = (template.to_payload, body, template.to_first_id, name, template.to_seq, b"%d" % seq)
            data = b"".join((*start, to_second_id, name, to_end))
        return Entry(seq, seq, template.destination.queue, name, data, received_us)

    def _body(self, payload: object) -> bytes | None:
        """Return a payload's JSON, or None where Dramatiq's encoder has to write the message."""
        if not self._encoder.is_json:
            return None
        if isinstance(payload, bytes) and (self._rules.binary != "utf-8" or self._rules.text == "text"):
            return fast_json(text_of(payload, self._rules.binary))
        if isinstance(payload, bytes):
            payload = text_of(payload, "utf-8")
        if type(payload) is str and self._rules.text == "json":
            return checked_json(payload)
        return fast_json(payload)

    def _encode(
        self, destination: Destination, value: object, name: str, seq: int, received_us: int, count: int | None = None
    ) -> bytes:
        """Return the message as the process's Dramatiq encoder writes it."""
        options = dict(destination.options)
        options["redis_message_id"] = name
        options[FRAME_OPTION] = {"feed": self._feed, "seq": seq, "received_us": received_us}
        if count is not None:
            options[FRAME_OPTION]["count"] = count
        fields = {
            "queue_name": destination.queue,
            "actor_name": destination.actor,
            "args": (value,),
            "kwargs": {},
            "options": options,
            "message_id": name,
            "message_timestamp": received_us // 1000,
        }
        return self._through_encoder(fields, value)

    def _value(self, payload: object) -> object:
        """Return what the actor gets for a payload."""
        as_text = isinstance(payload, bytes)
        if isinstance(payload, bytes):
            payload = text_of(payload, self._rules.binary)
        is_json = self._rules.text == "json" and (not as_text or self._rules.binary == "utf-8")
        return parsed_json(payload) if is_json and type(payload) is str else payload

    def _through_encoder(self, fields: dict[str, Any], culprit: object) -> bytes:
        try:
            return self._encoder.encode(fields)
        except Exception as error:  # an encoder of the user's own may raise anything: the value is what it refuses
            raise PayloadRefused(offender(culprit), f"{type(error).__name__}: {error}"[:200]) from error

    def _template_of(self, routed: Routed) -> Template:
        default = self._default.destination
        queue, actor = routed.queue or default.queue, routed.actor or default.actor
        if type(queue) is not str or type(actor) is not str:
            raise PayloadRefused(type(routed).__name__, "queue and actor must be texts")
        if routed.options is None:
            return self._template(queue, actor, default.options, self._default_options)
        options = {**default.options, **routed.options}
        return self._template(queue, actor, options, self._encode_options(options))

    def _template(self, queue: str, actor: str, options: Mapping[str, Any], encoded_options: bytes) -> Template:
        """Return the template of a destination; made once."""
        key = (queue, actor, encoded_options)
        template = self._templates.get(key)
        if template is None:
            template = self._cut(Destination(queue, actor, options), encoded_options)
            if len(self._templates) >= _MOST_TEMPLATES:
                self._templates.clear()
            self._templates[key] = template
        return template

    def _encode_options(self, options: Mapping[str, Any]) -> bytes:
        """Return options as the middle of a JSON object (or as the process's encoder writes them: then it is only a key)."""
        own = {name: value for name, value in options.items() if name not in ("redis_message_id", FRAME_OPTION)}
        return self._through_encoder(own, own)[1:-1] if own else b""

    def _cut(self, destination: Destination, options: bytes) -> Template:
        names = (orjson.dumps(destination.queue), orjson.dumps(destination.actor))
        between = b"," + options if options else b""
        return Template(
            destination,
            b'{"queue_name":%b,"actor_name":%b,"args":[' % names,
            b'],"kwargs":{},"options":{"redis_message_id":"',
            b'"%b,"%b":{"feed":%b,"seq":' % (between, FRAME_OPTION.encode(), orjson.dumps(self._feed)),
        )


def _ending(received_us: int, count: int | None = None) -> tuple[bytes, bytes]:
    """Return what stands between a message's number and its second id, and after that; ``count``: it carries a list."""
    more = b"" if count is None else b',"count":%d' % count
    to_second_id = b',"received_us":%d%b}},"message_id":"' % (received_us, more)
    return to_second_id, b'","message_timestamp":%d}' % (received_us // 1000)


def mark_late(encoder: Encoder, data: bytes) -> bytes:
    """Return a message with ``late`` in its ``frame`` option: another supervisor has led since, and may have read the same."""
    fields = encoder.decode(data)
    options = dict(fields["options"])
    options[FRAME_OPTION] = {**options.get(FRAME_OPTION, {}), "late": True}
    return encoder.encode({**fields, "options": options})
