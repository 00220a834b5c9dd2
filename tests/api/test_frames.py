"""RFC 6455 frame by frame, against an application that echoes: groups of cases like those of Autobahn, without its package (`test_autobahn` has its own)."""

import asyncio
import contextlib
import struct

from liveworld import LiveWorld
from rawsocket import BINARY, CLOSE, CONT, PING, PONG, TEXT, closing, frame, opened

from flowrunner.cli.protocol import MAX_FRAGMENTS, MAX_MESSAGE_BYTES


async def echo(scope, receive, send):
    """Send back what comes, as it came."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        kind = "bytes" if message.get("bytes") is not None else "text"
        await send({"type": "websocket.send", kind: message[kind]})


@contextlib.asynccontextmanager
async def echoing():
    """Asks a server that echoes; each question is a connection of its own."""
    world = LiveWorld(app=echo)

    async def said(*parts, answers=0, piece=None, then=b""):
        """All that comes back for these bytes; `then` is sent behind this many answers, a close if there are any."""
        async with opened(world.address, "/") as raw:
            data = b"".join(parts)
            size = piece or len(data)
            for first in range(0, len(data), size):
                raw.send(data[first : first + size])
                await raw.writer.drain()
            found = [await raw.receive() for _ in range(answers)]
            if answers:
                raw.send(then or closing(1000))
            return found + await raw.rest()

    async with world.served():
        yield said


def codes(said):
    return [(opcode, payload[:2]) for opcode, _, payload in said]


def failed(code):
    return [(CLOSE, struct.pack("!H", code))]


OK = (CLOSE, True, struct.pack("!H", 1000))


def text(payload):
    return (TEXT, True, payload)


def binary(payload):
    return (BINARY, True, payload)


async def test_texts_and_binaries_of_all_lengths():
    """1.1 and 1.2: every form of length, both kinds."""
    async with echoing() as said:
        for size in (0, 1, 125, 126, 127, 128, 65535, 65536, MAX_MESSAGE_BYTES):
            payload = b"*" * size
            assert await said(frame(TEXT, payload), frame(BINARY, payload), answers=2) == [text(payload), binary(payload), OK]


async def test_bytes_may_come_in_any_pieces():
    """1.1.8, 2.6, 9.7: frames cut anywhere."""
    async with echoing() as said:
        for piece, size in ((1, 300), (997, 65536)):
            answers = await said(frame(PING, b"p" * 125), frame(TEXT, b"x" * size), piece=piece, answers=2)
            assert answers == [(PONG, True, b"p" * 125), text(b"x" * size), OK]


async def test_pings_and_pongs():
    """2.1 to 2.11: pings are answered with their payload, pongs are not; a ping above 125 bytes fails."""
    payload = bytes(range(0xF0, 0x100))
    async with echoing() as said:
        many = [frame(PING, b"%d" % number) for number in range(10)]
        answers = await said(frame(PING), frame(PING, payload), frame(PONG, b"unasked"), *many, answers=12)
        assert answers == [(PONG, True, b""), (PONG, True, payload), *((PONG, True, b"%d" % number) for number in range(10)), OK]
        assert codes(await said(frame(PING, b"x" * 126))) == failed(1002)


async def test_reserved_bits_fail():
    """3.x: no extension was agreed on, so no reserved bit may be set; what came before is answered."""
    async with echoing() as said:
        for reserved in range(1, 8):
            for opcode in (TEXT, BINARY, PING, CLOSE):
                answers = await said(frame(PING, b"before"), frame(opcode, b"", reserved=reserved))
                assert answers[0] == (PONG, True, b"before")
                assert codes(answers[1:]) == failed(1002)


async def test_reserved_opcodes_fail():
    """4.x."""
    async with echoing() as said:
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
            for payload in (b"", b"reserved"):
                assert codes(await said(frame(opcode, payload), frame(PING))) == failed(1002)


async def test_fragments_are_put_together():
    """5.3 to 5.8, 5.19: control frames may stand between fragments and are answered at once."""
    parts = [
        frame(TEXT, b"frag", fin=False),
        frame(PING, b"1"),
        frame(CONT, b"", fin=False),
        frame(CONT, b"ment", fin=False),
        frame(PING, b"2"),
        frame(CONT, b"s"),
    ]
    async with echoing() as said:
        for piece in (None, 1):
            assert await said(*parts, piece=piece, answers=3) == [(PONG, True, b"1"), (PONG, True, b"2"), text(b"fragments"), OK]
        assert await said(frame(BINARY, b"\x00", fin=False), frame(CONT, b"\xff"), answers=1) == [binary(b"\x00\xff"), OK]
        assert await said(frame(TEXT, fin=False), frame(CONT, fin=False), frame(CONT), answers=1) == [text(b""), OK]


BROKEN = [
    [frame(PING, b"x", fin=False), frame(CONT, b"y")],  # 5.1
    [frame(PONG, b"x", fin=False), frame(CONT, b"y")],  # 5.2
    [frame(CONT, b"x")],  # 5.9 to 5.14
    [frame(CONT, b"x", fin=False), frame(TEXT, b"y")],
    [frame(TEXT, b"x", fin=False), frame(TEXT, b"y")],  # 5.15 to 5.18
    [frame(TEXT, b"x", fin=False), frame(BINARY, b"y")],
    [frame(TEXT, b"x", mask=None)],  # section 5.1: clients mask
    [frame(CLOSE, b"\x03")],  # 7.3.2
    [frame(CLOSE, b"x" * 126)],  # 7.3.6
]


async def test_what_breaks_the_protocol_fails():
    """The connection closes with 1002 and nothing else."""
    async with echoing() as said:
        for parts in BROKEN:
            assert codes(await said(*parts)) == failed(1002), parts


VALID = [
    "κόσμε",
    "\x00",
    "\u0080",
    "\u0800",
    "\U00010000",
    "\x7f",
    "\u07ff",
    "\uffff",
    "\U0010ffff",
    "\ud7ff",
    "\ue000",
    "\ufffd",
    "\ufffe",
    "\ufdd0",
    "Hello-µ@ßöäüàá-UTF-8!!",
]
INVALID = [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",  # 6.3: a surrogate
    b"\xf4\x90\x80\x80",  # above U+10FFFF
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\x80",
    b"\xbf",
    b"\x80\xbf\x80",
    b"\xc0 ",
    b"\xe0 ",
    b"\xf0 ",
    b"\xc0\xaf",  # overlong
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xed\xb0\x80",
    b"\xfe",
    b"\xff",
    b"\xce",  # cut off
    b"\xe1\xbd",
]


async def test_utf8_comes_back():
    """6.1, 6.2, 6.5 and the valid ones of 6.6 to 6.23, whole and cut at every byte."""
    async with echoing() as said:
        for payload in map(str.encode, VALID):
            fragments = [frame(TEXT if not place else CONT, payload[place : place + 1], fin=place + 1 == len(payload)) for place in range(len(payload))]
            assert await said(frame(TEXT, payload), *fragments, answers=2) == [text(payload), text(payload), OK]


async def test_bad_utf8_closes_with_1007():
    """6.3 and the invalid ones of 6.6 to 6.23; binary may hold anything."""
    async with echoing() as said:
        for invalid in INVALID:
            answers = await said(frame(BINARY, invalid), answers=1, then=frame(TEXT, invalid))
            assert answers[0] == binary(invalid)
            assert codes(answers[1:]) == failed(1007), invalid
            assert codes(await said(frame(TEXT, b"good", fin=False), frame(CONT, invalid))) == failed(1007), invalid


async def test_close_codes_are_returned():
    """7.7: valid codes come back; 7.1: nothing after the close is answered."""
    async with echoing() as said:
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
            late = closing(code, "gründe".encode()) + frame(TEXT, b"late") + frame(PING)
            answers = await said(frame(TEXT, b"a"), answers=1, then=late)
            assert answers[0] == text(b"a")
            assert codes(answers[1:]) == failed(code)


async def test_close_codes_that_nobody_may_send_fail():
    """7.9, 7.13."""
    async with echoing() as said:
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
            assert codes(await said(closing(code))) == failed(1002), code


async def test_closes_without_code_and_with_bad_text():
    """7.3.1: an empty close is answered; 7.3.3 to 7.3.5: a reason of up to 123 bytes; 7.5.1: one that is no UTF-8 fails."""
    async with echoing() as said:
        assert codes(await said(frame(CLOSE))) == [(CLOSE, b"")]
        assert codes(await said(closing(1000, b"*" * 123))) == failed(1000)
        assert codes(await said(closing(1000, b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80"))) in (failed(1002), failed(1007))


async def test_large_messages_in_fragments():
    """9.3, 9.4: up to the limit, however it is cut (within the limit of fragments)."""
    async with echoing() as said:
        for fragment in (128, 1024, 16384):
            payload = b"*" * min(MAX_MESSAGE_BYTES, fragment * MAX_FRAGMENTS)
            parts = [payload[first : first + fragment] for first in range(0, len(payload), fragment)]
            frames = [frame(TEXT if not place else CONT, part, fin=place == len(parts) - 1) for place, part in enumerate(parts)]
            assert await said(*frames, answers=1) == [text(payload), OK]


TOO_LARGE = {
    "whole": [frame(TEXT, b"x" * (MAX_MESSAGE_BYTES + 1))],
    "announced": [frame(TEXT, b"", length=b"\xff" + (2**40).to_bytes(8))],
    "in fragments": [frame(TEXT, b"x" * MAX_MESSAGE_BYTES, fin=False), frame(CONT, b"y")],
    "of nothing": [frame(TEXT, fin=False), *(frame(CONT, fin=False) for _ in range(MAX_FRAGMENTS + 50))],
}


async def test_too_large_closes_with_1009():
    """A message above the limit is not kept, whole or in fragments; nor are endless empty fragments."""
    async with echoing() as said:
        for name, parts in TOO_LARGE.items():
            assert codes(await said(*parts)) == failed(1009), name


async def test_compression_is_not_agreed_on():
    """A client may ask; the answer has no extension, and frames are plain."""
    world = LiveWorld(app=echo)
    async with world.served(), opened(world.address, "/", headers=b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n") as raw:
        raw.send(frame(TEXT, b"a" * 100))
        assert await raw.receive() == text(b"a" * 100)


async def test_pings_of_a_client_that_reads_nothing_do_not_pile_up():
    """Nothing is read from a client that takes no pongs, so what is kept for it is bounded."""
    world = LiveWorld(app=echo)
    async with world.served(), opened(world.address, "/") as raw:
        raw.writer.transport.pause_reading()
        flood = frame(PING, b"x" * 125) * 1000
        sent = 0
        try:
            async with asyncio.timeout(1.0):
                while sent < 64 * 2**20:
                    raw.send(flood)
                    sent += len(flood)
                    await raw.writer.drain()
        except TimeoutError:
            pass
        assert sent < 64 * 2**20
        raw.writer.transport.abort()
