"""Task tokens: finding the attempt that a token is good for, and what its holder says of it."""

from __future__ import annotations

from collections.abc import Callable

from flowrunner.core import facts
from flowrunner.core.facts import Fact
from flowrunner.core.machine import Machine
from flowrunner.core.run import read_token
from flowrunner.errors import InvalidToken, TaskTokenTimedOut

FactOf = Callable[[int, int], Fact]
INVALID = "Invalid Token: 'Invalid token'"
OVER = "Task Timed Out: 'Provided task does not exist anymore'"


def named_by(token: str) -> tuple[str, int]:
    """The execution and the attempt a token names; raises InvalidToken."""
    named = read_token(token)
    if named is None:
        raise InvalidToken(INVALID)
    return named


def answered(output: str | None, error: str | None, cause: str | None) -> FactOf:
    """The end of the attempt: with output (JSON text) it succeeds, else it fails. It waits for the call that has handed the token out."""

    def fact_of(attempt: int, now: int) -> Fact:
        if output is not None:
            return facts.AttemptSucceeded(at=now, attempt=attempt, output=output, job=True)
        return facts.AttemptFailed(at=now, attempt=attempt, error=error, cause=cause, job=True)

    return fact_of


def alive(attempt: int, now: int) -> Fact:
    """Its worker is alive."""
    return facts.AttemptHeartbeat(at=now, attempt=attempt)


def proven(token: str, attempt: int, fact_of: FactOf) -> Callable[[Machine, int], Fact]:
    """The message of a token's holder: the token is proven against the machine, and good only while its attempt is open, for one answer (G5)."""

    def make(machine: Machine, now: int) -> Fact:
        if not machine.owns_token(token, attempt):
            raise InvalidToken(INVALID)
        found = machine.open_attempt(attempt)
        if found is None or found.answered:
            raise TaskTokenTimedOut(OVER)
        return fact_of(attempt, now)

    return make
