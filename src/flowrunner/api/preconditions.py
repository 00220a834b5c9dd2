"""``If-Match`` and ``ETag``: a writer says which state it has read."""

from __future__ import annotations

import re
from typing import Any

from litestar import Request

from flowrunner.api.identify import header
from flowrunner.api.problems import Refused, of_status

_TAG = re.compile(r'(?:W/)?"([0-9]{1,18})"')


def expected_of(request: Request[Any, Any, Any]) -> int | None:
    """The version of ``If-Match: "3"``; None for any."""
    given = header(request.scope, b"if-match")
    if given is None or given.strip() == "*":
        return None
    found = _TAG.fullmatch(given.strip())
    if found is None:
        raise Refused(of_status(400, 'If-Match names one version, such as "3".'))
    return int(found[1])


def tag(version: int) -> str:
    """A version as an ``ETag``."""
    return f'"{version}"'
