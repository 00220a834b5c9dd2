from __future__ import annotations

import json
from pathlib import Path

import pytest
from task_calls import call

from flowrunner.errors import ConfigurationError
from flowrunner.ports.tasks import Completed, Failed, Succeeded
from flowrunner.tasks.mocks import parse_mocks, read_mocks

CASES = Path(__file__).parents[1] / "cases" / "mocks"
VALID = json.loads((CASES / "valid.json").read_text())
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:LambdaSQSIntegration"


@pytest.mark.parametrize("case", VALID["calls"], ids=lambda case: f"{case['case']}-{case['state']}-{case['retry']}-{case['resource'][-20:]}")
async def test_answers(registry, case):
    """The attempt's answer takes the service's place; callbacks and jobs are completed at once."""
    made = await registry(mocks=parse_mocks(VALID["config"]))
    one = call(case["resource"], {}, machine_arn=MACHINE, test_case=case["case"], state=case["state"], retry=case["retry"])
    outcome = await made.resolve(one).run(one)
    if "error" in case:
        assert outcome == Failed(case["error"], case["cause"])
    else:
        assert isinstance(outcome, Completed if case.get("completed") else Succeeded)
        assert json.loads(outcome.output) == case["output"]


@pytest.mark.parametrize("changes", [{"test_case": None}, {"test_case": "Empty"}, {"test_case": "HappyPath", "state": "Other"}])
async def test_what_is_not_mocked(registry, changes):
    """Without a test case, and for states it does not name, the service itself is asked."""
    made = await registry(mocks=parse_mocks(VALID["config"]))
    one = call("arn:aws:states:::sqs:sendMessage", {}, machine_arn=MACHINE, **changes)
    assert (await made.resolve(one).run(one)).error == "SQS.SdkClientException"


def test_has_case():
    """The API can ask which test cases exist."""
    mocks = parse_mocks(VALID["config"])
    assert mocks.has_case("LambdaSQSIntegration", "HappyPath")
    assert mocks.has_case("LambdaSQSIntegration", "Empty")
    assert not mocks.has_case("LambdaSQSIntegration", "Nothing")
    assert not mocks.has_case("Untested", "HappyPath")


@pytest.mark.parametrize("case", json.loads((CASES / "refused.json").read_text()), ids=lambda case: case["place"])
def test_refused(case):
    """A file that cannot be used is refused with its place."""
    with pytest.raises(ConfigurationError) as caught:
        parse_mocks(case["config"], "mocks.json")
    assert str(caught.value).startswith(f"mocks.json: {case['place']}")


@pytest.mark.parametrize("text", [None, "{", '{"a": NaN}'])
def test_unreadable_files(tmp_path, text):
    """A missing file and one that is no JSON are refused by name."""
    path = tmp_path / "mocks.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_mocks(path)
    assert "mocks.json" in str(caught.value)


def test_read(tmp_path):
    """A file is read."""
    path = tmp_path / "mocks.json"
    path.write_text(json.dumps(VALID["config"]))
    assert read_mocks(path).has_case("LambdaSQSIntegration", "HappyPath")
