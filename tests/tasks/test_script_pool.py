from __future__ import annotations

import asyncio
import os
import signal

import pytest
from script_calls import script

from flowrunner.tasks.javascript import pool as pools
from flowrunner.tasks.javascript.calls import ScriptFailed
from flowrunner.tasks.javascript.scripts import Scripts


@pytest.fixture
async def scripts(stack):
    made = Scripts(2)
    await made.start(stack)
    return made


def pids(scripts):
    return [worker._process.pid for worker in [*scripts._pool._idle, *scripts._pool._busy]]


async def running(scripts, source="console.log('on'); for (;;);"):
    """A script that has begun."""
    began = asyncio.Event()
    task = asyncio.create_task(scripts.run(script(source, log=lambda level, message: began.set(), limits={"milliseconds": 60_000})))
    await began.wait()
    return task


async def test_nothing_runs_before_the_first_script(scripts):
    """And then one process serves one script after the other."""
    assert pids(scripts) == []
    for _ in range(5):
        await scripts.run(script("1"))
    assert len(pids(scripts)) == 1


async def test_never_more_than_its_size(scripts):
    """The rest wait for a place."""
    tasks = [await running(scripts), await running(scripts)]
    third = asyncio.create_task(scripts.run(script("3")))
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(pids(scripts)) == 2
    assert not third.done()
    tasks[0].cancel()
    assert (await third).value == 3
    tasks[1].cancel()
    await asyncio.wait(tasks)


async def test_cancelling_stops_the_script(scripts):
    """After CancelledError the process is gone, and another one is there for the next script."""
    task = await running(scripts)
    (pid,) = pids(scripts)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await asyncio.gather(*scripts._pool._starting)
    (spare,) = pids(scripts)
    assert spare != pid
    assert (await scripts.run(script("1"))).value == 1
    assert pids(scripts) == [spare]


async def test_a_process_that_is_killed_from_outside(scripts):
    """The script fails, the next one has another process; one that died idle is not used."""
    task = await running(scripts)
    (pid,) = pids(scripts)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ScriptFailed, match=r"The process of the script ended: exit status -9\."):
        await task
    await scripts.run(script("1"))
    for idle in scripts._pool._idle:
        os.kill(idle._process.pid, signal.SIGKILL)
        await idle._process.wait()
    assert (await scripts.run(script("2"))).value == 2


async def test_a_process_that_does_not_answer_is_killed(scripts, monkeypatch):
    """When it is stopped, so that its own alarm does not come, the server ends it."""
    monkeypatch.setattr(pools, "_GRACE", 0.1)
    await scripts.run(script("1"))
    (pid,) = pids(scripts)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(ScriptFailed) as caught:
        await scripts.run(script("1", limits={"milliseconds": 50}))
    assert caught.value.error == "FlowRunner.ScriptTimeout"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_waiting_for_a_secret_is_not_the_scripts_time(scripts):
    """The clock stands while the server looks a secret up."""
    loop = asyncio.get_running_loop()

    async def slow(name):
        future = loop.create_future()
        loop.call_later(0.4, future.set_result, "late")
        return await future

    outcome = await scripts.run(script("secrets.A", secret=slow, limits={"milliseconds": 200}))
    assert outcome.value == "late"


async def test_an_error_of_the_server_passes_through(scripts):
    """What the answer to a secret raises beside our own errors ends the call, and the script."""

    async def broken(name):
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        await scripts.run(script("try { secrets.A } catch {} for (;;);", secret=broken))
    assert (await scripts.run(script("1"))).value == 1


async def test_the_end_cancels_what_runs():
    """When the exit stack unwinds, no process is left, and calls are cancelled."""
    from contextlib import AsyncExitStack

    scripts = Scripts(2)
    async with AsyncExitStack() as stack:
        await scripts.start(stack)
        task = await running(scripts)
        (pid,) = pids(scripts)
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(asyncio.CancelledError):
        await scripts.run(script("1"))


async def test_memory_does_not_grow_with_the_number_of_scripts(scripts):
    """A thousand contexts later the process is as large as before."""
    for _ in range(50):
        await scripts.run(script("input.items.map(({ value }) => value)"))
    (pid,) = pids(scripts)
    before = resident(pid)
    for _ in range(1000):
        await scripts.run(script("globalThis.kept = new Array(1000).fill({}); return console.log('x') ?? 1"))
    assert resident(pid) < before + 8 * 1024


def resident(pid):
    """KiB."""
    try:
        with open(f"/proc/{pid}/status") as status:  # noqa: PTH123 - a file of the system
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    except FileNotFoundError:
        pytest.skip("the system has no /proc")
