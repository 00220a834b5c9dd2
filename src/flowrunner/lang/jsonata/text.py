"""JSONata's functions on strings and regular expressions."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import urllib.parse
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from flowrunner.lang.jsonata.calls import apply
from flowrunner.lang.jsonata.messages import failure, refused
from flowrunner.lang.jsonata.regex import Regex
from flowrunner.lang.jsonata.values import UNDEFINED, Array, Frame, Function, Object, Run, Sentinel, Sequence, Wrapper

Table = dict[str, tuple[str, Any]]  # name -> (signature, function of the run and the arguments)

_BLANKS = re.compile(r"[ \t\n\r]+")
_ESCAPES = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_LEADING_DIGITS = re.compile(r"\d+")
_DIGITS_SHOWN = 15  # significant digits of a number as text (``toPrecision(15)`` in the reference)
_RESERVED = ";/?:@&=+$,#"  # decodeURI leaves their escapes alone


def text_of(value: Any, run: Run, indent: str = "") -> str:
    """``$string``: strings as they are, functions as nothing, everything else as JSON."""
    if type(value) is Wrapper:
        value = value[0]
    if type(value) is str:
        return value
    if isinstance(value, Function):
        return ""
    parts: list[str] = []
    _write(value, parts, run, indent, "")
    text = "".join(parts)
    run.text(len(text))
    return text


def _write(value: Any, parts: list[str], run: Run, indent: str, margin: str) -> None:
    if type(value) is str:
        run.text(len(value))
        parts.append(json.dumps(value, ensure_ascii=False))
    elif isinstance(value, dict):
        _write_container(
            "{}", [(json.dumps(key, ensure_ascii=False) + (": " if indent else ":"), part) for key, part in value.items()], parts, run, indent, margin
        )
    elif isinstance(value, list):
        _write_container("[]", [("", part) for part in value], parts, run, indent, margin)
    elif value is True or value is False:
        parts.append("true" if value else "false")
    elif value is None or isinstance(value, Sentinel):
        parts.append("null")
    elif isinstance(value, Function):
        parts.append('""')
    else:
        parts.append(number_text(value))


def _write_container(brackets: str, members: list[tuple[str, Any]], parts: list[str], run: Run, indent: str, margin: str) -> None:
    run.spend(len(members) + 1 + (sum(len(key) + len(margin) for key, _ in members) >> 6))
    if not members:
        parts.append(brackets)
        return
    inner = margin + indent
    parts.append(brackets[0])
    for index, (key, part) in enumerate(members):
        parts.append(("," if index else "") + (f"\n{inner}" if indent else "") + key)
        _write(part, parts, run, indent, inner)
    parts.append((f"\n{margin}" if indent else "") + brackets[1])


def number_text(value: float) -> str:
    """A number as JavaScript writes it, with 15 significant digits."""
    if type(value) is int and -(10**_DIGITS_SHOWN) < value < 10**_DIGITS_SHOWN:
        return str(value)
    try:
        rounded = float(f"{float(value):.{_DIGITS_SHOWN}g}")
    except OverflowError:
        raise failure("D3001", value=str(value)) from None
    if not math.isfinite(rounded):
        raise failure("D3001", value=str(value))
    if rounded.is_integer() and abs(rounded) < 1e21:
        return str(int(rounded))
    text = repr(rounded)
    if "e" not in text:
        return text
    if 1e-7 < abs(rounded) < 1e21 and abs(rounded) >= 1e-6:
        return format(Decimal(text), "f")
    mantissa, exponent = text.split("e")
    return f"{mantissa}e{'+' if int(exponent) > 0 else ''}{int(exponent)}"


def _string(run: Run, value: Any, prettify: Any) -> Any:
    if value is UNDEFINED:
        return value
    return text_of(value, run, "  " if prettify is True else "")


def _substring(run: Run, text: Any, start: Any, length: Any) -> Any:
    if text is UNDEFINED:
        return text
    run.scan(len(text))
    if start is UNDEFINED:
        return text if length is UNDEFINED else ""
    first = max(0, int(start) + len(text)) if start < 0 else int(start)
    if length is UNDEFINED:
        return text[first:]
    return text[first : max(first, math.ceil(first + length))] if length > 0 else ""


def _before(run: Run, text: Any, mark: Any) -> Any:
    return text if text is UNDEFINED or mark is UNDEFINED or not _holds(run, text, mark) else text[: text.index(mark)]


def _after(run: Run, text: Any, mark: Any) -> Any:
    return text if text is UNDEFINED or mark is UNDEFINED or not _holds(run, text, mark) else text[text.index(mark) + len(mark) :]


def _holds(run: Run, text: str, mark: str) -> bool:
    run.scan(2 * len(text))
    return mark in text


def _trim(run: Run, text: Any) -> Any:
    if text is UNDEFINED:
        return text
    run.text(len(text))
    return _BLANKS.sub(" ", text).strip(" ")


def _pad(run: Run, text: Any, width: Any, fill: Any) -> Any:
    if text is UNDEFINED or width is UNDEFINED:
        return text
    missing = int(abs(width)) - len(text)
    if missing <= 0:
        return text
    run.text(missing + len(text))
    fill = " " if fill is UNDEFINED or not fill else fill
    padding = (fill * (missing // len(fill) + 1))[:missing]
    return padding + text if width < 0 else text + padding


def _join(run: Run, texts: Any, separator: Any) -> Any:
    if texts is UNDEFINED:
        return texts
    glue = "" if separator is UNDEFINED else separator
    run.text(sum(map(len, texts)) + len(glue) * len(texts))
    return glue.join(texts)


def _matches(run: Run, frame: Frame, matcher: Function, text: str, token: str) -> Iterator[tuple[str, int, int, list[Any]]]:
    """What a regular expression, or a function that acts as one, finds: text, start, end, groups."""
    if isinstance(matcher, Regex):
        for match in matcher.matches(text, run):
            if match.end() == match.start():
                raise failure("D1004", value=text)
            yield match.group(0), match.start(), match.end(), list(match.groups())
            if match.end() >= len(text):
                return
        return
    found = apply(matcher, [text], None, frame)
    while found is not UNDEFINED:
        shaped = isinstance(found, dict) and {"match", "start", "end", "groups", "next"} <= found.keys() and isinstance(found["next"], Function)
        if not shaped:
            raise failure("T1010", token=token)
        groups = found["groups"] if isinstance(found["groups"], list) else [found["groups"]]
        yield found["match"], int(found["start"]), int(found["end"]), groups
        found = apply(found["next"], [], None, frame)


def _contains(run: Run, _focus: Any, frame: Frame, text: Any, token: Any) -> Any:
    if text is UNDEFINED or token is UNDEFINED:
        return UNDEFINED
    return _holds(run, text, token) if type(token) is str else next(_matches(run, frame, token, text, "contains"), None) is not None


def _match(run: Run, _focus: Any, frame: Frame, text: Any, matcher: Any, limit: Any) -> Any:
    if text is UNDEFINED:
        return text
    if limit is not UNDEFINED and limit < 0:
        raise failure("D3040", value=limit)
    made = Sequence()
    if limit is UNDEFINED or limit > 0:
        for match, start, _, groups in _matches(run, frame, matcher, text, "match"):
            made.append(Object(match=match, index=start, groups=Array(groups)))
            if limit is not UNDEFINED and len(made) >= limit:
                break
    return made


def _split(run: Run, _focus: Any, frame: Frame, text: Any, separator: Any, limit: Any) -> Any:
    if text is UNDEFINED:
        return text
    if limit is not UNDEFINED and limit < 0:
        raise failure("D3020", value=limit)
    most = None if limit is UNDEFINED else int(limit)
    if type(separator) is str:
        run.scan(2 * len(text))
        run.spend(text.count(separator) + 1)
        return Array((text.split(separator) if separator else list(text))[:most])
    made, position = Array(), 0
    if separator is UNDEFINED:
        return Array([text])
    for _, start, end, _groups in _matches(run, frame, separator, text, "split"):
        if most is not None and len(made) >= most:
            return made
        made.append(text[position:start])
        position = end
    if most is None or len(made) < most:
        made.append(text[position:])
    return made


def _replace(run: Run, _focus: Any, frame: Frame, text: Any, pattern: Any, replacement: Any, limit: Any) -> Any:
    if text is UNDEFINED:
        return text
    if pattern == "":
        raise failure("D3010", value=pattern)
    if limit is not UNDEFINED and limit < 0:
        raise failure("D3011", value=limit)
    run.scan(2 * len(text))
    most = -1 if limit is UNDEFINED else math.ceil(limit)
    if most == 0 or pattern is UNDEFINED:
        return text
    if type(pattern) is str:
        if type(replacement) is not str:
            raise failure("D3012", value=replacement)
        run.text(len(text) + text.count(pattern) * len(replacement))
        return text.replace(pattern, replacement, most)
    parts: list[str] = []
    position = 0
    for count, (match, start, _, groups) in enumerate(_matches(run, frame, pattern, text, "replace"), start=1):
        parts.append(text[position:start])
        if type(replacement) is str:
            run.scan(len(replacement))
            run.spend(replacement.count("$"))
            parts.append(_substituted(replacement, match, groups))
        else:
            found = Object(match=match, start=start, end=start + len(match), groups=Array(groups))
            value = apply(replacement, [found], None, frame)
            if type(value) is not str:
                raise failure("D3012", value=value)
            parts.append(value)
        run.text(len(parts[-1]))
        position = start + len(match)
        if count == most:
            break
    parts.append(text[position:])
    run.text(sum(map(len, parts)))
    return "".join(parts)


def _substituted(replacement: str, match: str, groups: list[Any]) -> str:
    """The replacement with ``$0``, ``$1`` ... and ``$$`` filled in."""
    made, position = [], 0
    digits = len(str(len(groups))) if groups else 1
    while (index := replacement.find("$", position)) != -1:
        made.append(replacement[position:index])
        position = index + 1
        following = replacement[position : position + 1]
        if following in {"$", "0"} and following:
            made.append("$" if following == "$" else match)
            position += 1
            continue
        found = _LEADING_DIGITS.match(replacement[position : position + digits])
        if found is None:
            made.append("$")
            continue
        number = int(found.group())
        if digits > 1 and number > len(groups):
            number = int(found.group()[: digits - 1])
        if 0 < number <= len(groups) and isinstance(groups[number - 1], str):
            made.append(groups[number - 1])
        position += len(str(number))
    made.append(replacement[position:])
    return "".join(made)


def _base64encode(run: Run, text: Any) -> Any:
    if text is UNDEFINED:
        return text
    run.text(len(text))
    return base64.b64encode(text.encode("utf-8", "replace")).decode()


def _base64decode(run: Run, text: Any) -> Any:
    if text is UNDEFINED:
        return text
    run.text(len(text))
    try:
        return base64.b64decode(text.encode() + b"==").decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        raise refused("base64decode", 1, "it is not Base64") from None


def _encoder(name: str, safe: str) -> Any:
    def encode(run: Run, text: Any) -> Any:
        if text is UNDEFINED:
            return text
        run.text(3 * len(text))
        if not text.isascii():  # up to four bytes for a character
            run.spend(len(text) >> 3)
        try:
            return urllib.parse.quote(text, safe=safe)
        except UnicodeEncodeError:
            raise failure("D3140", token=name, value="malformed") from None

    return encode


def _decoder(name: str, kept: str) -> Any:
    def unescape(match: re.Match[str]) -> str:
        text = bytes.fromhex(match.group().replace("%", "")).decode("utf-8")
        return "".join(f"%{ord(character):02X}" if character in kept else character for character in text)

    def decode(run: Run, text: Any) -> Any:
        if text is UNDEFINED:
            return text
        run.text(len(text))
        run.spend(text.count("%"))
        if re.search(r"%(?![0-9A-Fa-f]{2})", text):
            raise failure("D3140", token=name, value=text)
        try:
            return _ESCAPES.sub(unescape, text)
        except UnicodeDecodeError:
            raise failure("D3140", token=name, value=text) from None

    return decode


def _mapped(change: Any) -> Any:
    def mapped(run: Run, text: Any) -> Any:
        if text is UNDEFINED:
            return text
        run.text(len(text))
        return change(text)

    return mapped


TEXT: Table = {
    "string": ("<x-b?:s>", _string),
    "substring": ("<s-nn?:s>", _substring),
    "substringBefore": ("<s-s:s>", _before),
    "substringAfter": ("<s-s:s>", _after),
    "lowercase": ("<s-:s>", _mapped(str.lower)),
    "uppercase": ("<s-:s>", _mapped(str.upper)),
    "length": ("<s-:n>", _mapped(len)),
    "trim": ("<s-:s>", _trim),
    "pad": ("<s-ns?:s>", _pad),
    "join": ("<a<s>s?:s>", _join),
    "base64encode": ("<s-:s>", _base64encode),
    "base64decode": ("<s-:s>", _base64decode),
    "encodeUrlComponent": ("<s-:s>", _encoder("encodeUrlComponent", "~()*!.'")),
    "encodeUrl": ("<s-:s>", _encoder("encodeUrl", "~@#$&()*!+=:;,.?/'")),
    "decodeUrlComponent": ("<s-:s>", _decoder("decodeUrlComponent", "")),
    "decodeUrl": ("<s-:s>", _decoder("decodeUrl", _RESERVED)),
}
CONTEXTUAL_TEXT: Table = {
    "match": ("<s-f<s:o>n?:a<o>>", _match),
    "contains": ("<s-(sf):b>", _contains),
    "replace": ("<s-(sf)(sf)n?:s>", _replace),
    "split": ("<s-(sf)n?:a<s>>", _split),
}
