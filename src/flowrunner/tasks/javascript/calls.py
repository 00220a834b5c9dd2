"""What is asked of a script, what it gives, and how it fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from flowrunner.errors import NotFound
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.limits import MIB

SCRIPT_ERROR = "FlowRunner.ScriptError"
SCRIPT_TIMEOUT = "FlowRunner.ScriptTimeout"
SCRIPT_MEMORY = "FlowRunner.ScriptMemory"
SCRIPT_OUTPUT = "FlowRunner.ScriptOutput"
SCRIPT_BUSY = "FlowRunner.ScriptBusy"
LONGEST_MILLISECONDS = 900_000
MOST_MEMORY_BYTES = 1024 * MIB
MOST_MESSAGE = 8192  # characters of what a script threw: prelude.js cuts it there
CUT = "…"  # at the end of a line that was cut

Level = Literal["debug", "info", "warn", "error"]
ReadSecret = Callable[[str], Awaitable[JSONValue]]
ListSecrets = Callable[[], Awaitable[Sequence[str]]]
Log = Callable[[Level, str], None]


class ScriptFailed(Exception):
    """A script did not give a value. `line` and `column` count from 1 in the author's source; 0 when there is no place.

    `error` is the name that Retry and Catch see; `place` is where among the filled values the expression stands (JSON pointer).
    """

    def __init__(self, error: str, message: str, *, line: int = 0, column: int = 0, place: str = "") -> None:
        self.error, self.message, self.line, self.column, self.place = error, message, line, column, place
        super().__init__(self.cause)

    @property
    def cause(self) -> str:
        """The message and where it happened, in one text."""
        where = [f"line {self.line}, column {self.column}"] if self.line else []
        where += [f"in {self.place}"] if self.place else []
        return f"{self.message} ({' '.join(where)})" if where else self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptLimits:
    """What one call may use. Time is of the clock on the wall, without waiting for secrets; output is its JSON text."""

    milliseconds: int = 5_000
    memory_bytes: int = 64 * MIB
    output_bytes: int = 1 * MIB
    log_lines: int = 1_000
    log_line_bytes: int = 8 * 1024

    def __post_init__(self) -> None:
        if not 1 <= self.milliseconds <= LONGEST_MILLISECONDS:
            raise ValueError(f"A script's time must be 1 to {LONGEST_MILLISECONDS} ms, not {self.milliseconds}.")
        if not MIB <= self.memory_bytes <= MOST_MEMORY_BYTES:
            raise ValueError(f"A script's memory must be {MIB} to {MOST_MEMORY_BYTES} bytes, not {self.memory_bytes}.")


async def no_secret(name: str) -> JSONValue:
    """There is no vault: every secret is missing."""
    raise NotFound("secret", name)


def _unheard(level: Level, message: str) -> None:
    del level, message


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptScope:
    """What scripts of one attempt see and may use.

    `names` are the variables by name: ``input``, ``shared``, ``results``, ``variables``, ``execution`` (null when not given), and any more;
    ``secrets`` and ``console`` are always there. `secret` gives a secret's value and raises a FlowRunnerError when there is none;
    `secret_names` lists them for scripts that print or search `secrets` itself (else those are shown that were read). `log` is called
    for each line while the script runs. `account` is whose script it is: accounts share the processes fairly.
    """

    names: Mapping[str, JSONValue] = field(default_factory=dict)
    secret: ReadSecret = no_secret
    secret_names: ListSecrets | None = None
    log: Log = _unheard
    limits: ScriptLimits = field(default_factory=ScriptLimits)
    account: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptCall:
    """A function body or an expression; with hooks around it, all in one context.

    What `prep` returns becomes ``input`` (undefined leaves it); `post` also sees ``output``, what `source` returned.
    """

    source: str
    scope: ScriptScope = field(default_factory=ScriptScope)
    prep: str | None = None
    post: str | None = None


@dataclass(frozen=True, slots=True)
class ScriptOutcome:
    """What `source` returned (None also for undefined: then `defined` is false), what `post` returned, and `shared` if the script changed it."""

    value: JSONValue
    defined: bool = True
    post: JSONValue = None
    shared: JSONObject | None = None
