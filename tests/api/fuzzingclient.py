# ruff: noqa: FBT002, N802, N803, N815, PLR0917 -- names and signatures are those that the cases call
"""The side of the client in Autobahn's cases: frames as a case wants them, RFC 6455 kept or broken, and what came of it."""

import asyncio
import struct

from autobahncases import WebSocketProtocol as States
from rawsocket import CLOSE, CONT, MASK, PING, PONG, TEXT, frame, opened

CLOSING_SECONDS = 1.0  # how long the server may take to answer a close, and then to drop the connection
SENDABLE = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011}
PIECES_AT_ONCE = 64
PLAIN = b"\0\0\0\0"  # a mask that changes nothing
LONG = 1024


def octets(text):
    return text.encode("latin-1") if isinstance(text, str) else text


def normal(value):
    """A value of a case, all strings of bytes."""
    if isinstance(value, (list, tuple)):
        return [normal(part) for part in value]
    return octets(value)


class Factory:
    isServer = False


class Fuzzer:
    """One connection with one case; the names are those that the cases use."""

    CLOSE_STATUS_CODE_NORMAL = 1000
    CLOSE_STATUS_CODE_PROTOCOL_ERROR = 1002
    CLOSE_STATUS_CODE_INVALID_PAYLOAD = 1007
    factory = Factory()

    def __init__(self, case, raw):
        self.raw = raw
        self.loop = asyncio.get_running_loop()
        self.state = States.STATE_OPEN
        self.connectionWasOpen = True
        self.closedByMe = self.failedByMe = self.droppedByMe = self.wasClean = False
        self.remoteCloseCode = self.localCloseCode = self.localCloseReason = None
        self.trafficStats = None
        self.createWirelog = False
        self.autoFragmentSize = 0
        self.txFrameStats = {}
        self.waiting = []
        self.pieces = asyncio.Queue()
        self.case = case(self)
        self.case.compare = lambda one, other: normal(one) == normal(other)

    def enableWirelog(self, enabled):
        self.createWirelog = enabled

    def later(self, delay, call):
        self.waiting.append(self.loop.call_later(delay, lambda: self.state == States.STATE_CLOSED or call()))

    def continueLater(self, delay, call, tag=None):
        del tag
        self.later(delay, call)

    def killAfter(self, delay):
        self.later(delay, self.fail)

    def closeAfter(self, delay):
        self.later(delay, self.sendClose)

    # --- out

    def sendFrame(self, opcode, payload="", fin=True, rsv=0, mask=None, payload_len=None, chopsize=None, sync=False):
        del mask, sync
        data = octets(payload)
        if payload_len is not None:
            data = (data * (payload_len // len(data) + 1))[:payload_len]
        self.txFrameStats[opcode] = self.txFrameStats.get(opcode, 0) + 1
        made = frame(opcode, data, fin=fin, reserved=rsv, mask=PLAIN if len(data) > LONG else MASK)
        for first in range(0, len(made), chopsize or len(made)):
            self.pieces.put_nowait(made[first : first + (chopsize or len(made))])

    def sendMessage(self, payload, isBinary=False, fragmentSize=None, sync=False, doNotCompress=False):
        del sync, doNotCompress
        data, size = octets(payload), fragmentSize or self.autoFragmentSize
        if self.state != States.STATE_OPEN:
            return
        parts = [data[first : first + size] for first in range(0, len(data), size)] if size and len(data) > size else [data]
        for place, part in enumerate(parts):
            self.sendFrame(CONT if place else TEXT + isBinary, part, fin=place + 1 == len(parts))

    def beginMessage(self):
        pass

    def beginMessageFrame(self, length):
        """The head of a frame whose payload comes in pieces."""
        head = frame(TEXT, b"x" * length, fin=False, mask=PLAIN)
        self.pieces.put_nowait(head[:-length])

    def sendMessageFrameData(self, payload):
        self.pieces.put_nowait(octets(payload))

    def endMessage(self):
        self.sendFrame(CONT)

    def sendCloseFrame(self, code=None, reasonUtf8=None, isReply=False):
        if self.state != States.STATE_OPEN:
            return
        self.sendFrame(CLOSE, (b"" if code is None else struct.pack("!H", code)) + octets(reasonUtf8 or ""))
        self.state = States.STATE_CLOSING
        self.closedByMe = not isReply
        self.localCloseCode, self.localCloseReason = code, reasonUtf8
        if not isReply:
            self.later(CLOSING_SECONDS, lambda: self.remoteCloseCode is None and not self.wasClean and self.drop())

    def sendClose(self, code=None, reason=None):
        self.sendCloseFrame(code, reason)

    def fail(self, code=1001):
        """The case has ended, or the server has broken the protocol."""
        self.failedByMe = True
        if self.state == States.STATE_CLOSING:
            self.drop(clean=self.wasClean)
        else:
            self.sendCloseFrame(code)

    def drop(self, *, clean=False):
        """Close the connection, which is the server's to do."""
        if self.state != States.STATE_CLOSED:
            self.droppedByMe, self.wasClean, self.state = True, clean, States.STATE_CLOSED
            self.raw.writer.transport.abort()

    async def write(self):
        """Send the pieces, each by itself."""
        sent = 0
        while True:
            self.raw.send(await self.pieces.get())
            sent += 1
            await self.raw.writer.drain()
            if sent % PIECES_AT_ONCE == 0:
                await asyncio.sleep(0)

    # --- in

    def closed(self, payload):
        """The server's close."""
        code = struct.unpack("!H", payload[:2])[0] if payload else None
        self.remoteCloseCode = code
        if len(payload) == 1 or (code is not None and code not in SENDABLE and not 3000 <= code < 5000):
            self.fail(1002)
            return
        payload[2:].decode()
        self.wasClean = True
        if self.state == States.STATE_OPEN:
            self.sendCloseFrame(code or 1000, isReply=True)
        self.later(CLOSING_SECONDS, self.drop)

    async def read(self):
        """Take frames until the connection has ended."""
        kind, parts = None, []
        while (received := await self.raw.receive()) is not None:
            opcode, fin, payload = received
            if opcode == CLOSE:
                self.closed(payload)
            elif opcode == PING:
                if self.state == States.STATE_OPEN:
                    self.sendFrame(PONG, payload)
            elif opcode == PONG:
                self.case.onPong(payload)
            else:
                kind = opcode if opcode != CONT else kind
                parts.append(payload)
                if fin:
                    message, parts = b"".join(parts), []
                    if kind == TEXT:
                        message.decode()
                    self.case.onMessage(message, kind != TEXT)


async def play(case, address, path="/"):
    """Run one case; it holds `behavior` and `behaviorClose`, each with a reason."""
    async with opened(address, path) as raw:
        fuzzer = Fuzzer(case, raw)
        writing = asyncio.create_task(fuzzer.write())
        fuzzer.case.onOpen()
        try:
            await fuzzer.read()
        finally:
            fuzzer.state = States.STATE_CLOSED
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            for call in fuzzer.waiting:
                call.cancel()
        fuzzer.case.onConnectionLost(fuzzer.failedByMe)
        return fuzzer.case
