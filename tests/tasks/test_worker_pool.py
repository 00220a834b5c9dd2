from __future__ import annotations

import asyncio
import json
import os

import pytest
from task_calls import INVOKE, call, function_arn

from flowrunner.ports.tasks import AttemptLost, may_begin
from flowrunner.tasks.functions import read_functions
from flowrunner.tasks.worker_pool import WorkerPool

CONTEXT = {"function_name": "f", "arn": "", "request_id": "", "deadline": 0, "key": "", "execution_arn": "", "state": ""}

GRANDCHILD = """
import os, subprocess, sys
def f(event, context):
    # Handler and child hold the write end of the pipe: its reader sees the end only when both are gone.
    pipe = os.open(event["pipe"], os.O_WRONLY)
    os.set_inheritable(pipe, True)
    subprocess.Popen([sys.executable, "-c", "while True: pass"], close_fds=False)
    os.write(pipe, b"x")
    while True:
        pass
"""


async def test_cancelling_stops_the_handler_and_what_it_started(registry, tmp_path):
    """After cancellation a busy handler and its child process are gone."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "functions.py").write_text(GRANDCHILD)
    made = await registry(functions=read_functions({"f": "functions.py:f"}, tmp_path))
    one = call(function_arn("f"), {"pipe": str(pipe)})
    attempt = asyncio.create_task(made.resolve(one).run(one))
    reader = await asyncio.to_thread(pipe.open, "rb", 0)
    with reader:
        assert await asyncio.to_thread(reader.read, 1) == b"x"
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        assert await asyncio.wait_for(asyncio.to_thread(reader.read), 5) == b""


MEETING = """
import os
def f(event, context):
    with open(event["arrived"], "wb", 0) as arrived: arrived.write(b"%d\\n" % os.getpid())
    with open(event["go"], "rb", 0) as go: go.read(1)
    return os.getpid()
"""


async def test_pool_bound(registry, tmp_path):
    """Never more processes than the pool's size; the rest wait for a place."""
    arrived, go = tmp_path / "arrived", tmp_path / "go"
    os.mkfifo(arrived)
    os.mkfifo(go)
    (tmp_path / "functions.py").write_text(MEETING)
    made = await registry(functions=read_functions({"f": "functions.py:f"}, tmp_path), workers=2)
    one = call(function_arn("f"), {"arrived": str(arrived), "go": str(go)})
    assert made.resolve(one).places() == 2
    inlet, outlet = os.open(arrived, os.O_RDWR), os.open(go, os.O_RDWR)
    try:
        attempts = [asyncio.create_task(made.resolve(one).run(one)) for _ in range(6)]
        seen = b""
        while seen.count(b"\n") < 2:
            seen += await asyncio.to_thread(os.read, inlet, 100)
        os.write(outlet, b"......")
        pids = {json.loads((await attempt).output) for attempt in attempts}
    finally:
        os.close(inlet)
        os.close(outlet)
    assert pids == {int(line) for line in seen.split()}


async def test_other_files_make_room(tmp_path, stack):
    """A pool of one serves many files, one after the other, and an idle worker gives way."""
    pool = WorkerPool(1)
    await pool.start(stack)
    request = {"handler": "f", "event": "1", "max_bytes": 100, "environment": {}}
    for n in range(3):
        file = tmp_path / f"file{n}.py"
        file.write_text(f"def f(event, context): return {n}\n")
        reply = await pool.call(file, {}, request | {"file": str(file), "context": CONTEXT})
        assert reply == {"result": str(n)}
    assert pool._spawned == 1


async def test_closing_cancels_calls(tmp_path):
    """When the pool is closed, a call under way is cancelled, not failed: nobody knows how it would have ended."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    file = tmp_path / "functions.py"
    file.write_text(GRANDCHILD)
    pool = WorkerPool(1)
    request = {"file": str(file), "handler": "f", "event": json.dumps({"pipe": str(pipe)}), "max_bytes": 9, "environment": {}, "context": CONTEXT}
    attempt = asyncio.create_task(pool.call(file, {}, request))
    reader = await asyncio.to_thread(pipe.open, "rb", 0)
    with reader:
        assert await asyncio.to_thread(reader.read, 1) == b"x"
        await pool.close()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        assert await asyncio.to_thread(reader.read) == b""
    with pytest.raises(asyncio.CancelledError):
        await pool.call(file, {}, request)


@pytest.mark.parametrize("yields", range(12))
async def test_cancelling_at_any_moment_leaves_nothing(tmp_path, stack, yields):
    """Cancelled while a worker is being started, asked or heard, the pool is as before."""
    file = tmp_path / "functions.py"
    file.write_text("def f(event, context): return 1\n")
    pool = WorkerPool(1)
    await pool.start(stack)
    request = {"file": str(file), "handler": "f", "event": "1", "max_bytes": 9, "environment": {}, "context": CONTEXT}
    attempt = asyncio.create_task(pool.call(file, {}, request))
    for _ in range(yields):
        await asyncio.sleep(0)
    attempt.cancel()
    await asyncio.wait([attempt])
    assert pool._spawned == len(pool._idle)
    assert not pool._busy
    assert await pool.call(file, {}, request) == {"result": "1"}


async def test_a_lost_attempt_is_not_handed_to_a_worker(registry, tmp_path):
    """When another node has taken the attempt over while its worker was being started, the handler is not called, and the worker stays."""
    (tmp_path / "functions.py").write_text("import os\ndef f(event, context):\n    open(event['mark'], 'w').close()\n    return os.getpid()\n")
    made = await registry(functions=read_functions({"f": "functions.py:f"}, tmp_path), workers=1)
    one = call(function_arn("f"), {"mark": str(tmp_path / "lost")})

    async def run_lost():
        started = []

        async def ours():
            started.append(len(made._pool._busy))
            return False

        may_begin.set(ours)
        with pytest.raises(AttemptLost):
            await made.resolve(one).run(one)
        return started

    assert await asyncio.create_task(run_lost()) == [1]
    assert not (tmp_path / "lost").exists()
    kept = next(iter(made._pool._idle))._process.pid
    after = call(function_arn("f"), {"mark": str(tmp_path / "mine")})
    assert json.loads((await made.resolve(after).run(after)).output) == kept


async def test_an_event_is_asked_about_before_it_is_accepted_only(registry, tmp_path):
    """A function invoked as an event outlives its attempt: that it was the node's is asked once, before."""
    (tmp_path / "functions.py").write_text("def f(event, context):\n    with open(event['pipe'], 'wb', 0) as pipe: pipe.write(b'x')\n")
    os.mkfifo(tmp_path / "pipe")
    made = await registry(functions=read_functions({"f": "functions.py:f"}, tmp_path))
    answers = [True]

    async def ours():
        return answers.pop()

    async def run():
        may_begin.set(ours)
        one = call(INVOKE, {"FunctionName": "f", "InvocationType": "Event", "Payload": {"pipe": str(tmp_path / "pipe")}})
        await made.resolve(one).run(one)

    await asyncio.create_task(run())
    with await asyncio.to_thread((tmp_path / "pipe").open, "rb", 0) as reader:
        assert await asyncio.to_thread(reader.read, 1) == b"x"
    assert answers == []
