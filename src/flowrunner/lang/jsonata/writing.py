"""Writing JSONata of Step Functions: literals, the marks of an expression, names of members."""

from __future__ import annotations

import json
import re

from flowrunner.jsonvalue import JSONValue

MOST_EXACT = 1 << 53  # whole numbers beyond it are not exact in JSONata
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS = frozenset({"and", "or", "in", "true", "false", "null", "function"})


def literal(value: JSONValue) -> str:
    """A JSON value as JSONata writes it; raises ValueError for a number that it cannot hold exactly."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(name)}: {literal(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MOST_EXACT:
        raise ValueError(f"JSONata cannot hold {value} exactly")
    return json.dumps(value, ensure_ascii=False)


def marked(expression: str, comment: str = "") -> str:
    """An expression between its marks; `comment` stands before it unless it could not stand in a comment."""
    noted = f"/* {comment} */ " if comment and "*/" not in comment else ""
    return f"{{% {noted}{expression} %}}"


def as_it_is(value: JSONValue) -> JSONValue:
    """A value of a template in which nothing is taken for JSONata."""
    if isinstance(value, dict):
        return {name: as_it_is(part) for name, part in value.items()}
    if isinstance(value, list):
        return [as_it_is(part) for part in value]
    text = value.strip() if isinstance(value, str) else ""
    return marked(json.dumps(value)) if text.startswith("{%") or text.endswith("%}") else value


def member(of: str, name: str) -> str:
    """The member of an object that an expression gives."""
    return f"{of}.{name}" if _PLAIN_NAME.fullmatch(name) and name not in _WORDS else f"$lookup({of}, {json.dumps(name, ensure_ascii=False)})"
