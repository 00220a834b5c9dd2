"""A connection's transport as its requests see it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

TOGETHER_BYTES = 64 * 1024  # no more is copied to be sent at once


class Answers:
    """Sends an answer's headers and body at once, as far as they come at once; `finish` closes the connection without losing the answer.

    Uvicorn writes headers and body apart. A server that is killed between the two has answered 200 with nothing in it, and there are
    clients that take it for an answer: botocore does not compare what it got with Content-Length, and a caller of StartExecution has
    no ARN. What is written by one call arrives whole or not at all, if it is not larger than the system's buffers.
    """

    __slots__ = ("_finish", "_loop", "_parts", "_transport", "is_closing")

    def __init__(self, transport: asyncio.Transport, finish: Callable[[], None]) -> None:
        self._transport = transport
        self._finish = finish
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []
        self.is_closing = transport.is_closing

    def write(self, part: bytes) -> None:
        """Send this: with what follows if it follows at once, else soon."""
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(part)

    def flush(self) -> None:
        """Send what there is now."""
        parts, self._parts = self._parts, []
        if not parts or self._transport.is_closing():
            return
        if sum(map(len, parts)) <= TOGETHER_BYTES:
            self._transport.write(b"".join(parts))
        else:
            self._transport.writelines(parts)

    def close(self) -> None:
        """Close once all is out."""
        self._finish()
