"""A store that fails now and then, and sometimes lies: between its callers and any ExecutionStore or DocumentStore, by a seed (reliability R6).

After Temporal's fault injection (common/persistence/faultinjection): the worst of the three is the call that was done and is
said not to have been. An engine on this store must come to what it comes to on the store behind it.
"""

from __future__ import annotations

import inspect
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast

from flowrunner.clock import Clock
from flowrunner.errors import StoreUnavailable
from flowrunner.ports.documents import DocumentStore
from flowrunner.ports.executions import ExecutionStore

Contract = TypeVar("Contract", ExecutionStore, DocumentStore)
Fault = Literal["refused", "done_and_denied", "late"]
FAULTS: tuple[Fault, ...] = ("refused", "done_and_denied", "late")
LATE_SECONDS = 1.0


@dataclass(slots=True, kw_only=True)
class Faults:
    """How often calls go wrong, and what has happened: `rate` is the share of calls, drawn by `seed`; it may be changed at any time."""

    rate: float
    seed: int
    kinds: tuple[Fault, ...] = FAULTS
    late_seconds: float = LATE_SECONDS
    happened: Counter[str] = field(default_factory=Counter)  # by fault and method, and all calls
    _chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311  # guards nothing

    def draw(self, method: str) -> Fault | None:
        """What becomes of the next call."""
        self.happened["calls"] += 1
        if self._chance.random() >= self.rate:
            return None
        fault = self._chance.choice(self.kinds)
        self.happened[f"{fault} {method}"] += 1
        return fault


def faulty(behind: Contract, faults: Faults, clock: Clock) -> Contract:
    """The same executions or documents, by a way that fails as `faults` says; late answers come after a while on `clock`."""
    return cast("Contract", _Faulty(behind, faults, clock))


class _Faulty:
    """Every method of the contract, and faults around it."""

    def __init__(self, behind: ExecutionStore | DocumentStore, faults: Faults, clock: Clock) -> None:
        self._behind = behind
        self._faults = faults
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._behind, name)
        return self._around(name, method) if inspect.iscoroutinefunction(method) else method

    def _around(self, name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any, **options: Any) -> Any:
            fault = self._faults.draw(name)
            if fault == "refused":
                raise StoreUnavailable(f"A planted fault: {name} was not done.")
            answer = await method(*arguments, **options)
            if fault == "done_and_denied":
                raise StoreUnavailable(f"A planted fault: {name} was done.")
            if fault == "late":
                await self._clock.sleep(self._faults.late_seconds)
            return answer

        return call
