"""Flows and step workflows through the engine: each store, warm and replayed, with the same answers and the same notes."""

import json
from pathlib import Path

import pytest

FORMATS = Path(__file__).parent.parent / "cases" / "formats"
CASES = [pytest.param(file.stem, case, id=f"{file.stem}/{case['name']}") for file in sorted(FORMATS.glob("*.json")) for case in json.loads(file.read_text())]


def told(record):
    """A note in few words: its type, its step, and what else tells one from another."""
    note = record["note"]
    seldom = ("iteration", "status", "action", "level", "message", "data", "attempt", "delay", "name", "oldValue", "newValue", "index", "item")
    rest = ("selectedBranch", "loopType", "exitReason", "completedIterations", "duration", "progress", "error")
    said = [note[name] if isinstance(note[name], str) else f"{name}={json.dumps(note[name])}" for name in (*seldom, *rest) if name in note]
    return " ".join([record["type"], note["stepId"], *said])


@pytest.mark.parametrize(("form", "case"), CASES)
async def test_case(bench, form, case):
    """A flow or workflow ends as it should, and its log has the events without a gap and the notes in order."""
    bench.handler.table = {name: list(outcomes) for name, outcomes in case["answers"].items()}
    head = await bench.run(case["definition"], case.get("input"), form=form)
    records = await bench.records(head.id)
    expect = case["expect"]
    assert (head.status, head.error) == (expect["status"], expect.get("error"))
    assert (None if head.output is None else json.loads(head.output)) == expect.get("output")
    assert (head.stopped_at - head.started_at) / 1000 == pytest.approx(expect["seconds"], abs=0.01)
    assert [told(record) for record in records if "note" in record and not record["note"].get("message", "").startswith("Starting step")] == expect["notes"]
    ids = [record["id"] for record in records if "id" in record]
    assert ids == list(range(1, len(ids) + 1))
    assert len(records) == head.last_seq
    assert not bench.reports
    assert not bench.engine._live
