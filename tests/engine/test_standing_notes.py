"""How flows and workflows stand, after each record of every case of formats: beside what the messages of their streams come to."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from standings import messages_of, snapshot_of, stood_by_notes

FORMATS = Path(__file__).parent.parent / "cases" / "formats"
CASES = [pytest.param(file.stem, case, id=f"{file.stem}/{case['name']}") for file in sorted(FORMATS.glob("*.json")) for case in json.loads(file.read_text())]


@pytest.fixture
def store_url():
    """One store does: a log is the same in all of them."""
    return "memory:"


@pytest.mark.parametrize(("form", "case"), CASES)
async def test_a_snapshot_says_what_the_messages_before_it_said(bench, form, case):
    """Status, progress, steps with their times, nodes and variables; wherever a stream begins."""
    bench.handler.table = {name: list(outcomes) for name, outcomes in case["answers"].items()}
    head = replace(await bench.run(case["definition"], case.get("input"), form=form), machine=f"{form}/f")
    records = await bench.records(head.id)
    for count in range(1, len(records) + 1):
        message = snapshot_of(head, records[:count], "notes")
        payload = message["payload"]
        assert (message["type"], message["seq"], payload.pop("lastSeq")) == ("snapshot", count, count)
        assert payload == stood_by_notes(messages_of(head, records[:count], "notes"))
    assert (payload["executionStatus"], payload["nodes"]) == (head.status, [])
