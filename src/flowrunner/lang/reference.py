"""Paths into JSON: syntax, reference paths (read and written directly), and Jayway's words for what is missing.

A path is ``$...`` (the document), ``$$...`` (the context object) or ``$name...`` (a variable). A *reference path* has only
member and index steps, names one place, and is a tuple here. The rest (``*``, slices, filters, ``..``, functions) are
queries: their parts are parsed here and run by ``jsonpath.py``.

Step Functions uses Jayway JsonPath; grammar and wording follow its ``PathCompiler`` and ``PathToken`` (version 2.9), checked
against recorded answers of AWS.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from flowrunner.errors import ExpressionError, ExpressionSyntaxError, PathNotFound
from flowrunner.jsonvalue import JSONValue, dumps

MAX_PATH_LENGTH = 4096  # characters; ours: AWS names none, its longest sensible paths are far below
MAX_STEPS = 256  # steps of one path; ours
MAX_INDEX = 2**31 - 1  # Java int

Step = str | int
PartKind = Literal["names", "indexes", "slice", "wildcard", "filter", "function"]


class Part(NamedTuple):
    """One step of a path as written.

    `deep` is for ``..``. `value` fits the kind: the names, the indexes, (start, stop) of a slice, the text of a filter, the
    name of a function.
    """

    kind: PartKind
    value: tuple[str, ...] | tuple[int, ...] | tuple[int | None, int | None] | str
    deep: bool = False


class Parsed(NamedTuple):
    """A path taken apart. `root` is ``$``, ``$$`` or a variable's name."""

    root: str
    parts: tuple[Part, ...]


class IndexOutOfRange(PathNotFound):
    """The path ends at an index past the end of an array that exists (AWS's payload templates give null for it)."""

    code = "index_out_of_range"


class PathNotWritable(ExpressionError):
    """A reference path cannot be written to this document (``States.ResultPathMatchFailure``)."""

    code = "path_not_writable"

    def __init__(self, path: str, document: JSONValue) -> None:
        self.path = path
        super().__init__(f"Unable to apply ReferencePath {path} to input {dumps(document)}")


_ROOT = re.compile(r"\$\$|\$([^\W\d]\w{0,79})?")  # Unicode identifier; 80 characters is ASL's limit for variable names
_BARE = re.compile(r"[^\s.\[\](){}'\",*?]+")  # Jayway stops at a dot, a space, '[' and '('; the rest would only hide a slip
_QUOTED = re.compile(r"\s*(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\")\s*", re.DOTALL)
_INDEXES = re.compile(r"\s*-?\d{1,10}\s*(?:,\s*-?\d{1,10}\s*)*")
_SLICE = re.compile(r"\s*(-?\d{1,10})?\s*:\s*(-?\d{1,10})?\s*")
_WILD = re.compile(r"\s*\*\s*")
_FROM_END = re.compile(r"\s*\(\s*@\.length\s*-\s*(\d{1,9})\s*\)\s*")  # the one script expression in wide use: counts from the end
_CALL = re.compile(r"([a-z]+)\(\s*\)")


def parse(text: str) -> Parsed:
    """Take a path apart. Raises ExpressionSyntaxError naming the place; never slow on any text (one pass, no backtracking)."""
    if len(text) > MAX_PATH_LENGTH:
        raise ExpressionSyntaxError(f"The path is longer than {MAX_PATH_LENGTH} characters.")
    match = _ROOT.match(text)
    if match is None:
        raise ExpressionSyntaxError(f"A path starts with '$': {text!r}.")
    root, at, parts = match[1] or match[0], match.end(), list[Part]()
    while at < len(text):
        deep = text.startswith("..", at)
        if parts and parts[-1].kind == "function":
            raise _wrong(text, at, "nothing may follow a function")
        if deep:
            at += 2
        if text.startswith("[", at):
            part, at = _bracket(text, at + 1)
        elif deep or text.startswith(".", at):
            part, at = _dotted(text, at if deep else at + 1, may_call=not deep)
        else:
            raise _wrong(text, at, "expected '.' or '['")
        parts.append(part._replace(deep=deep))
        if len(parts) > MAX_STEPS:
            raise ExpressionSyntaxError(f"The path has more than {MAX_STEPS} steps.")
    return Parsed(root, tuple(parts))


