"""What a route takes and answers, said beside it: the OpenAPI document is written from this, and a test holds the server to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

JSON, YAML, TEXT, EVENTS, HTML = "application/json", "application/yaml", "text/plain", "text/event-stream", "text/html"


@dataclass(frozen=True, slots=True)
class Media:
    """An answer that is no JSON; where it is JSON for those who ask otherwise, `also` is its type."""

    type: str
    also: Any = None


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query."""

    name: str
    meaning: str
    kind: Literal["string", "integer", "boolean"] = "string"
    least: int | None = None
    most: int | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """`takes` is the type of the body, `gives` what each good status carries (None: nothing), `fails` the problems beside those that any route has.

    With `keyed` a request may have an Idempotency-Key, with `tagged` an If-Match. A `resumable` one with the same key may be carried out again while
    nobody knows how it ended: it finds what it began.
    """

    gives: Mapping[int, Any]
    takes: Any = None
    fails: tuple[int, ...] = ()
    query: tuple[Parameter, ...] = ()
    keyed: bool = False
    tagged: bool = False
    resumable: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


LIMIT = Parameter("limit", "How many at most.", "integer", least=1, most=1000)
CURSOR = Parameter("cursor", "Where to go on: the cursor of the page before.")
OFFSET = Parameter("offset", "How many to pass by, where no cursor is given.", "integer", least=0, most=1_000_000)
PAGED = (LIMIT, CURSOR, OFFSET)
