"""Python values as DynamoDB's attributes, and long ones in parts.

An item may have 400 KB (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html), a text of ours
16 MiB and more. A long value is cut into part items of its own, written once under a random token; the item that has the
value keeps a reference "token:count" under the name followed by "@".
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

Attribute = dict[str, Any]
Item = dict[str, Attribute]
"""An item as DynamoDB's protocol writes it: a type before each value."""

Plain = dict[str, Any]
"""The same with Python's own values."""

PART_BYTES = 300_000  # of one part; with its keys well below 400 KB
INLINE_BYTES = 2_000  # of a text in the item of its head: a head is rewritten with each step, and billed by its size
TEXT_BYTES = 30_000  # of a text in another item; in JSON it may take up to six times as much, as bytes 4/3
BODY_BYTES = 300_000  # of a chunk, a fact or a snapshot in its own item, which is written once


def item_of(values: Mapping[str, object]) -> Item:
    """The attributes of these values; None is no attribute."""
    return {name: attribute(value) for name, value in values.items() if value is not None}


def attribute(value: object) -> Attribute:
    """One value with its type."""
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bytes):
        return {"B": value}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int):
        return {"N": str(value)}
    raise TypeError(f"no attribute for {type(value).__name__}")


def plain(item: Item) -> Plain:
    """The values of an item's attributes."""
    return {name: _value(found) for name, found in item.items()}


def _value(found: Attribute) -> object:
    ((kind, value),) = found.items()
    return int(value) if kind == "N" else value


def size_of(item: Item) -> int:
    """About how many bytes an item has in a request, at most."""
    return 100 + sum(20 + len(name) + _length(value) for name, found in item.items() for value in found.values())


def _length(value: object) -> int:
    if isinstance(value, str):
        return len(value) * (2 if value.isprintable() and value.isascii() else 12)  # escaped
    return len(value) * 4 // 3 if isinstance(value, bytes) else 1


class Parts:
    """The long values of one write, cut into items of partition `pk`."""

    def __init__(self, pk: str) -> None:
        self.items: list[Item] = []
        self._pk = pk
        self._token = ""
        self._count = 0

    def put(self, name: str, value: str | bytes | None, inline: int) -> Plain:
        """The attributes that stand for a value: itself if it has at most `inline` bytes, else a reference to its parts."""
        if value is None or len(value) * 4 <= inline:
            return {name: value}
        data = value.encode() if isinstance(value, str) else value
        if len(data) <= inline:
            return {name: value}
        if not self._token:
            self._token = secrets.token_hex(8)
        token = f"{self._token}.{self._count}"
        self._count += 1
        pieces = [data[start : start + PART_BYTES] for start in range(0, len(data), PART_BYTES)]
        self.items += (item_of({"pk": self._pk, "sk": part_key(token, number), "body": piece}) for number, piece in enumerate(pieces))
        return {f"{name}@": f"{token}:{len(pieces)}"}


def part_key(token: str, number: int) -> str:
    """The sort key of a part; all parts sort before whatever else an execution has."""
    return f"b#{token}#{number:05}"


def part_keys(found: Plain, names: Iterable[str]) -> list[tuple[str, str]]:
    """The keys of the parts of an item's long values."""
    keys = []
    for name in names:
        if f"{name}@" in found:
            token, count = found[f"{name}@"].split(":")
            keys += [(found["pk"], part_key(token, number)) for number in range(int(count))]
    return keys


def joined(found: Plain, name: str, parts: Mapping[tuple[str, str], Plain], *, text: bool) -> Any:
    """A value, from the item itself or put together from its parts; raises KeyError if a part is missing."""
    if f"{name}@" not in found:
        return found.get(name)
    data = b"".join(parts[key]["body"] for key in part_keys(found, [name]))
    return data.decode() if text else data


def is_whole(found: Plain, names: Iterable[str], parts: Mapping[tuple[str, str], Plain]) -> bool:
    """Whether all parts of an item's long values are there; else somebody has just removed what the item was of."""
    return all(key in parts for key in part_keys(found, names))