def _wrong(text: str, at: int, what: str) -> ExpressionSyntaxError:
    return ExpressionSyntaxError(f"Invalid path {text[:200]!r}: {what} at character {at + 1}.")


def _dotted(text: str, at: int, *, may_call: bool) -> tuple[Part, int]:
    """The part after a dot: a name, ``*``, ``[`` (Jayway allows ``$.[0]``) or a function call."""
    if text.startswith("*", at):
        return Part("wildcard", ""), at + 1
    if text.startswith("[", at):
        return _bracket(text, at + 1)
    if may_call and (call := _CALL.match(text, at)):
        return Part("function", call[1]), call.end()
    name = _BARE.match(text, at)
    if name is None:
        raise _wrong(text, at, "expected a name")
    return Part("names", (name[0],)), name.end()


def _bracket(text: str, at: int) -> tuple[Part, int]:
    """The part inside ``[...]``; `at` is behind the bracket."""
    part: Part
    if (quoted := _QUOTED.match(text, at)) is not None:
        names = [_unquote(quoted)]
        end = quoted.end()
        while text.startswith(",", end):
            quoted = _QUOTED.match(text, end + 1)
            if quoted is None:
                raise _wrong(text, end + 1, "expected a quoted name")
            names.append(_unquote(quoted))
            end = quoted.end()
        part = Part("names", tuple(names))
    elif match := _SLICE.match(text, at):
        part, end = Part("slice", (_index(match[1]), _index(match[2]))), match.end()
    elif match := _INDEXES.match(text, at):
        numbers = tuple(int(number) for number in match[0].split(","))
        if any(abs(number) > MAX_INDEX for number in numbers):
            raise _wrong(text, at, "index out of range")
        part, end = Part("indexes", numbers), match.end()
    elif match := _WILD.match(text, at):
        part, end = Part("wildcard", ""), match.end()
    elif match := _FROM_END.match(text, at):
        part, end = Part("indexes", (-int(match[1]),)), match.end()
    elif text.startswith("?", at):
        end = _filter_end(text, at)
        part = Part("filter", text[at:end])
    else:
        raise _wrong(text, at, "expected a quoted name, an index, a slice, '*' or '?(...)'")
    if not text.startswith("]", end):
        raise _wrong(text, end, "expected ']'")
    return part, end + 1


def _index(digits: str | None) -> int | None:
    return None if digits is None else int(digits)


def _unquote(match: re.Match[str]) -> str:
    """The name between the quotes. Only its own quote is unescaped: AWS keeps a backslash before ``"`` in ``$['...']``."""
    name: str = match[1] if match[1] is not None else match[2]
    quote = "'" if match[1] is not None else '"'
    return name.replace(f"\\{quote}", quote)


def _filter_end(text: str, at: int) -> int:
    """The position of the ``]`` that closes the filter beginning at `at`; quotes are skipped, brackets counted."""
    level = 0
    while at < len(text):
        character = text[at]
        if character in "'\"":
            quoted = _QUOTED.match(text, at)
            if quoted is None:
                break
            at = quoted.end()
            continue
        if character in "[(":
            level += 1
        elif character in ")]":
            if level == 0 and character == "]":
                return at
            level -= 1
        at += 1
    raise _wrong(text, at, "unclosed filter")


def steps_of(parts: tuple[Part, ...]) -> tuple[Step, ...] | None:
    """The steps of a reference path, None for a query."""
    steps: list[Step] = []
    for part in parts:
        if part.deep or part.kind not in {"names", "indexes"} or len(part.value) != 1:
            return None
        steps.append(part.value[0])
    return tuple(steps)


def is_reference(text: object) -> bool:
    """Whether `text` is a reference path (one place, may be written to). False, never an error, for anything else."""
    if not isinstance(text, str):
        return False
    try:
        return steps_of(parse(text).parts) is not None
    except ExpressionSyntaxError:
        return False


