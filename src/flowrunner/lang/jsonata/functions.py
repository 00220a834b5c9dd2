"""JSONata's functions on arrays, objects and functions, Step Functions' own functions, and the table of all."""

from __future__ import annotations

import hashlib
from typing import Any

from flowrunner.entropy import Entropy, java_random
from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import loads
from flowrunner.lang.jsonata.calls import apply, clone, hof_arguments
from flowrunner.lang.jsonata.messages import failure, refused
from flowrunner.lang.jsonata.numbers import NUMBERS
from flowrunner.lang.jsonata.operators import field
from flowrunner.lang.jsonata.signature import Signature, letter
from flowrunner.lang.jsonata.text import CONTEXTUAL_TEXT, TEXT, Table, text_of
from flowrunner.lang.jsonata.values import UNDEFINED, Array, Frame, Function, Native, Object, Run, Sequence, boolean, extend, joined, normal, same

_HASHES = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}
_TYPES = {"s": "string", "n": "number", "b": "boolean", "l": "null", "a": "array", "o": "object", "f": "function"}


def _count(_run: Run, values: Any) -> int:
    return 0 if values is UNDEFINED else len(values)


def _boolean(run: Run, value: Any) -> Any:
    return value if value is UNDEFINED else boolean(value, run)


def _not(run: Run, value: Any) -> Any:
    return value if value is UNDEFINED else not boolean(value, run)


def _map(_run: Run, _focus: Any, frame: Frame, values: Any, function: Any) -> Any:
    if values is UNDEFINED:
        return values
    made = Sequence()
    for index, value in enumerate(values):
        result = apply(function, hof_arguments(function, value, index, values), None, frame)
        if result is not UNDEFINED:
            made.append(result)
    return made


def _filter(run: Run, _focus: Any, frame: Frame, values: Any, function: Any) -> Any:
    if values is UNDEFINED:
        return values
    made = Sequence()
    made.extend(value for index, value in enumerate(values) if boolean(apply(function, hof_arguments(function, value, index, values), None, frame), run))
    return made


def _single(run: Run, _focus: Any, frame: Frame, values: Any, function: Any) -> Any:
    if values is UNDEFINED:
        return values
    run.spend(len(values))
    found = [
        value
        for index, value in enumerate(values)
        if function is UNDEFINED or boolean(apply(function, hof_arguments(function, value, index, values), None, frame), run)
    ]
    if len(found) != 1:
        raise failure("D3138" if found else "D3139")
    return found[0]


def _reduce(_run: Run, _focus: Any, frame: Frame, values: Any, function: Any, initial: Any) -> Any:
    if values is UNDEFINED:
        return values
    if function.arity < 2:
        raise failure("D3050", index=1)
    result, first = initial, 0
    if initial is UNDEFINED and values:
        result, first = values[0], 1
    for index in range(first, len(values)):
        result = apply(function, [result, values[index], index, values][: max(2, function.arity)], None, frame)
    return result


def _each(_run: Run, _focus: Any, frame: Frame, value: Any, function: Any) -> Any:
    if value is UNDEFINED:
        return value
    made = Sequence()
    for key, part in value.items():
        result = apply(function, hof_arguments(function, part, key, value), None, frame)
        if result is not UNDEFINED:
            made.append(result)
    return made


def _sift(run: Run, _focus: Any, frame: Frame, value: Any, function: Any) -> Any:
    if value is UNDEFINED:
        return value
    run.spend(len(value))
    made = Object(
        (key, part)
        for key, part in value.items()
        if boolean(part if function is UNDEFINED else apply(function, hof_arguments(function, part, key, value), None, frame), run)
    )
    return made or UNDEFINED


def _sort(run: Run, _focus: Any, frame: Frame, values: Any, function: Any) -> Any:
    if values is UNDEFINED or len(values) <= 1:
        return values
    run.spend(len(values) * len(values).bit_length())
    if function is UNDEFINED:
        kinds = {letter(value) for value in values}
        if kinds not in ({"s"}, {"n"}):
            raise failure("D3070")
        if kinds == {"s"}:
            run.scan(sum(map(len, values)) * len(values).bit_length())
        return Array(sorted(values))
    return Array(_merge_sorted(list(values), function, frame))


