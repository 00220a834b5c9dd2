"""Small executions and writes for the suite; `number` makes one different from the next."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flowrunner.ports.executions import Chunk, Head, StepWrite

if TYPE_CHECKING:
    from flowrunner.ports.store import Store

ACCOUNT = "123456789012"
MACHINE = "orders"
START = 1_700_000_000_000  # 2023-11-14, in milliseconds

TEXTS = {
    "empty": "",
    "NUL": "a\0b",
    "only NUL": "\0",
    "two bytes": "für",
    "three bytes": "漢字",
    "four bytes": "😀\U0010ffff",
    "noncharacters": "\ufffe\uffff\ufdd0",
    "right to left": "\u202e\u0627",
    "control": "\t\r\n\x1b\x7f",
    "quotes": "'\"; DROP TABLE heads; -- ?1 :a @b $c %s",
    "1 byte below a page": "x" * 4095,
    "64 KiB": "y" * (1 << 16),
    "1 MiB": "é" * (1 << 19),
}
BLOBS = {"empty": b"", "zeros": bytes(10), "all": bytes(range(256)), "not UTF-8": b"\xff\xfe\x80", "1 MiB": b"\xa5" * (1 << 20)}


def head(number: int = 1, **changes: Any) -> Head:
    """A running execution."""
    plain = Head(
        id=f"{number:032x}",
        account=ACCOUNT,
        machine=MACHINE,
        name=f"name-{number}",
        revision=f"revision-{number}",
        status="RUNNING",
        input="{}",
        seed=number.to_bytes(16, "big"),
        started_at=START + number,
    )
    return replace(plain, **changes)


def full(number: int = 1, **changes: Any) -> Head:
    """An execution with every attribute set."""
    everything = {
        "owner": "node-1",
        "output": '{"out":1}',
        "error": "E",
        "cause": "C",
        "stopped_at": START + 5,
        "wake_at": START + 6,
        "last_seq": 7,
        "extra": '{"x":1}',
    }
    return head(number, **(everything | changes))


def records(first: int, count: int) -> Chunk:
    """A chunk of `count` small records."""
    return Chunk(first, count, ("[" + ",".join(f'{{"id":{number}}}' for number in range(first, first + count)) + "]").encode())


async def created(store: Store, number: int = 1, *, write: dict[str, Any] | None = None, **changes: Any) -> Head:
    """Create an execution and return its head as stored."""
    answer = await store.executions.commit(StepWrite(head=head(number, **changes), create=True, **(write or {})))
    assert isinstance(answer, Head)
    return answer


async def stepped(store: Store, before: Head, *, write: dict[str, Any] | None = None, **changes: Any) -> Head:
    """Commit one more step and return the head as stored."""
    answer = await store.executions.commit(StepWrite(head=replace(before, **changes), before=before, **(write or {})))
    assert isinstance(answer, Head)
    return answer
