"""What the tasks of the crash flows do: they leave a line in the ledger, and return, fail or hand a token on.

Each line carries the attempt's key, so that it can be held against the history. Idempotent or not is said where the function
is registered (`flows`); the code is the same, since it is the engine that must know the difference.
"""

from __future__ import annotations

import time
from typing import Any

from flowrunner.testing.crash.ledger import note


class Busy(Exception):
    """The first attempts of some tasks fail, as the machine says; a Retry answers."""


class OutOfStock(Exception):
    """What no Retry helps against; a Catch answers."""


def effect(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take effect once, and answer; `busy` is how many attempts fail, `seconds` how long the work takes, `refuse` fails for good."""
    note(_line(context))
    if event.get("seconds"):
        time.sleep(event["seconds"])
    if event.get("retry", 0) < event.get("busy", 0):
        raise Busy("Come again.")
    if event.get("refuse"):
        raise OutOfStock("There is none left.")
    return {"done": event.get("item", True)}


def offer(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Hand a task token to the outside, which reads it in the ledger."""
    note(_line(context) | {"token": event["token"]})
    return {}


def _line(context: Any) -> dict[str, Any]:
    return {
        "function": context.function_name, "key": context.idempotency_key, "execution": context.execution_arn, "state": context.state_name, "at": time.time(),
    }  # fmt: skip