def _merge_sorted(values: list[Any], function: Function, frame: Frame) -> list[Any]:
    """The reference's merge sort: `function` says whether its arguments are in the wrong order, which need not be an ordering."""
    if len(values) <= 1:
        return values
    middle = len(values) // 2
    left, right = _merge_sorted(values[:middle], function, frame), _merge_sorted(values[middle:], function, frame)
    made: list[Any] = []
    i = j = 0
    while i < len(left) and j < len(right):
        if boolean(apply(function, [left[i], right[j]], None, frame), frame.run):
            made.append(right[j])
            j += 1
        else:
            made.append(left[i])
            i += 1
    return made + left[i:] + right[j:]


def _zip(run: Run, *arrays: Any) -> Any:
    if any(array is UNDEFINED for array in arrays):
        return Array()
    run.spend(sum(map(len, arrays)))
    return Array(Array(row) for row in zip(*arrays, strict=False))


def _reverse(run: Run, values: Any) -> Any:
    if values is UNDEFINED or len(values) <= 1:
        return values
    run.spend(len(values))
    return Array(reversed(values))


def _shuffle(run: Run, values: Any) -> Any:
    if values is UNDEFINED or len(values) <= 1:
        return values
    run.spend(len(values))
    made = Array(values)
    for last in range(len(made) - 1, 0, -1):
        other = int(run.entropy.random() * (last + 1))
        made[last], made[other] = made[other], made[last]
    return made


def _distinct(run: Run, values: Any) -> Any:
    if not isinstance(values, list) or len(values) <= 1:
        return values
    made = Sequence() if isinstance(values, Sequence) else Array()
    seen: set[tuple[str, Any]] = set()
    containers: list[Any] = []
    for value in values:
        run.spend(1)
        if isinstance(value, (list, dict)):
            run.spend(len(containers))
            if any(same(value, other, run) for other in containers):
                continue
            containers.append(value)
        elif not isinstance(value, Function):
            if type(value) is str:
                run.scan(len(value))
            key = (letter(value), value)
            if key in seen:
                continue
            seen.add(key)
        made.append(value)
    return made


def _append(run: Run, left: Any, right: Any) -> Any:
    return joined(left, right, run)


def _keys(run: Run, value: Any) -> Any:
    made = Sequence()
    if isinstance(value, dict):
        run.spend(len(value))
        made.extend(value)
    elif isinstance(value, list):
        run.spend(len(value))
        merged: dict[str, None] = {}
        for item in value:
            merged.update(dict.fromkeys(_keys(run, item)))
        made.extend(merged)
    return made


def _lookup(_run: Run, _focus: Any, frame: Frame, value: Any, key: Any) -> Any:
    if key is UNDEFINED:
        return key
    frame.run.scan(len(key))
    return normal(field(value, key, frame))


def _spread(run: Run, value: Any) -> Any:
    if isinstance(value, list):
        made: Array = Array() if value else Sequence()
        for item in value:
            extend(made, _spread(run, item), run)
        return made
    if isinstance(value, dict):
        run.spend(len(value))
        made = Sequence()
        made.extend(Object({key: part}) for key, part in value.items())
        return made
    return value


def _merge(run: Run, values: Any) -> Any:
    if values is UNDEFINED:
        return values
    made = Object()
    for value in values:
        run.spend(len(value))
        made.update(value)
    return made


def _error(_run: Run, message: Any) -> Any:
    raise failure("D3137", message="$error() function evaluated" if message is UNDEFINED else message)


def _assert(_run: Run, condition: Any, message: Any) -> Any:
    if condition is not True:
        raise failure("D3141", message="$assert() statement failed" if message is UNDEFINED else message)
    return UNDEFINED


def _type(_run: Run, value: Any) -> Any:
    return UNDEFINED if value is UNDEFINED else _TYPES[letter(value)]


def _clone(run: Run, value: Any) -> Any:
    return value if value is UNDEFINED else clone(value, run)


