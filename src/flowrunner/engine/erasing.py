"""Everything that an account has beside its documents is removed: what runs is stopped first."""

from __future__ import annotations

from flowrunner.clock import Clock
from flowrunner.engine.engine import Engine
from flowrunner.errors import FlowRunnerError
from flowrunner.ports.executions import ExecutionQuery
from flowrunner.ports.store import Store

ERROR, CAUSE = "FlowRunner.AccountDeleted", "The account was deleted."
WAIT_SECONDS = 1.0  # lists of some stores are behind by about as much
TRIES = 30


class Eraser:
    """Removes the definitions and executions of an account. May be called again after a crash: what is gone is gone."""

    def __init__(self, engine: Engine, store: Store, clock: Clock) -> None:
        self._engine = engine
        self._store = store
        self._clock = clock

    async def erase(self, account: str) -> None:
        """Definitions first, so that nothing new begins; then every execution is stopped and forgotten. Raises StoreUnavailable."""
        definitions, executions = self._store.definitions, self._store.executions
        while machines := await definitions.machines(account):
            for machine in machines:
                await definitions.delete_machine(account, machine.name)
        while activities := await definitions.activities(account):
            for activity in activities:
                await definitions.delete_activity(account, activity.name)
        forgotten: set[str] = set()
        for _ in range(TRIES):
            while fresh := [head for head in await executions.list(ExecutionQuery(account=account)) if head.id not in forgotten]:
                for head in fresh:
                    if head.status in ("RUNNING", "PENDING_REDRIVE"):
                        await self._stop(head.id)
                    await executions.forget(head.id)
                    forgotten.add(head.id)
            if not await executions.list(ExecutionQuery(account=account, limit=1)):
                return
            await self._clock.sleep(WAIT_SECONDS)

    async def _stop(self, execution: str) -> None:
        try:
            await self._engine.stop_execution(execution, error=ERROR, cause=CAUSE)
        except FlowRunnerError:
            if (head := await self._store.executions.head(execution)) is not None and head.status == "RUNNING":
                raise
