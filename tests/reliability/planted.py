"""Bugs planted in real servers, one a name: a checker that has never found anything proves nothing (reliability R44).

`plant` runs in each server that the nursery forks, before the command line; the variable PLANTED names the bug.
"""

import asyncio
import os
from dataclasses import replace

from flowrunner import wiring
from flowrunner.engine import driver
from flowrunner.engine.dispatch import Dispatcher
from flowrunner.engine.engine import Engine
from flowrunner.engine.ownership import begin
from flowrunner.engine.timers import Timers
from flowrunner.stores.open import open_store
from flowrunner.stores.sqlite.executions import SqliteExecutions
from flowrunner.testing.faultystore import Faults, faulty

SLOW_SECONDS = 0.3  # of a commit that is late


def around_commit(wrap):
    """Have every commit go through `wrap(original, executions, write)`."""
    original = SqliteExecutions.commit

    async def commit(self, write):
        return await wrap(original, self, write)

    SqliteExecutions.commit = commit


def dispatch_before_commit():
    """Attempts begin before it is stored that they do."""
    finish = driver.Driver._finish_making

    def finish_and_begin(self, live, making):
        finish(self, live, making)
        for call, handler in making.to_run:
            begin(live, call, handler, self.dispatcher, making.began)
        making.to_run.clear()

    async def late(original, executions, write):
        await asyncio.sleep(SLOW_SECONDS)
        return await original(executions, write)

    driver.Driver._finish_making = finish_and_begin
    around_commit(late)


def acknowledge_before_commit():
    """What is answered as stored is stored soon after."""
    queue = {}

    async def early(original, executions, write):
        before = queue.get(write.head.id)

        async def later():
            await asyncio.sleep(SLOW_SECONDS)
            if before is not None:
                await before
            return await original(executions, write)

        queue[write.head.id] = asyncio.create_task(later())
        return replace(write.head, epoch=write.head.epoch + 1)

    around_commit(early)


def forget_names():
    """A name that is taken is given to another execution."""
    start = Engine._start

    async def anew(self, machine, name, given, extra):
        return await start(self, machine, name and f"{name}-{os.getpid()}", given, extra)

    Engine._start = anew


def repeat_everything():
    """What is in doubt runs again, though nobody said that it may."""
    Dispatcher.idempotent = lambda _self, _call: True


def doubt_everything():
    """What may simply run again is given up."""
    Dispatcher.idempotent = lambda _self, _call: False


def leave_the_dead_alone():
    """What a server had in hand when it died is nobody's."""
    driver.inherited = lambda *_arguments, **_options: []


def forget_timers():
    """Rows whose time has come are not looked for."""

    async def never(_self):
        await asyncio.Event().wait()

    Timers._fire_rows = never


def lose_deliveries():
    """What a server did not deliver before it died stays where it is."""

    async def none(_self, _limit):
        return []

    SqliteExecutions.undelivered = none
    Engine._deliver = lambda _self, _delivery: None


def lose_a_chunk():
    """A step's history is not stored with it."""

    async def without(original, executions, write):
        return await original(executions, replace(write, chunk=None) if write.fact_number == 5 else write)

    around_commit(without)


def change_the_end():
    """An end is told in another way after a restart."""
    head = SqliteExecutions.find

    async def other(self, *names):
        found = await head(self, *names)
        return replace(found, output=f'"{os.getpid()}"') if found is not None and found.output is not None else found

    SqliteExecutions.find = other


def fail_now_and_then():
    """Not a bug: a store that fails by FAULT_RATE and FAULT_SEED once the server has started."""
    faults = Faults(rate=0, seed=int(os.environ["FAULT_SEED"]))
    start = wiring.Application.start

    async def start_and_fail(application, stack):
        await start(application, stack)
        faults.rate = float(os.environ["FAULT_RATE"])

    def open_faulty(url, *, clock):
        store = open_store(url, clock=clock)
        if store.capabilities.durable:  # that of express executions is none
            store.executions = faulty(store.executions, faults, clock)
        return store

    wiring.open_store = open_faulty
    wiring.Application.start = start_and_fail


BUGS = {
    bug.__name__: bug
    for bug in (
        dispatch_before_commit, acknowledge_before_commit, forget_names, repeat_everything, doubt_everything, leave_the_dead_alone,
        forget_timers, lose_deliveries, lose_a_chunk, change_the_end,
        fail_now_and_then,
    )
}  # fmt: skip


def plant():
    """Plant what PLANTED names."""
    if os.environ.get("PLANTED"):
        BUGS[os.environ["PLANTED"]]()
