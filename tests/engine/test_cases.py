"""Every case of the machine through the engine: each store, warm and replayed."""

import json
from pathlib import Path

import pytest

CASES = [
    pytest.param(case, id=f"{file.stem}/{case['name']}")
    for file in sorted((Path(__file__).parent.parent / "cases" / "machine").glob("*.json"))
    for case in json.loads(file.read_text())
]


@pytest.mark.parametrize("case", CASES)
async def test_case(bench, case):
    """The engine ends a case as the machine alone does, and its stored log is whole."""
    bench.handler.table = {name: list(outcomes) for name, outcomes in case.get("answers", {}).items()}
    head = await bench.run(case["definition"], case.get("input"))
    expect = case["expect"]
    assert head.status == expect["status"], head
    if "output" in expect:
        assert json.loads(head.output) == expect["output"]
    if "error" in expect:
        assert head.error == expect["error"]
    if "seconds" in expect:
        assert (head.stopped_at - head.started_at) / 1000 == pytest.approx(expect["seconds"], abs=0.01)
    records = await bench.records(head.id)
    assert [record["id"] for record in records] == list(range(1, head.last_seq + 1))
    if "types" in expect:
        assert [record["type"] for record in records] == expect["types"]
    assert not bench.reports
    assert not bench.engine._live
