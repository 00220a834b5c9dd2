"""``$formatNumber``: XPath and XQuery Functions 3.1, section 4.7.

The order of checks is the reference's (``functions.js``, `formatNumber`), which reports the last rule a picture breaks.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal

from flowrunner.lang.jsonata.messages import failure

_DEFAULTS = {
    "decimal-separator": ".",
    "grouping-separator": ",",
    "exponent-separator": "e",
    "infinity": "Infinity",
    "minus-sign": "-",
    "NaN": "NaN",
    "percent": "%",
    "per-mille": "\u2030",
    "zero-digit": "0",
    "digit": "#",
    "pattern-separator": ";",
}


@dataclass(slots=True)
class _Picture:
    """One sub-picture, split and measured."""

    text: str
    prefix: str
    suffix: str
    active: str
    mantissa: str
    exponent: str | None
    integer: str
    fraction: str
    groups: list[int] = field(default_factory=list)
    regular: int = 0
    fraction_groups: list[int] = field(default_factory=list)
    least_integer: int = 0
    scale: int = 0
    least_fraction: int = 0
    most_fraction: int = 0
    least_exponent: int = 0


class _Format:
    """The symbols in force."""

    def __init__(self, options: dict[str, str]) -> None:
        names = {**_DEFAULTS, **options}
        self.point, self.comma, self.exponent = names["decimal-separator"], names["grouping-separator"], names["exponent-separator"]
        self.minus, self.percent, self.per_mille = names["minus-sign"], names["percent"], names["per-mille"]
        self.zero, self.digit, self.separator = names["zero-digit"], names["digit"], names["pattern-separator"]
        first = ord(self.zero[:1] or "0")
        self.family = [chr(first + offset) for offset in range(10)]
        self.active = {*self.family, self.point, self.exponent, self.comma, self.digit, self.separator}

    def digits(self, text: str) -> str:
        """The characters of `text` that stand for digits that must be there."""
        return "".join(character for character in text if character in self.family)

    def split(self, text: str) -> _Picture:
        ends = [index for index, character in enumerate(text) if character in self.active and character != self.exponent]
        if not ends:
            raise failure("D3086")
        prefix, suffix = text[: ends[0]], text[ends[-1] + 1 :]
        active = text[len(prefix) : len(text) - len(suffix)]
        at = text.find(self.exponent, len(prefix))
        if at == -1 or at > len(text) - len(suffix):
            mantissa, exponent = active, None
        else:
            mantissa, exponent = text[len(prefix) : at], text[at + 1 : len(text) - len(suffix)]
        integer, found, fraction = mantissa.partition(self.point)
        return _Picture(text, prefix, suffix, active, mantissa, exponent, integer, fraction if found else suffix)

    def check(self, picture: _Picture) -> None:
        text, integer, fraction, exponent = picture.text, picture.integer, picture.fraction, picture.exponent
        at = text.find(self.point)
        beside = at != -1 and (text[at - 1 : at] == self.comma or text[at + 1 : at + 2] == self.comma)
        optional, trailing = integer.find(self.digit), fraction.rfind(self.digit)
        scaled = self.percent in text or self.per_mille in text
        rules = [
            ("D3081", text.count(self.point) > 1),
            ("D3082", text.count(self.percent) > 1),
            ("D3083", text.count(self.per_mille) > 1),
            ("D3084", self.percent in text and self.per_mille in text),
            ("D3085", not any(character in self.family or character == self.digit for character in picture.mantissa)),
            ("D3086", any(character not in self.active for character in picture.active)),
            ("D3087", beside),
            ("D3088", at == -1 and integer.endswith(self.comma)),
            ("D3089", self.comma * 2 in text),
            ("D3090", optional != -1 and bool(self.digits(integer[:optional]))),
            ("D3091", trailing != -1 and bool(self.digits(fraction[trailing:]))),
            ("D3092", bool(exponent) and scaled),
            ("D3093", exponent is not None and (not exponent or any(character not in self.family for character in exponent))),
        ]
        broken = [code for code, is_broken in rules if is_broken]
        if broken:
            raise failure(broken[-1])

    def measure(self, picture: _Picture) -> None:
        def positions(part: str, *, left: bool) -> list[int]:
            found, at = [], part.find(self.comma)
            while at != -1:
                side = part[:at] if left else part[at:]
                found.append(sum(character in self.family or character == self.digit for character in side))
                at = part.find(self.comma, at + 1)
            return found

        picture.groups = positions(picture.integer, left=False)
        factor = math.gcd(*picture.groups) if picture.groups else 0
        even = factor and all(index * factor in picture.groups for index in range(1, len(picture.groups) + 1))
        picture.regular = factor if even else 0
        picture.fraction_groups = positions(picture.fraction, left=True)
        least = len(self.digits(picture.integer))
        picture.scale = least
        fraction_least = len(self.digits(picture.fraction))
        fraction_most = sum(character in self.family or character == self.digit for character in picture.fraction)
        present = picture.exponent is not None
        if least == 0 and fraction_most == 0:
            if present:
                fraction_least = fraction_most = 1
            else:
                least = 1
        if present and least == 0 and self.digit in picture.integer:
            least = 1
        if least == 0 and fraction_least == 0:
            fraction_least = 1
        picture.least_integer, picture.least_fraction, picture.most_fraction = least, fraction_least, fraction_most
        picture.least_exponent = len(self.digits(picture.exponent or ""))

    def text(self, value: Decimal, places: int) -> str:
        """The absolute value with this many decimal places, in the digits of the family."""
        digits = f"{abs(value):.{places}f}"
        return digits if self.zero == "0" else "".join(self.family[int(character)] if character.isdigit() else character for character in digits)


def format_number(value: float, picture: str, options: dict[str, str]) -> str:
    """The number as the picture says."""
    form = _Format(options)
    texts = picture.split(form.separator)
    if len(texts) > 2:
        raise failure("D3080")
    parts = [form.split(text) for text in texts]
    for part in parts:
        form.check(part)
        form.measure(part)
    chosen = parts[0]
    prefix = chosen.prefix
    if value < 0:
        chosen = parts[-1]
        prefix = chosen.prefix if len(parts) == 2 else form.minus + chosen.prefix
    amount = Decimal(repr(value))
    if form.percent in chosen.text:
        amount *= 100
    elif form.per_mille in chosen.text:
        amount *= 1000
    exponent: int | None = None
    if chosen.least_exponent:
        exponent = 0
        low, high = Decimal(10) ** (chosen.scale - 1), Decimal(10) ** chosen.scale
        while amount and abs(amount) < low:
            amount, exponent = amount * 10, exponent - 1
        while abs(amount) > high:
            amount, exponent = amount / 10, exponent + 1
    return prefix + _mantissa(form, chosen, amount) + _exponent(form, chosen, exponent) + chosen.suffix


def _mantissa(form: _Format, picture: _Picture, amount: Decimal) -> str:
    places = picture.most_fraction
    with contextlib.suppress(ArithmeticError):  # more digits than Decimal keeps
        amount = amount.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)
    integer, _, fraction = form.text(amount, places).partition(".")
    integer = integer.lstrip(form.zero).rjust(picture.least_integer, form.zero)
    fraction = fraction.rstrip(form.zero).ljust(picture.least_fraction, form.zero)
    size = len(integer)
    if picture.regular:
        marks = [size - group * picture.regular for group in range(1, (size - 1) // picture.regular + 1)]
    else:
        marks = [size - position for position in picture.groups if position < size]
    integer = _inserted(integer, marks, form.comma)
    fraction = _inserted(fraction, [position for position in picture.fraction_groups if position <= len(fraction)], form.comma)
    if form.point not in picture.text or not fraction:
        return integer
    return integer + form.point + fraction


def _inserted(text: str, marks: list[int], separator: str) -> str:
    for mark in sorted(marks, reverse=True):
        text = text[:mark] + separator + text[mark:]
    return text


def _exponent(form: _Format, picture: _Picture, exponent: int | None) -> str:
    if exponent is None:
        return ""
    digits = form.text(Decimal(exponent), 0).rjust(picture.least_exponent, form.zero)
    return form.exponent + (form.minus if exponent < 0 else "") + digits
