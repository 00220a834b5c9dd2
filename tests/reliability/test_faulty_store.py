"""R6: a store that refuses, does and denies it, or answers late changes nothing of what executions come to: engine cases."""

import contextlib
import json
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from flowrunner.clock import SystemClock
from flowrunner.engine.live import ExecutionAlreadyExists
from flowrunner.errors import DocumentConflict, StoreUnavailable
from flowrunner.ports.documents import Document, Put
from flowrunner.stores.memory import MemoryStore
from flowrunner.stores.open import open_store
from flowrunner.testing.clock import ManualClock
from flowrunner.testing.faultystore import Faults, faulty

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS / "engine")]
from enginebench import Bench  # noqa: E402 - found by the line above

CASES = [
    pytest.param(case, id=f"{file.stem}/{case['name']}")
    for file in sorted((TESTS / "cases" / "machine").glob("*.json"))
    for case in json.loads(file.read_text(encoding="utf-8"))
]
SEEDS_EACH = {0.01: 10, 0.1: 10}
SLOW_SEEDS_EACH = {0.01: 400, 0.1: 400}


async def started(bench, machine, given):
    """Start as a caller does that was told nothing: with the same call again, until there is an answer."""
    while True:
        try:
            return await bench.engine.start_execution(machine, name="again", input=json.dumps({} if given is None else given))
        except StoreUnavailable:
            await bench.settle()
        except ExecutionAlreadyExists as taken:  # it has ended meanwhile
            return taken.head


async def play(case, url, rate, seed, kept_warm):
    """One case over a store that fails; what happened in it."""
    async with AsyncExitStack() as stack:
        clock = ManualClock()
        store = open_store(url, clock=clock)
        await store.start(stack)
        faults = Faults(rate=0, seed=seed, late_seconds=0.002)
        way = faulty(store.executions, faults, SystemClock())  # the bench waits for the store before it moves its own clock
        seen = SimpleNamespace(url=url, capabilities=store.capabilities, executions=way, definitions=store.definitions, documents=store.documents)
        bench = Bench(seen, kept_warm=kept_warm, clock=clock, seed=seed)
        bench.handler.table = {name: list(outcomes) for name, outcomes in case.get("answers", {}).items()}
        await bench.engine.start(stack)
        machine = await bench.machine(case["definition"])
        faults.rate = rate
        head = await started(bench, machine, case.get("input"))
        head = await finished(bench, store, head.id)
        faults.rate = 0
        expect, told = case["expect"], f"rate {rate}, seed {seed}, {dict(faults.happened)}"
        assert head.status == expect["status"], told
        if "output" in expect:
            assert json.loads(head.output) == expect["output"], told
        if "error" in expect:
            assert head.error == expect["error"], told
        records = [record for chunk in await store.executions.log(head.id, limit=100_000) for record in json.loads(chunk.body)]
        assert [record["id"] for record in records] == list(range(1, head.last_seq + 1)), told
        if "types" in expect:
            assert sorted(record["type"] for record in records) == sorted(expect["types"]), told
        keys = Counter(call.key for call in bench.handler.calls)
        assert not [key for key, times in keys.items() if times > 1], told
        return faults.happened


async def finished(bench, store, execution):
    """Move the clock until it has ended, looking past the faults."""
    for _ in range(5000):
        await bench.settle()
        head = await store.executions.head(execution)
        if head.status != "RUNNING":
            return head
        assert bench.clock.jump_to_next(), "nothing will ever happen"
    raise AssertionError(f"{execution} did not end")


@pytest.mark.parametrize("case", CASES)
async def test_a_store_that_fails_changes_no_outcome(case):
    """Each case of the machine at 1 % and at 10 %, warm and cold."""
    for rate, seeds in SEEDS_EACH.items():
        for seed in range(seeds):
            await play(case, "memory:", rate, seed, kept_warm=1000 * (seed % 2))


@pytest.mark.parametrize("case", CASES)
async def test_postgresql_that_fails_changes_no_outcome(case, postgres_url):
    """Each case once at 10 %: what was refused or denied was really done, or not done, by PostgreSQL."""
    await play(case, postgres_url, 0.1, seed=1, kept_warm=0)


@pytest.mark.parametrize("case", CASES)
async def test_dynamodb_that_fails_changes_no_outcome(case, dynamodb_url):
    """The same on DynamoDB."""
    await play(case, dynamodb_url, 0.1, seed=1, kept_warm=1000)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES)
async def test_a_store_that_fails_changes_no_outcome_four_hundred_times(case, record):
    """The same with four hundred seeds."""
    total = Counter()
    for rate, seeds in SLOW_SEEDS_EACH.items():
        for seed in range(seeds):
            total += await play(case, "memory:", rate, seed, kept_warm=1000 * (seed % 2))
    record("R6", {"calls": total["calls"], "faults": total.total() - total["calls"]})


@pytest.mark.parametrize("seed", range(5))
async def test_documents_through_a_faulty_way(seed):
    """Whoever reads again after an unknown outcome adds each of its additions exactly once."""
    store = MemoryStore(clock=ManualClock())
    of = faulty(store.documents, Faults(rate=0.4, seed=seed, late_seconds=0), SystemClock())
    done = 0
    while done < 50:
        with contextlib.suppress(StoreUnavailable, DocumentConflict):
            there = await of.get("123456789012", "user", "counter")
            done = int(there.body) if there else 0
            await of.write([Put(Document(account="123456789012", kind="user", id="counter", body=b"%d" % (done + 1), version=there.version if there else 0))])
    last = await store.documents.get("123456789012", "user", "counter")
    assert int(last.body) == last.version
