"""JSONata's functions on numbers and dates; ``$formatNumber`` follows the reference (XPath 3.1's format-number)."""

from __future__ import annotations

import datetime as dt
import math
import re
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

from flowrunner.errors import JsonataError
from flowrunner.lang.jsonata.messages import MESSAGES, failure, refused
from flowrunner.lang.jsonata.parse import library
from flowrunner.lang.jsonata.picture import format_number
from flowrunner.lang.jsonata.text import Table
from flowrunner.lang.jsonata.values import UNDEFINED, Run, is_number, number

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[Ee][-+]?[0-9]+)?")
_OTHER_BASES = re.compile(r"0[xX][0-9A-Fa-f]+|0[oO][0-7]+|0[bB][01]+")
_ISO_8601 = re.compile(r"(\d{4})(?:-([01]\d))?(?:-([0-3]\d))?(?:T([0-2]\d):([0-5]\d):([0-5]\d)(\.\d+)?)?([+-][0-2]\d:?[0-5]\d|Z)?")
_MAX_PICTURE_CHARS = 512
_STEPS_PER_PICTURE = 16
_MOST_IN_WORDS = 1e30  # the library's words for larger numbers double in length with every 12 digits
_MAX_TIMESTAMP_CHARS = 512  # parsed with a regular expression made of the picture
_WIDE = re.compile(r",[^\]]*?\d{5,}")  # a width modifier of 10,000 characters or more
_MAX_DIGITS = 256  # of a number in another base: a double has no more
_MAX_MILLIS = 253_402_300_799_999  # the end of the year 9999
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def rounded(value: float, precision: int) -> float:
    """Half to even on the decimal digits shown, as in the reference."""
    try:
        return number(float(Decimal(repr(value)).quantize(Decimal(1).scaleb(-precision), rounding=ROUND_HALF_EVEN)))
    except InvalidOperation:  # more digits than Decimal keeps: there is nothing to round
        return value


def _round(_run: Run, value: Any, precision: Any) -> Any:
    if value is UNDEFINED:
        return value
    return rounded(value, 0 if precision is UNDEFINED else max(-400, min(400, int(precision))))


def _plain(compute: Any) -> Any:
    def run_it(_run: Run, value: Any) -> Any:
        return value if value is UNDEFINED or not is_number(value) else number(compute(value))

    return run_it


def _sqrt(_run: Run, value: Any) -> Any:
    if value is UNDEFINED:
        return value
    if value < 0:
        raise failure("D3060", value=value)
    return number(math.sqrt(value))


def _power(_run: Run, base: Any, exponent: Any) -> Any:
    if base is UNDEFINED or exponent is UNDEFINED:
        return UNDEFINED
    try:
        return number(math.pow(base, exponent))
    except (OverflowError, ValueError):
        raise failure("D3061", value=base, exp=exponent) from None


def _number(run: Run, value: Any) -> Any:
    if value is UNDEFINED or (type(value) in {int, float}):
        return value
    if value is True or value is False:
        return int(value)
    if type(value) is str:
        run.text(len(value))
        if _NUMBER.fullmatch(value):
            made = float(value)
            if math.isfinite(made):
                return number(made)
        elif len(value) <= _MAX_DIGITS and _OTHER_BASES.fullmatch(value):
            return number(float(int(value, 0)))  # a double, as in JavaScript
    raise failure("D3030", value=value)


def _sum(run: Run, values: Any) -> Any:
    if values is UNDEFINED:
        return values
    run.spend(len(values))
    return number(float(sum(values))) if any(type(value) is float for value in values) else sum(values)


def _most(choose: Any) -> Any:
    def chosen(run: Run, values: Any) -> Any:
        if values is UNDEFINED or not values:
            return UNDEFINED
        run.spend(len(values))
        return choose(values)

    return chosen


def _average(values: list[Any]) -> Any:
    return number(float(sum(values)) / len(values))


def _format_base(run: Run, value: Any, radix: Any) -> Any:
    if value is UNDEFINED:
        return value
    base = 10 if radix is UNDEFINED else int(rounded(radix, 0))
    if not 2 <= base <= 36:
        raise failure("D3100", value=base)
    whole = int(rounded(value, 0))
    run.spend(whole.bit_length() >> 3)
    digits, rest = [], abs(whole)
    while rest:
        rest, digit = divmod(rest, base)
        digits.append(_DIGITS[digit])
    return ("-" if whole < 0 else "") + ("".join(reversed(digits)) or "0")


def _format_number(run: Run, value: Any, picture: Any, options: Any) -> Any:
    if value is UNDEFINED or picture is UNDEFINED:
        return UNDEFINED
    _check_picture(run, picture)
    return format_number(value, picture, {} if options is UNDEFINED else {key: text for key, text in options.items() if type(text) is str})


