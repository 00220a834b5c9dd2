"""ARNs in paths: those of flows and workflows hold a slash, which would end a route's parameter."""

from __future__ import annotations

import re

_OWN_ARN = re.compile(r"(/api/v\d/(?:executions|workflows/runs)/arn:[^/]*:(?:flow|workflow))/([^/:]+:)")
_SLASH = "%2F"


def in_one_piece(path: str) -> str:
    """The path of a request with the slash of an execution's ARN encoded again, which the HTTP server has decoded."""
    return _OWN_ARN.sub(rf"\1{_SLASH}\2", path, count=1)


def arn_in(parameter: str) -> str:
    """The ARN that a path's parameter stands for; names have no percent signs."""
    return parameter.replace(_SLASH, "/")
