"""Paging: cursors of lists, opaque to clients and bound to the question they belong to."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re

from flowrunner.api.problems import Refused, of_status

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100
_TAG_BYTES = 8
_NUMBER = re.compile(r"[0-9]{1,15}")


def limit_of(text: str | None) -> int:
    """Read ``?limit=``: 1 to 1000."""
    if text is None:
        return DEFAULT_LIMIT
    if re.fullmatch(r"[0-9]{1,4}", text) is None or not 1 <= int(text) <= MAX_LIMIT:
        raise Refused(of_status(400, f"limit must be a whole number from 1 to {MAX_LIMIT}."))
    return int(text)


def cursor(started_at: int, identity: str, question: str) -> str:
    """The place after a row, for the same question (account and filters) only."""
    place = f"{started_at}:{identity}"
    return base64.urlsafe_b64encode(_tag(place, question) + place.encode()).decode().rstrip("=")


def place_of(text: str | None, question: str) -> tuple[int, str] | None:
    """Read ``?cursor=``; a problem 400 for one that this question never gave."""
    if text is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        tag, place = raw[:_TAG_BYTES], raw[_TAG_BYTES:].decode("ascii")
    except (binascii.Error, ValueError):
        tag, place = b"", ""
    started_at, colon, identity = place.partition(":")
    # The tag can be computed by anybody, so what it stands for can be anything.
    if not hmac.compare_digest(tag, _tag(place, question)) or not colon or _NUMBER.fullmatch(started_at) is None:
        raise Refused(of_status(400, "The cursor does not belong to this question; start again without it."))
    return int(started_at), identity


def _tag(place: str, question: str) -> bytes:
    # Not a secret: whoever forges a place still sees only the rows of the account that the question names.
    return hashlib.blake2s(f"{question}\n{place}".encode(errors="surrogateescape"), digest_size=_TAG_BYTES, person=b"cursor").digest()