def _check_picture(run: Run, *texts: Any) -> None:
    """Pictures are read again for each call: some 20 µs, and up to 1 µs per character."""
    run.spend(_STEPS_PER_PICTURE)
    for text in texts:
        if text is not UNDEFINED:
            run.spend(len(text))
        if text is not UNDEFINED and (len(text) > _MAX_PICTURE_CHARS or ("[" in text and _WIDE.search(text))):
            raise refused("picture", 2, "the picture string is too long")


def _library(call: Any, *arguments: Any) -> Any:
    """Call a function of the library; its errors get JSONata's codes."""
    try:
        return call(*arguments)
    except library.JException as error:
        code = str(error.error)
        raise (failure(code, value=error.current) if code in MESSAGES else JsonataError("D3137", str(error))) from None
    except KeyError as error:
        raise failure("D3132", value=str(error.args[0]) if error.args else "") from None
    except (RuntimeError, ValueError, ArithmeticError, TypeError, IndexError, AttributeError, re.error) as error:
        text = str(error)
        for code, message in MESSAGES.items():
            if code >= "D3130" and code != "D3137" and not message.startswith("{") and text[:30] == message[:30]:
                raise failure(code, value="") from None
        raise JsonataError("D3137", text) from None


def _format_integer(run: Run, value: Any, picture: Any) -> Any:
    if value is UNDEFINED or picture is UNDEFINED:
        return UNDEFINED
    _check_picture(run, picture)
    if abs(value) >= _MOST_IN_WORDS:
        raise refused("formatInteger", 1, "it is too large")
    return _library(library.DateTimeUtils.format_integer, math.floor(value), picture)


def _parse_integer(run: Run, text: Any, picture: Any) -> Any:
    if text is UNDEFINED or picture is UNDEFINED:
        return UNDEFINED
    _check_picture(run, picture, text)
    made = _library(library.DateTimeUtils.parse_integer, text, picture)
    return UNDEFINED if made is None else number(made)


def _from_millis(run: Run, millis: Any, picture: Any, zone: Any) -> Any:
    if millis is UNDEFINED:
        return millis
    if not -62_135_596_800_000 <= millis <= _MAX_MILLIS:
        raise refused("fromMillis", 1, "it is outside the years 1 to 9999")
    _check_picture(run, picture, zone)
    return _library(library.DateTimeUtils.format_datetime, math.floor(millis), None if picture is UNDEFINED else picture, None if zone is UNDEFINED else zone)


def _to_millis(run: Run, text: Any, picture: Any) -> Any:
    if text is UNDEFINED:
        return text
    if picture is not UNDEFINED:
        _check_picture(run, picture)
        if len(text) > _MAX_TIMESTAMP_CHARS:
            raise failure("D3110", value=text)
        made = _library(library.DateTimeUtils.parse_datetime, text, picture)
        return UNDEFINED if made is None else number(made)
    return iso_millis(text)


def iso_millis(text: str) -> int:
    """An ISO 8601 timestamp, or the beginning of one, in milliseconds; D3110 for anything else."""
    match = _ISO_8601.fullmatch(text)
    if match is None:
        raise failure("D3110", value=text)
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        moment = dt.datetime(int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=dt.UTC)
    except ValueError:
        raise failure("D3110", value=text) from None
    millis = (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)
    if fraction:
        millis += int(float(fraction) * 1000 + 1e-9)
    if zone and zone != "Z":
        digits = zone[1:].replace(":", "")
        offset = (int(digits[:2]) * 60 + int(digits[2:])) * 60_000
        millis += offset if zone[0] == "-" else -offset
    return millis


def _now(run: Run, picture: Any, zone: Any) -> Any:
    return _from_millis(run, run.now, picture, zone)


NUMBERS: Table = {
    "sum": ("<a<n>:n>", _sum),
    "max": ("<a<n>:n>", _most(max)),
    "min": ("<a<n>:n>", _most(min)),
    "average": ("<a<n>:n>", _most(_average)),
    "number": ("<(nsb)-:n>", _number),
    "abs": ("<n-:n>", _plain(abs)),
    "floor": ("<n-:n>", _plain(math.floor)),
    "ceil": ("<n-:n>", _plain(math.ceil)),
    "round": ("<n-n?:n>", _round),
    "sqrt": ("<n-:n>", _sqrt),
    "power": ("<n-n:n>", _power),
    "formatNumber": ("<n-so?:s>", _format_number),
    "formatBase": ("<n-n?:s>", _format_base),
    "formatInteger": ("<n-s:s>", _format_integer),
    "parseInteger": ("<s-s:n>", _parse_integer),
    "fromMillis": ("<n-s?s?:s>", _from_millis),
    "toMillis": ("<s-s?:n>", _to_millis),
    "now": ("<s?s?:s>", _now),
    "millis": ("<:n>", lambda run: run.now),
}
