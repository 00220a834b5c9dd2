"""The 18 ``States.*`` functions, as one table.

Source: the States language's appendix B and AWS's "Intrinsic functions" page (limits, June 2025), made precise by AWS's
recorded answers: numbers are rounded half up, ``States.Format`` prints objects as Java does, empty parts of a split are
dropped, blank text parses to null. A function gets its evaluated arguments (the right number of them) and the entropy of the
execution, gives a JSON value and raises IntrinsicError with a bare reason; the caller adds which call it was.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import re
from collections.abc import Callable
from typing import NamedTuple

from flowrunner.entropy import Entropy
from flowrunner.errors import IntrinsicError, InvalidDocument
from flowrunner.jsonvalue import MAX_DEPTH, JSONValue, depth, dumps, loads, weight
from flowrunner.lang.reference import java_text

MAX_RANGE = 1_000  # elements States.ArrayRange makes (AWS)
MAX_DATA = 10_000  # characters the Base64 and hash functions take (AWS)
MIN_INTEGER, MAX_INTEGER = -(2**31), 2**31 - 1  # Java int
HASHES = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}

_ANY = 1 << 62  # whatever there is, nobody looks at it

Arguments = list[JSONValue]


class Function(NamedTuple):
    """A function and how many arguments it takes.

    `characters` and `members` are how many of them it takes or gives in a microsecond (measured), which is a step of the meter.
    `bytes` is how many of the JSON text of what it walks through, at all levels; 0 for a function that looks at the first level only.
    """

    call: Callable[[Arguments, Entropy], JSONValue]
    least: int
    most: int
    characters: int = 256
    members: int = 32
    bytes: int = 0

    def price(self, arguments: Arguments) -> int:
        """What a call will cost, in steps of the meter, beside its result."""
        return 1 + sum(weight(value) // self.bytes if self.bytes and type(value) in (list, dict) else self.price_of(value) for value in arguments)

    def price_of(self, value: JSONValue) -> int:
        """What it costs to take or make a value."""
        kind = type(value)
        if kind is str:
            return len(value) // self.characters
        return len(value) // self.members if kind is list or kind is dict else 0


def _integer(value: JSONValue, name: str) -> int:
    """`value` rounded half up as ``Math.round`` does: -1.5 is -1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise IntrinsicError(f"The {name} must be a number")
    rounded = value if isinstance(value, int) else math.floor(value + 0.5)
    if not MIN_INTEGER <= rounded <= MAX_INTEGER:
        raise IntrinsicError(f"The {name} must be between {MIN_INTEGER} and {MAX_INTEGER}")
    return rounded


def _array(value: JSONValue) -> list[JSONValue]:
    if not isinstance(value, list):
        raise IntrinsicError("The first argument must be an array")
    return value


def _string(value: JSONValue, name: str) -> str:
    if not isinstance(value, str):
        raise IntrinsicError(f"The {name} must be a string")
    return value


def _data(value: JSONValue) -> str:
    text = _string(value, "first argument")
    if len(text) > MAX_DATA:
        raise IntrinsicError(f"The data must not exceed {MAX_DATA} characters")
    return text


_TOKEN = re.compile(r"\\([\\'{}])|(\{\})")


def _format(arguments: Arguments, _: Entropy) -> str:
    """Fill the ``{}`` of the first argument, which still has its backslash escapes."""
    pieces: list[str] = []
    values = iter(arguments[1:])
    template, at, filled = _string(arguments[0], "first argument"), 0, 0
    for match in _TOKEN.finditer(template):
        pieces.append(template[at : match.start()])
        if match[1] is not None:
            pieces.append(match[1])
        else:
            filled += 1
            pieces.append(java_text(next(values, None)))
        at = match.end()
    if filled != len(arguments) - 1:
        raise IntrinsicError(f"The number of arguments ({len(arguments) - 1}) does not match the occurrences of {{}} ({filled})")
    return "".join(pieces) + template[at:]


def _string_to_json(arguments: Arguments, _: Entropy) -> JSONValue:
    text = _string(arguments[0], "argument")
    if not text.strip():
        return None
    try:
        value = loads(text)
    except InvalidDocument as error:
        raise IntrinsicError(f"The argument is not valid JSON: {error.message}") from None
    if depth(value) > MAX_DEPTH:
        raise IntrinsicError(f"The argument nests deeper than {MAX_DEPTH}")
    return value


def _json_to_string(arguments: Arguments, _: Entropy) -> str:
    return dumps(arguments[0])


def _array_of(arguments: Arguments, _: Entropy) -> list[JSONValue]:
    return arguments


def _array_partition(arguments: Arguments, _: Entropy) -> list[list[JSONValue]]:
    array, size = _array(arguments[0]), _integer(arguments[1], "chunk size")
    if size <= 0:
        raise IntrinsicError("The chunk size must be a positive integer")
    return [array[start : start + size] for start in range(0, len(array), size)]


def _array_contains(arguments: Arguments, _: Entropy) -> bool:
    sought = _frozen(arguments[1])
    return any(_frozen(item) == sought for item in _array(arguments[0]))


