"""TLS over any stream, reading every record of one raw read at once.

The rule: no error of `ssl` leaves `secure`, nor a stream once it is secured.
"""

from __future__ import annotations

import ssl
from contextlib import suppress

from ingest.connection.opening import Opening
from ingest.connection.stream import READ_BYTES, Stream, read_buffer
from ingest.connection.tls_context import context_for, reason_of
from ingest.errors import ConnectionDropped
from settings.model import TLSSettings


class TLSStream:
    """A TLS client over another stream, which may itself be one (a proxy that is spoken to over TLS)."""

    def __init__(self, lower: Stream, context: ssl.SSLContext, server_hostname: str) -> None:
        self._lower = lower
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self._plain = read_buffer()
        self._held = bytearray()  # what waits for the end of a renegotiation, which only reading brings
        self.ended: str | None = None

    def fileno(self) -> int:
        return self._lower.fileno()

    def handshake(self) -> bool:
        """Go on with the handshake; tell whether it is done. Raises ssl.SSLError."""
        self._incoming.write(self._lower.receive())
        if self._lower.ended is not None:
            self._incoming.write_eof()
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._pass_down()  # also the alert that says why we refuse
        return True

    def receive(self) -> bytes:
        self._incoming.write(self._lower.receive())
        data = self._decrypt()
        with suppress(ConnectionDropped):  # what was read comes first
            self._encrypt()  # also passes down what TLS has to say itself: answers to a key update, alerts
        self.ended = self.ended or self._lower.ended
        return data

    def _decrypt(self) -> bytes:
        read, plain = self._tls.read, self._plain  # this is done for every record, and venues put each frame in one of its own
        full: list[bytes] = []
        filled = 0
        try:
            while count := read(READ_BYTES, plain[filled:]):
                filled += count  # type: ignore[operator]  # typeshed says bytes; with a buffer it is a count
                if filled == READ_BYTES:  # a little more than one raw read: the end of a record begun in an earlier one
                    full.append(bytes(plain))
                    filled = 0
            self.ended = "the peer ended the TLS session"
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.ended = self.ended or describe_tls(error)
        return b"".join([*full, plain[:filled]])

    def queue(self, data: bytes) -> None:
        self._held += data
        self._encrypt()

    def _encrypt(self) -> None:
        try:
            while self._held:
                del self._held[: self._tls.write(self._held)]
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            raise ConnectionDropped(self.ended or describe_tls(error)) from error
        finally:
            self._pass_down()

    def _pass_down(self) -> None:
        if self._outgoing.pending:
            self._lower.queue(self._outgoing.read())

    def flush(self) -> bool:
        return self._lower.flush()

    def end(self) -> None:
        with suppress(ssl.SSLError, ConnectionDropped):
            try:
                self._tls.unwrap()  # says close_notify; the server's own is not waited for
            finally:
                self._pass_down()
                self.flush()
        self._lower.end()

    def close(self) -> None:
        self.ended = self.ended or "closed by us"
        self._lower.close()

    def abort(self) -> None:
        self.ended = self.ended or "closed by us"
        self._lower.abort()


def secure(lower: Stream, settings: TLSSettings, host: str, opening: Opening) -> TLSStream:
    """Return a stream over ``lower`` after the TLS handshake with ``host``."""
    opening.step = "tls"
    try:
        stream = TLSStream(lower, context_for(settings), settings.server_hostname or host.rstrip("."))
        while not stream.handshake():
            opening.wait_for_input(lower)
    except ssl.SSLCertVerificationError as error:
        _send_alert(lower)
        raise opening.failed(f"the certificate of {host} is not accepted: {error.verify_message.rstrip('.')}") from error
    except ssl.SSLError as error:
        _send_alert(lower)
        raise opening.failed(lower.ended or describe_tls(error)) from error
    except ConnectionDropped as error:
        raise opening.failed(error.detail) from error
    except ValueError as error:  # an empty name, or one with a leading dot
        raise opening.failed(f"{settings.server_hostname or host!r} is no name that a certificate could have") from error
    return stream


def _send_alert(lower: Stream) -> None:
    with suppress(ConnectionDropped):
        lower.flush()


def describe_tls(error: ssl.SSLError) -> str:
    """Return OpenSSL's reason in words."""
    reason = reason_of(error)
    if reason == "wrong version number":
        return "the server does not speak TLS on this port (is it a ws:// URL?)"
    if isinstance(error, ssl.SSLEOFError):
        return "the peer ended the stream"
    return f"TLS: {reason}" if reason else "TLS error"
