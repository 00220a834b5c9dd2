"""What the routes of secrets take and give: bodies, names in paths, times, answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, unquote

import msgspec
from litestar import Request, Response
from msgspec import UNSET, UnsetType

from flowrunner.api.accounts import answer
from flowrunner.api.problems import Refused, of_status
from flowrunner.clock import SECOND
from flowrunner.errors import ExpressionError, InvalidDocument
from flowrunner.jsonvalue import JSONValue
from flowrunner.lang.moment import parse_timestamp
from flowrunner.vault.rotation import Report
from flowrunner.vault.secret import Secret, SecretInfo, SecretType
from flowrunner.vault.secrets import SecretQuery, StructuredChange
from flowrunner.vault.types import TYPES, Schema
from flowrunner.views.records import moment

METADATA = ("description", "tags", "expires_at")
MAX_PAGE = 1000
_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,8})h)?(?:(\d{1,8})m)?(?:(\d{1,10})(?:\.\d+)?s)?", re.ASCII)  # as Go writes them, and days
_SECONDS = (86400, 3600, 60, 1)


class Value(msgspec.Struct, forbid_unknown_fields=True):
    """The value of a simple secret."""

    value: str


class Structured(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A structured secret, or the parts of it to change; null clears."""

    type: SecretType | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    tags: list[str] | UnsetType | None = UNSET
    expires_at: str | UnsetType | None = UNSET
    data: dict[str, Any] | UnsetType = UNSET
    schema: Schema | UnsetType | None = UNSET


class Metadata(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Metadata to change; null clears."""

    description: str | UnsetType | None = UNSET
    tags: list[str] | UnsetType | None = UNSET
    expires_at: str | UnsetType | None = UNSET


class Search(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which structured secrets: all conditions hold. `expiring_within` is seconds, or a text such as ``36h`` or ``7d``."""

    type: str | None = None
    tags: list[str] = []
    description: str | None = None
    expiring_within: int | str | None = None
    last_used_before: str | None = None
    limit: int | None = None
    offset: int = 0


class RotationAsked(msgspec.Struct, forbid_unknown_fields=True):
    """What to rotate over all accounts: the master key, or every account's data key."""

    master: bool = False


# --- what comes in


def segments_of(request: Request[Any, Any, Any], key: str) -> list[str]:
    """The parts of the path that a parameter of the kind ``path`` stands for, with slashes that were spelt %2F within a part."""
    count = key.removeprefix("/").count("/") + 1
    raw = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    text = raw.partition(b"?")[0].decode("latin-1")
    whole_path = [unquote(part) for part in text.split("/")]
    decoded, parts = 0, []
    for part in reversed(whole_path):  # as many as make up the decoded path
        parts.append(part)
        decoded += part.count("/") + 1
        if decoded >= count:
            break
    return parts[::-1]


def name_of(request: Request[Any, Any, Any], key: str) -> str:
    """The name that the rest of the path spells."""
    return "/".join(segments_of(request, key))


def change_of(given: Structured) -> StructuredChange:
    """What the body says."""
    expires_at = time_of(given.expires_at, "/expires_at")
    return StructuredChange(type=given.type, description=given.description, tags=given.tags, expires_at=expires_at, data=given.data, schema=given.schema)


def time_of(text: str | UnsetType | None, pointer: str) -> int | UnsetType | None:
    """An RFC 3339 time in milliseconds. Raises InvalidDocument."""
    if text is None or text is UNSET:
        return text
    try:
        return parse_timestamp(text)
    except ExpressionError:
        raise InvalidDocument("This is no time such as 2026-01-02T03:04:05Z.", pointer=pointer) from None


def query_of(given: Search) -> SecretQuery:
    """What the body of a search says."""
    if given.offset < 0 or (given.limit is not None and not 0 <= given.limit <= MAX_PAGE):
        raise InvalidDocument(f"limit is 0 to {MAX_PAGE}, offset 0 or more.", pointer="/limit")
    before = time_of(given.last_used_before, "/last_used_before")
    within = None if given.expiring_within is None else _duration(given.expiring_within)
    return SecretQuery(
        type=type_of(given.type),
        tags=tuple(given.tags),
        description=given.description,
        expiring_within=within,
        last_used_before=before if isinstance(before, int) else None,
        limit=given.limit,
        offset=given.offset,
    )


def type_of(text: str | None) -> str | None:
    """The type of secrets that a question names; a problem 400 for one that there is not."""
    if text is not None and text not in TYPES:
        raise Refused(of_status(400, f"type must be one of {', '.join(TYPES)}."))
    return text


def _duration(given: int | str) -> int:
    if isinstance(given, int):
        if not 0 <= given < 10**11:
            raise InvalidDocument("expiring_within is a number of seconds, 0 or more.", pointer="/expiring_within")
        return given * SECOND
    found = _DURATION.fullmatch(given)
    if found is None or not given:
        raise InvalidDocument("expiring_within is a number of seconds, or a text such as 36h or 7d.", pointer="/expiring_within")
    return sum(int(part) * seconds for part, seconds in zip(found.groups(), _SECONDS, strict=True) if part) * SECOND


# --- what goes out


def shown(info: SecretInfo) -> dict[str, JSONValue]:
    """A secret without its value."""
    return {
        "key": info.name,
        "form": info.form,
        "type": info.type,
        "description": info.description,
        "tags": list(info.tags),
        "version": info.version,
        "created_at": moment(info.created_at),
        "updated_at": moment(info.updated_at),
        "expires_at": None if info.expires_at is None else moment(info.expires_at),
        "last_used": None if info.last_used is None else moment(info.last_used),
    }


def whole(secret: Secret) -> dict[str, JSONValue]:
    """A structured secret with its fields."""
    info = shown(secret.info)
    about = {name: info[name] for name in ("key", "type", *METADATA)}
    metadata = {name: info[name] for name in ("version", "created_at", "updated_at", "last_used")}
    return {**about, "data": secret.data, "schema": None if secret.schema is None else msgspec.to_builtins(secret.schema), "metadata": metadata}


def listed(found: Sequence[SecretInfo]) -> Response[bytes]:
    """A list."""
    return answer({"secrets": [shown(info) for info in found], "total": len(found)})


def tagged(value: JSONValue, info: SecretInfo, status: int = 200) -> Response[bytes]:
    """An answer whose ``ETag`` is the secret's version."""
    made = answer(value, status)
    made.headers["etag"] = f'"{info.version}"'
    return made


def rotated(report: Report) -> Response[bytes]:
    """What a rotation did."""
    return answer({"made": report.made, "resealed": report.resealed, "rewrapped": report.rewrapped, "retired": report.retired})
