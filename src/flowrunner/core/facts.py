"""What happened to an execution: the only inputs of its machine, and the only thing replay needs.

Every fact says when, in milliseconds since 1970 UTC (`at`). Facts are stored encoded; a field added later has a default,
a tag is never reused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec


class _Fact(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", omit_defaults=True):
    at: int


class Started(_Fact, frozen=True, kw_only=True, tag="started"):
    """The execution begins; its input and seed are the machine's own."""


class Continued(_Fact, frozen=True, kw_only=True, tag="continued"):
    """The step before was cut at its bound of transitions; go on."""


class TimerFired(_Fact, frozen=True, kw_only=True, tag="timer"):
    """It is `at` now: everything due by then is due."""


class AttemptStarted(_Fact, frozen=True, kw_only=True, tag="attempt-started"):
    """Somebody begins to carry this attempt out; `worker` is an activity worker's name."""

    attempt: int
    worker: str | None = None


class AttemptSubmitted(_Fact, frozen=True, kw_only=True, tag="attempt-submitted"):
    """The call was made and answered with `output` (JSON text); the result comes later (callback and job patterns)."""

    attempt: int
    output: str


class AttemptHeartbeat(_Fact, frozen=True, kw_only=True, tag="attempt-heartbeat"):
    """The worker is alive."""

    attempt: int


class AttemptSucceeded(_Fact, frozen=True, kw_only=True, tag="attempt-succeeded"):
    """The attempt ended with `output` (JSON text). `job` tells that it is the end of what the call began (a job, or a wait for a task token), not of the call."""

    attempt: int
    output: str
    job: bool = False


class AttemptFailed(_Fact, frozen=True, kw_only=True, tag="attempt-failed"):
    """The attempt ended with an error; `phase` tells whether it failed before it was started, on submission or in its run.

    `job` as in AttemptSucceeded.
    """

    attempt: int
    error: str | None = None
    cause: str | None = None
    phase: Literal["schedule", "start", "submit", "run"] = "run"
    job: bool = False


class LogLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an attempt said while it ran; `data` is JSON text."""

    level: Literal["debug", "info", "warn", "error"]
    message: str
    data: str | None = None


class AttemptLogged(_Fact, frozen=True, kw_only=True, tag="attempt-logged"):
    """The attempt said something."""

    attempt: int
    lines: tuple[LogLine, ...]


class AttemptLost(_Fact, frozen=True, kw_only=True, tag="attempt-lost"):
    """The process that carried it out died: whether it took effect is unknown (reliability G3)."""

    attempt: int


class Stopped(_Fact, frozen=True, kw_only=True, tag="stopped"):
    """Somebody stopped the execution."""

    error: str | None = None
    cause: str | None = None


Fact = (
    Started
    | Continued
    | TimerFired
    | AttemptStarted
    | AttemptSubmitted
    | AttemptHeartbeat
    | AttemptSucceeded
    | AttemptFailed
    | AttemptLogged
    | AttemptLost
    | Stopped
)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Fact])


def encode(facts: Sequence[Fact]) -> bytes:
    """The facts of one step as JSON."""
    return _encoder.encode(facts)


def decode(text: bytes) -> list[Fact]:
    """The facts of one step; raises msgspec.ValidationError for what is not facts."""
    return _decoder.decode(text)