def _partition(run: Run, values: Any, size: Any) -> Any:
    if values is UNDEFINED:
        return values
    step = int(size) if size is not UNDEFINED else 0
    if step < 1:
        raise refused("partition", 2, "it must be a positive integer")
    run.spend(len(values))
    return Array(Array(values[start : start + step]) for start in range(0, len(values), step))


def _range(run: Run, first: Any, last: Any, delta: Any) -> Any:
    if UNDEFINED in (first, last, delta):
        return UNDEFINED
    start, end, step = int(first), int(last), int(delta)
    if step == 0:
        raise refused("range", 3, "it must not be zero")
    values = range(start, end + (1 if step > 0 else -1), step)
    run.spend(len(values))
    return Sequence(values)


def _hash(run: Run, content: Any, algorithm: Any) -> Any:
    if content is UNDEFINED or algorithm is UNDEFINED:
        return UNDEFINED
    name = _HASHES.get(algorithm)
    if name is None:
        raise refused("hash", 2, f"it must be one of {', '.join(_HASHES)}")
    text = text_of(content, run)
    run.text(len(text))
    return hashlib.new(name, text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()


def _random(run: Run, seed: Any) -> float:
    """A number in [0, 1); with a number as seed the one that AWS gives for it (measured: github.com/floci-io/floci/issues/2662)."""
    if seed is UNDEFINED:
        return run.entropy.random()
    if letter(seed) == "n":
        return java_random(int(seed))
    text = text_of(seed, run)
    run.text(len(text))
    return Entropy(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()).random()


def _uuid(run: Run) -> str:
    return run.entropy.uuid()


def _parse(run: Run, text: Any) -> Any:
    if text is UNDEFINED:
        return text
    run.text(len(text) * 8)
    try:
        value = loads(text)
    except InvalidDocument as error:
        raise refused("parse", 1, error.message) from None
    return 0 if value == 0 and type(value) is float else value


COLLECTIONS: Table = {
    "count": ("<a:n>", _count),
    "boolean": ("<x-:b>", _boolean),
    "not": ("<x-:b>", _not),
    "zip": ("<a+>", _zip),
    "keys": ("<x-:a<s>>", _keys),
    "append": ("<xx:a>", _append),
    "exists": ("<x:b>", lambda _run, value: value is not UNDEFINED),
    "spread": ("<x-:a<o>>", _spread),
    "merge": ("<a<o>:o>", _merge),
    "reverse": ("<a:a>", _reverse),
    "error": ("<s?:x>", _error),
    "assert": ("<bs?:x>", _assert),
    "type": ("<x:s>", _type),
    "shuffle": ("<a:a>", _shuffle),
    "distinct": ("<x:x>", _distinct),
    "clone": ("<(oa)-:o>", _clone),
}
HIGHER_ORDER: Table = {
    "map": ("<af>", _map),
    "filter": ("<af>", _filter),
    "single": ("<af?>", _single),
    "reduce": ("<afj?:j>", _reduce),
    "sift": ("<o-f?:o>", _sift),
    "each": ("<o-f:a>", _each),
    "sort": ("<af?:a>", _sort),
    "lookup": ("<x-s:x>", _lookup),
}
STEP_FUNCTIONS: Table = {  # what AWS adds to JSONata 2.0.6
    "partition": ("<an:a>", _partition),
    "range": ("<nnn:a>", _range),
    "hash": ("<xs:s>", _hash),
    "random": ("<x?:n>", _random),
    "uuid": ("<:s>", _uuid),
    "parse": ("<s:x>", _parse),
}


def natives(tables: list[Table], *, contextual: bool) -> dict[str, Native]:
    """The functions of these tables, with their signatures compiled."""
    made = {}
    for table in tables:
        for name, (text, function) in table.items():
            signature = Signature(text)
            made[name] = Native(name, function, signature, len(signature.parameters), contextual=contextual)
    return made


BUILT_IN: dict[str, Native] = {
    **natives([TEXT, NUMBERS, COLLECTIONS, STEP_FUNCTIONS], contextual=False),
    **natives([CONTEXTUAL_TEXT, HIGHER_ORDER], contextual=True),
}
