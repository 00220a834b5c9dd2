"""A WebSocket client that sends what it is told to, byte by byte (RFC 6455)."""

import asyncio
import contextlib
import struct

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x01\x02\x03\x04"


def masked(payload, mask=MASK):
    repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload) ^ int.from_bytes(repeated)).to_bytes(len(payload))


def frame(opcode, payload=b"", *, fin=True, reserved=0, mask=MASK, length=None):
    """A client's frame; `mask` None leaves it unmasked, `length` is a length as written."""
    first = (0x80 if fin else 0) | (reserved << 4) | opcode
    size = len(payload)
    bit = 0 if mask is None else 0x80
    if length is None:
        length = bytes([bit | size]) if size < 126 else bytes([bit | 126]) + size.to_bytes(2) if size < 65536 else bytes([bit | 127]) + size.to_bytes(8)
    return bytes([first]) + length + (payload if mask is None else mask + masked(payload, mask))


def closing(code, reason=b""):
    return frame(CLOSE, struct.pack("!H", code) + reason)


class RawSocket:
    """An open connection: frames out as bytes, frames in as (opcode, fin, payload)."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    def send(self, *parts):
        self.writer.write(b"".join(parts))

    async def receive(self):
        """The next frame; None when the connection has ended."""
        try:
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size > 125:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8))
            assert not second & 0x80, "servers do not mask"
            assert not first & 0x70, "no extension was agreed on"
            return first & 0x0F, bool(first & 0x80), await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return None

    async def rest(self):
        """Everything until the end; a close is answered."""
        frames = []
        while (found := await self.receive()) is not None:
            frames.append(found)
            if found[0] == CLOSE:
                self.send(frame(CLOSE, found[2]))
        return frames


@contextlib.asynccontextmanager
async def opened(address, path, *, limit=2**16, headers=b""):
    """Connect and upgrade."""
    reader, writer = await asyncio.open_connection(*address[:2], limit=limit)
    head = b"GET %b HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n%b\r\n"
    writer.write(head % (path.encode(), KEY, headers))
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 101"), answer
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer  # RFC 6455, section 1.3
    try:
        yield RawSocket(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
