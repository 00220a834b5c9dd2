"""SQLite's functions of texts whose work is the product of two lengths, made linear: within one of them nothing can stop a statement.

``instr``, ``replace``, ``trim`` and its like search plainly: with 16 MiB against 8 MiB they take hours, whatever the time limit is.
Here texts are searched as Python does, in linear time; values of other kinds go to SQLite's own function as long as they are short.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import apsw

Value = str | bytes | int | float | None
MOST_STEPS = 10**9  # of SQLite's own functions: a second or two


def guard(connection: apsw.Connection, *, most_bytes: int) -> None:
    """Put them in the place of SQLite's own; a result has at most `most_bytes`."""
    own = partial(_own, apsw.Connection(":memory:"))
    functions: dict[tuple[str, int], Callable[..., Value]] = {
        ("instr", 2): partial(_instr, own),
        ("replace", 3): partial(_replace, own, most_bytes),
        ("trim", 2): partial(_trim, own, "trim"),
        ("ltrim", 2): partial(_trim, own, "ltrim"),
        ("rtrim", 2): partial(_trim, own, "rtrim"),
        ("unhex", 2): partial(own, "unhex"),
    }
    for (name, arguments), function in functions.items():
        connection.create_scalar_function(name, function, arguments, deterministic=True, flags=apsw.SQLITE_INNOCUOUS)


def _own(other: apsw.Connection, name: str, *values: Value) -> Value:
    """What SQLite's own function gives."""
    first, second = (len(value) if isinstance(value, str | bytes) else 1 for value in values[:2])
    if first * second > MOST_STEPS:
        raise apsw.TooBigError(f"The arguments of {name} are too long for it.")
    found: Value = other.execute(f"SELECT {name}({', '.join('?' * len(values))})", values).get
    return found


def _instr(own: Callable[..., Value], text: Value, part: Value) -> Value:
    if isinstance(text, str) and isinstance(part, str):
        return text.find(part) + 1
    if isinstance(text, bytes) and isinstance(part, bytes):
        return text.find(part) + 1
    return own("instr", text, part)


def _replace(own: Callable[..., Value], most_bytes: int, text: Value, part: Value, by: Value) -> Value:
    if not (isinstance(text, str) and isinstance(part, str) and isinstance(by, str)) or not part or part[0] == "\0":
        return own("replace", text, part, by)
    found = text.count(part)
    if len(text.encode()) + found * (len(by.encode()) - len(part.encode())) > most_bytes:
        raise apsw.TooBigError("string or blob too big")
    return text.replace(part, by)


def _trim(own: Callable[..., Value], name: str, text: Value, of: Value) -> Value:
    if not (isinstance(text, str) and isinstance(of, str)):
        return own(name, text, of)
    characters, begin, end = set(of.partition("\0")[0]), 0, len(text)  # SQLite reads the set up to a NUL
    while name != "rtrim" and begin < end and text[begin] in characters:
        begin += 1
    while name != "ltrim" and end > begin and text[end - 1] in characters:
        end -= 1
    return text[begin:end]
