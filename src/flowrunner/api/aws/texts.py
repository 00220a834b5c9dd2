"""JSON texts within requests (inputs and outputs): whether they are JSON, and if not, what AWS's parser says about them.

AWS reads them with Jackson and answers with its messages, without the position. Recorded: an unknown word, a name without
double quotes, an empty text; the others follow Jackson's ``ParserMinimalBase`` and ``ReaderBasedJsonParser``.
"""

from __future__ import annotations

import json
import re

from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import MAX_DEPTH, MAX_DIGITS, depth, loads, repeated_name

SHOWN_CHARACTERS = 200  # of a name in a message
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_VALUES = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
_NAME_WANTED = "was expecting double-quote to start field name"


def json_fault(text: str) -> str | None:
    """What is wrong with a JSON text, in the parser's words; None if nothing is. An empty text gives an empty message."""
    if not text or text.isspace():
        return ""
    try:
        value = loads(text)
    except InvalidDocument:
        return _message(text)
    # Depth costs a walk; it cannot be exceeded by fewer opening brackets than that.
    if text.count("[") + text.count("{") > MAX_DEPTH and depth(value) > MAX_DEPTH:
        return f"Document nesting depth exceeds the maximum allowed ({MAX_DEPTH})"
    name = repeated_name(text, value)
    return None if name is None else f"Duplicate field '{name[:SHOWN_CHARACTERS]}'"


def _message(text: str) -> str:
    try:
        json.loads(text, parse_constant=_refuse, parse_int=_bounded, parse_float=_bounded)
    except json.JSONDecodeError as error:
        return _at(text, error.pos, error.msg)
    except _Constant as found:
        return f"Unrecognized token '{found}': was expecting {_VALUES}"
    except RecursionError:
        return f"Document nesting depth exceeds the maximum allowed ({MAX_DEPTH})"
    except ValueError:
        return f"Number value length exceeds the maximum allowed ({MAX_DIGITS})"
    return "Invalid UTF-16 surrogate in a string, or a number out of range"


class _Constant(Exception):
    """NaN or Infinity."""


def _refuse(name: str) -> None:
    raise _Constant(name.removeprefix("-"))


def _bounded(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(digits[:20])
    return 0


def _at(text: str, position: int, problem: str) -> str:
    if problem.startswith("Unterminated string"):
        return "Unexpected end-of-input: was expecting closing quote for a string value"
    if problem.startswith("Invalid control character"):
        return f"Illegal unquoted character ((CTRL-CHAR, code {ord(text[position])})): has to be escaped using backslash to be included in string value"
    if problem.startswith("Invalid \\"):
        return "Unrecognized character escape"
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    container = _container(text[:position])
    if position >= len(text):
        return f"Unexpected end-of-input: expected close marker for {container}" if container else "Unexpected end-of-input within/between entries"
    seen = f"Unexpected character ('{text[position]}' (code {ord(text[position])}))"
    if problem.startswith("Expecting property name"):
        return f"{seen}: {_NAME_WANTED}"
    if problem.startswith("Illegal trailing comma"):
        closing = text[position + 1 :].lstrip()[:1]
        shown = f"Unexpected character ('{closing}' (code {ord(closing or ' ')}))"
        return f"{shown}: {_NAME_WANTED}" if container == "Object" else f"{shown}: expected a valid value {_VALUES}"
    if problem.startswith("Expecting ':'"):
        return f"{seen}: was expecting a colon to separate field name and value"
    if problem.startswith("Expecting ','"):
        return f"{seen}: was expecting comma to separate {container} entries"
    word = _WORD.match(text, position)
    if word is not None:
        return f"Unrecognized token '{word[0]}': was expecting {_VALUES}"
    return f"{seen}: expected a valid value {_VALUES}"


def _container(before: str) -> str:
    """The innermost array or object that is open after this text; empty at the top."""
    opened = []
    for character in _STRING.sub("", before):
        if character in "[{":
            opened.append(character)
        elif character in "]}" and opened:
            opened.pop()
    return {"[": "Array", "{": "Object"}[opened[-1]] if opened else ""
