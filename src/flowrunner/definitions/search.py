"""Which definitions a search means: a pure test of one, and the cut of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flowrunner.definitions.entries import Definition, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """All conditions hold; of `tags` any is enough. Texts are compared without regard to case, times are milliseconds since 1970 UTC, both ends included."""

    name_contains: str | None = None
    description_contains: str | None = None
    tags: tuple[str, ...] = ()
    category: str | None = None
    status: Status | None = None
    created_after: int | None = None
    created_before: int | None = None
    updated_after: int | None = None
    updated_before: int | None = None
    test_case: bool | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A part of what was found; `total` is all of it, `following` the id to go on after, None at the end."""

    rows: Sequence[Definition]
    total: int
    following: str | None


def matches(definition: Definition, search: Search) -> bool:
    """Whether the search means this definition."""
    return (
        _holds(definition.name, search.name_contains)
        and _holds(definition.description, search.description_contains)
        and (not search.tags or not set(search.tags).isdisjoint(definition.tags))
        and search.category in (None, definition.category)
        and search.status in (None, definition.status)
        and search.test_case in (None, definition.test_case)
        and _within(definition.created_at, search.created_after, search.created_before)
        and _within(definition.updated_at, search.updated_after, search.updated_before)
    )


def _holds(text: str, part: str | None) -> bool:
    return part is None or part.casefold() in text.casefold()


def _within(at: int, after: int | None, before: int | None) -> bool:
    return (after is None or at >= after) and (before is None or at <= before)


def cut(found: Sequence[Definition], *, limit: int, offset: int = 0, after: str | None = None) -> Found:
    """At most `limit` of these, which are in order of their ids: those after an id, or else after so many."""
    rest = [definition for definition in found if definition.id > after] if after is not None else found[offset:]
    rows = rest[:limit]
    return Found(rows, len(found), rows[-1].id if rows and len(rest) > limit else None)
