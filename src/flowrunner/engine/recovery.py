"""Taking over what a node that is gone left: its attempts are in doubt unless they may be repeated (reliability G3)."""

from __future__ import annotations

from collections.abc import Callable

from flowrunner.core import facts
from flowrunner.core.facts import Fact
from flowrunner.core.machine import Machine, OpenAttempt
from flowrunner.engine.dispatch import Dispatcher
from flowrunner.engine.live import Live, Message


def take_over(live: Live, dispatcher: Dispatcher, wake: Callable[[Machine, int], Fact | None]) -> None:
    """Leave the messages in the mailbox that make a loaded execution go on here.

    Attempts that had not begun begin as soon as there is a place; those that had are repeated if they may be, else they are
    lost; those that wait outside (activities, callbacks, jobs) just wait on. `wake` looks at the time.
    """
    for attempt in live.machine.open_attempts():
        if attempt.command.resource.family == "activity" or attempt.status == "submitted":
            continue
        live.mailbox.extend(_resumed(live, attempt, dispatcher))
    live.mailbox.append(Message(make=wake))


def _resumed(live: Live, attempt: OpenAttempt, dispatcher: Dispatcher) -> list[Message]:
    number = attempt.command.attempt
    call = dispatcher.call(live, attempt.command)
    if attempt.status == "started" and not dispatcher.idempotent(call):
        return [Message(make=_lost(number))]
    live.local.add(number)
    handler = dispatcher.reserve(call)
    if handler is None:
        return []
    return [Message(make=_restarted(number), then=lambda: dispatcher.run(call, handler), undo=lambda: dispatcher.release(handler))]


def _lost(attempt: int) -> Callable[[Machine, int], Fact | None]:
    return lambda machine, now: facts.AttemptLost(at=now, attempt=attempt) if machine.open_attempt(attempt) is not None else None


def _restarted(attempt: int) -> Callable[[Machine, int], Fact | None]:
    # An attempt that had begun gets no second start record; the fact still marks that somebody has it in hand again.
    return lambda machine, now: facts.AttemptStarted(at=now, attempt=attempt) if machine.open_attempt(attempt) is not None else None