def _array_range(arguments: Arguments, _: Entropy) -> list[int]:
    first, last, step = (_integer(value, name) for value, name in zip(arguments, ("start", "end", "step"), strict=True))
    if step == 0:
        raise IntrinsicError("The step must not be zero")
    numbers = range(first, last + (1 if step > 0 else -1), step)
    if len(numbers) > MAX_RANGE:
        raise IntrinsicError(f"The array must not exceed {MAX_RANGE} elements")
    return list(numbers)


def _array_get_item(arguments: Arguments, _: Entropy) -> JSONValue:
    array, index = _array(arguments[0]), _integer(arguments[1], "index")
    if not 0 <= index < len(array):
        raise IntrinsicError(f"The index {index} is out of bounds for an array of {len(array)}")
    return array[index]


def _array_length(arguments: Arguments, _: Entropy) -> int:
    return len(_array(arguments[0]))


def _array_unique(arguments: Arguments, _: Entropy) -> list[JSONValue]:
    first: dict[object, JSONValue] = {}
    for item in _array(arguments[0]):
        first.setdefault(_frozen(item), item)
    return list(first.values())


def _frozen(value: JSONValue) -> object:
    """A hashable stand-in, equal where Java's ``equals`` is: 1, 1.0 and true differ, member order does not matter."""
    if isinstance(value, dict):
        return (dict, frozenset((key, _frozen(item)) for key, item in value.items()))
    if isinstance(value, list):
        return (list, tuple(map(_frozen, value)))
    return (type(value), value)


def _base64_encode(arguments: Arguments, _: Entropy) -> str:
    return base64.b64encode(_data(arguments[0]).encode()).decode()


def _base64_decode(arguments: Arguments, _: Entropy) -> str:
    """As Java's basic decoder: what may be missing at the end is the padding (github.com/ministackorg/ministack/pull/1360, measured)."""
    data = _data(arguments[0])
    padding = "" if "=" in data else "=" * (-len(data) % 4)
    try:
        return base64.b64decode(data + padding, validate=True).decode()
    except (binascii.Error, ValueError):
        raise IntrinsicError("The argument is not valid Base64 of UTF-8 text") from None


def _hash(arguments: Arguments, _: Entropy) -> str:
    data, algorithm = _data(arguments[0]), _string(arguments[1], "algorithm")
    if algorithm not in HASHES:
        raise IntrinsicError(f"The algorithm must be one of {', '.join(HASHES)}")
    return hashlib.new(HASHES[algorithm], data.encode(), usedforsecurity=False).hexdigest()


def _json_merge(arguments: Arguments, _: Entropy) -> dict[str, JSONValue]:
    first, second, deep = arguments
    if not isinstance(first, dict) or not isinstance(second, dict):
        raise IntrinsicError("The first two arguments must be objects")
    if deep is not False:
        raise IntrinsicError("The third argument must be false: only shallow merging is supported")
    return first | second


def _math_random(arguments: Arguments, entropy: Entropy) -> int:
    """A whole number from start up to, not including, end; the same seed gives the same number."""
    start, end = _integer(arguments[0], "start"), _integer(arguments[1], "end")
    if start >= end:
        raise IntrinsicError("The end must be greater than the start")
    if len(arguments) == 3:
        entropy = Entropy(hashlib.blake2b(str(_integer(arguments[2], "seed")).encode(), digest_size=16).digest())
    return start + int(entropy.random() * (end - start))


def _math_add(arguments: Arguments, _: Entropy) -> int:
    return _integer(arguments[0], "first argument") + _integer(arguments[1], "second argument")


def _string_split(arguments: Arguments, _: Entropy) -> list[str]:
    text, delimiters = _string(arguments[0], "first argument"), _string(arguments[1], "second argument")
    if not delimiters:
        return [text] if text else []
    text = text.translate(dict.fromkeys(map(ord, delimiters[1:]), delimiters[0]))
    return [part for part in text.split(delimiters[0]) if part]


def _uuid(_: Arguments, entropy: Entropy) -> str:
    return entropy.uuid()


MANY = 256  # arguments in one field, all calls together; ours, bounds what one field can build from a payload

FUNCTIONS: dict[str, Function] = {
    "States.Format": Function(_format, 1, MANY, bytes=8),
    "States.StringToJson": Function(_string_to_json, 1, 1, characters=8),
    "States.JsonToString": Function(_json_to_string, 1, 1, bytes=128),
    "States.Array": Function(_array_of, 0, MANY),
    "States.ArrayPartition": Function(_array_partition, 2, 2),
    "States.ArrayContains": Function(_array_contains, 2, 2, bytes=8),
    "States.ArrayRange": Function(_array_range, 3, 3),
    "States.ArrayGetItem": Function(_array_get_item, 2, 2, members=_ANY),
    "States.ArrayLength": Function(_array_length, 1, 1, members=_ANY),
    "States.ArrayUnique": Function(_array_unique, 1, 1, bytes=8),
    "States.Base64Encode": Function(_base64_encode, 1, 1),
    "States.Base64Decode": Function(_base64_decode, 1, 1),
    "States.Hash": Function(_hash, 2, 2),
    "States.JsonMerge": Function(_json_merge, 3, 3),
    "States.MathRandom": Function(_math_random, 2, 3),
    "States.MathAdd": Function(_math_add, 2, 2),
    "States.StringSplit": Function(_string_split, 2, 2, characters=32),
    "States.UUID": Function(_uuid, 0, 0),
}
