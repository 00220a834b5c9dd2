import json
import random
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

CHILD = Path(__file__).with_name("writing_child.py")
AT = {1: (2, (b"1",), 0), 2: (5, (b"1", b"2"), 1), 3: (6, (), 0)}
"""By epoch: the records, the facts and the open tasks that a whole step leaves."""


async def consistent(store, number, least):
    """The execution is at a step that was acknowledged or a later one, and has exactly what that step leaves."""
    stored = await store.executions.load(f"{number:032x}")
    assert stored is not None, f"execution {number} was acknowledged and is lost"
    assert stored.head.epoch >= least, f"step {least} of execution {number} was acknowledged and is lost"
    count, facts, _ = AT[stored.head.epoch]
    log = [record["id"] for chunk in await store.executions.log(f"{number:032x}") for record in json.loads(chunk.body)]
    assert log == list(range(1, count + 1))
    assert stored.head.last_seq == count
    assert stored.facts == facts
    assert len(stored.head.input) == number * 977 % 9000
    return stored.head


async def kill_rounds(path, open_sqlite, seeds, most):
    acknowledged = {}
    for seed in seeds:
        lines = random.Random(seed).randrange(1, most)
        first = 1 + seed * 1_000_000
        with subprocess.Popen([sys.executable, CHILD, path, str(first)], stdout=subprocess.PIPE) as child:  # noqa: ASYNC220
            seen = [child.stdout.readline() for _ in range(lines)]
            child.kill()
            seen += child.stdout.readlines()  # what it acknowledged between the last line and the blow
            child.wait()
        assert len(seen) >= lines
        for line in seen:
            if line.endswith(b"\n"):
                number, epoch = map(int, line.split())
                acknowledged[number] = epoch
        connection = apsw.Connection(str(path))
        assert connection.execute("PRAGMA integrity_check").get == "ok"
        connection.close()
        async with open_sqlite(path) as store:
            heads = [await consistent(store, number, epoch) for number, epoch in acknowledged.items()]
            tasks = {task.execution for task in await store.executions.activity_tasks("a", limit=1_000_000)}
            deliveries = {delivery.id for delivery in await store.executions.undelivered(1_000_000)}
            for head in heads:
                assert (head.id in tasks) == bool(AT[head.epoch][2])
                assert (f"d{int(head.id, 16)}" in deliveries) == (head.epoch > 1)
    return acknowledged


async def test_kill_9(path, open_sqlite):
    """A process killed while it writes, five times over: all it acknowledged is there, every step whole, the file sound."""
    assert len(await kill_rounds(path, open_sqlite, range(5), 3000)) > 5


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_kill_9_campaign(path, open_sqlite):
    """The same two hundred times, ten to a file."""
    for seed in range(0, 200, 10):
        await kill_rounds(path.with_name(f"{seed}.db"), open_sqlite, range(seed, seed + 10), 3000)
