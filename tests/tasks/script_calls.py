"""Scripts as tests run them."""

from flowrunner.errors import NotFound, StoreUnavailable
from flowrunner.tasks.javascript.calls import ScriptCall, ScriptLimits, ScriptScope

INPUT = {"x": 3, "name": "Ada", "items": [{"id": 1, "value": 10}, {"id": 2, "value": 20}], "when": "2026-01-02T03:04:05Z"}
VALUES = {"API_KEY": "k-123", "DB": {"user": "u", "password": "p-456"}}


async def secret(name):
    if name == "AWAY":
        raise StoreUnavailable
    if name not in VALUES:
        raise NotFound("secret", name)
    return VALUES[name]


async def secret_names():
    return ["DB", "API_KEY"]


def scope(lines=None, **changes):
    limits = ScriptLimits(**changes.pop("limits", {}))
    names = {"input": INPUT, "shared": {"seen": 1}, "results": {"first": {"ok": True}}, "execution": {"id": "e1", "flow_id": "f1"}} | changes.pop("names", {})
    heard = (lambda level, message: lines.append((level, message))) if lines is not None else (lambda level, message: None)
    return ScriptScope(**{"names": names, "secret": secret, "secret_names": secret_names, "log": heard, "limits": limits} | changes)


def script(source, lines=None, prep=None, post=None, **changes):
    return ScriptCall(source=source, scope=scope(lines, **changes), prep=prep, post=post)
