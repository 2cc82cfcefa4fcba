"""UTF-8 judged while it arrives.

The rule: text is refused with the first byte after which no continuation could make it valid.
"""

from __future__ import annotations

import codecs

_Decoder = codecs.getincrementaldecoder("utf-8")


class Utf8Check:
    """Check one text that comes in pieces."""

    __slots__ = ("_decoder",)

    def __init__(self) -> None:
        self._decoder = _Decoder()

    def add(self, piece: bytes) -> None:
        """Take the next piece; raise UnicodeDecodeError where no continuation is valid."""
        # Only the verdict is used: text kept as decoded pieces can take four times its bytes, and more in tiny pieces.
        self._decoder.decode(piece)
        pending = self._decoder.getstate()[0]
        if len(pending) == 2 and pending[0] == 0xED and pending[1] >= 0xA0:
            # CPython waits for the third byte of a surrogate, for the sake of its surrogatepass handler.
            raise UnicodeDecodeError("utf-8", pending, 0, 2, "surrogates are no characters")
