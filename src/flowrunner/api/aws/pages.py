"""Page tokens: where the next page begins, and of which list. Opaque to callers, checked when they come back.

A token holds nothing secret and grants nothing: the request it comes with is authorised like the first one.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson

from flowrunner.api.aws.faults import invalid_page_token


def page_token(listing: str, *position: str | int) -> str:
    """The token for the page of `listing` after this position."""
    return base64.urlsafe_b64encode(orjson.dumps([listing, *position])).decode()


def page_position(token: str | None, listing: str, *kinds: type) -> list[Any] | None:
    """The position of a token, None without one; raises AwsFault for a token that is not of this list or was tampered with."""
    if token is None:
        return None
    try:
        found = orjson.loads(base64.b64decode(token.encode(), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        raise invalid_page_token() from None
    if not isinstance(found, list) or not found or found[0] != listing or [type(part) for part in found[1:]] != list(kinds):
        raise invalid_page_token()
    return found[1:]