def bracketed(steps: tuple[Step, ...]) -> str:
    """The steps as Jayway prints them: ``$['items'][0]``."""
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f"['{step}']" for step in steps)


def read(value: JSONValue, steps: tuple[Step, ...], text: str) -> JSONValue:
    """Follow `steps` with every check. Raises PathNotFound in Jayway's words (IndexOutOfRange for a last index)."""
    last = len(steps) - 1
    for position, step in enumerate(steps):
        if isinstance(step, str):
            if not isinstance(value, dict):
                raise PathNotFound(text, _not_an_object(value, step, steps[:position]))
            if step not in value:
                if position == last:
                    raise PathNotFound(text, f"No results for path: {bracketed(steps)}")
                raise PathNotFound(text, f"Missing property in path {bracketed(steps[: position + 1])}")
            value = value[step]
        elif value is None:
            raise PathNotFound(text, f"The path {bracketed(steps[:position])} is null")
        elif not isinstance(value, list):
            raise PathNotFound(text, f"Filter: [{step}] can only be applied to arrays. Current context is: {java_text(value)}")
        elif not -len(value) <= step < len(value):
            raise (IndexOutOfRange if position == last else PathNotFound)(text, f"No results for path: {bracketed(steps)}")
        else:
            value = value[step]
    return value


def _not_an_object(value: JSONValue, step: str, before: tuple[Step, ...]) -> str:
    return (
        f"Expected to find an object with property ['{step}'] in path {bracketed(before)} but found '{_java_class(value)}'. "
        "This is not a json object according to the JsonProvider: 'com.jayway.jsonpath.spi.json.JacksonJsonProvider'."
    )


def _java_class(value: JSONValue) -> str:
    """The class Jackson reads `value` as."""
    if value is None:
        return "null"
    if isinstance(value, int) and not isinstance(value, bool):
        return "java.lang.Integer" if -(2**31) <= value < 2**31 else "java.lang.Long" if -(2**63) <= value < 2**63 else "java.math.BigInteger"
    return {bool: "java.lang.Boolean", float: "java.lang.Double", str: "java.lang.String", list: "java.util.ArrayList"}.get(type(value), "java.lang.Object")


def write(document: JSONValue, value: JSONValue, steps: tuple[Step, ...], text: str) -> JSONValue:
    """`document` with `value` at `steps`: a new document, parts off the path shared, missing objects made.

    Raises PathNotWritable where a member would go into something that is no object, or an index names no element.
    """
    if not steps:
        return value
    holders: list[JSONValue] = []
    place = document
    for step in steps:
        if isinstance(step, str):
            if not isinstance(place, dict):
                raise PathNotWritable(text, document)
            holders.append(place)
            place = place.get(step, _FRESH)
        else:
            if not isinstance(place, list) or not -len(place) <= step < len(place):
                raise PathNotWritable(text, document)
            holders.append(place)
            place = place[step]
    for holder, step in zip(reversed(holders), reversed(steps), strict=True):
        copy = holder.copy()
        copy[step] = value
        value = copy
    return value


_FRESH: dict[str, JSONValue] = {}  # stands for an object that is not there yet; copied, never changed


def java_text(value: JSONValue) -> str:
    """`value` as Java's ``toString`` prints it (``{a=1, b=[x, null]}``): what AWS puts into messages and ``States.Format``."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _java_double(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={java_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(java_text, value)) + "]"
    return str(value)


def _java_double(value: float) -> str:
    """``Double.toString``: plain from 0.001 to below 10,000,000, otherwise ``1.5E10``."""
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        text = repr(value)
        return text if "e" not in text else f"{value:f}"
    mantissa, _, exponent = f"{value:.17e}".partition("e")
    digits = repr(value)
    mantissa = repr(float(mantissa)) if float(f"{float(mantissa)!r}e{exponent}") == value else digits
    return f"{mantissa}E{int(exponent)}"
