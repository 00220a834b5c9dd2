"""Constants that no run could work with are refused when a definition is read: with place, code and remedy."""

import json

import pytest

from flowrunner.flow.parse import parse_flow
from flowrunner.kinds import BUILT_IN
from flowrunner.workflow.parse import parse_workflow
from flowrunner.workflow.testcase import parse_testcase

BODY = {"children": [{"id": "b", "type": "delay", "config": {"duration": 1}}]}


def loop(**members):
    return {"type": "loop", "config": {**BODY, **members}}


def http(**config):
    return {"type": "http", "config": {"url": "https://h", **config}}


def command(**members):
    return {"type": "command", "config": {"command": "echo"}, **members}


STEPS = [
    (loop(type="count", count=-1), "config/count", "INVALID_VALUE", "whole number from 0 on"), (loop(type="count", count=1.5), "config/count", "INVALID_VALUE", "whole number from 0 on"),
    (loop(type="count", count=3, maxIterations=0), "config/maxIterations", "INVALID_VALUE", "1 or more"), (loop(type="until", count=3), "config/type", "INVALID_VALUE", "forEach, while or count"),
    (loop(type="forEach", source=3), "config/source", "INVALID_VALUE", "a list"), (loop(type="forEach", source={"a": 1}), "config/source", "INVALID_VALUE", "a list"),
    (loop(type="forEach", source=[1], parallel=True, concurrency=0), "config/concurrency", "INVALID_VALUE", "1 or more"), (loop(type="forEach", source=[1], itemVar="a.b"), "config/itemVar", "INVALID_VALUE", "name of a variable"),
    (loop(type="count", count=3, indexVar=""), "config/indexVar", "INVALID_VALUE", "name of a variable"), (loop(type="forEach", source=[1], maxIterations=True), "config/maxIterations", "INVALID_VALUE", "a whole number"),
    (command(retry={"maxAttempts": 0}), "retry/maxAttempts", "INVALID_VALUE", "1 or more"), (command(retry={"maxAttempts": 2.5}), "retry/maxAttempts", "INVALID_VALUE", "a whole number"), (command(retryCount=-1), "retryCount", "INVALID_VALUE", "0 or more"),
    (command(retry={"interval": -5}), "retry/interval", "INVALID_VALUE", "units such as"), (command(retryDelay="soon"), "retryDelay", "INVALID_VALUE", "units such as"), (command(retry={"backoff": "random"}), "retry/backoff", "INVALID_VALUE", "fixed, linear or exponential"),
    (command(retry={"backoffRate": 0.5}), "retry/backoffRate", "INVALID_VALUE", "1 or more"), (command(retry={"maxInterval": []}), "retry/maxInterval", "INVALID_VALUE", "a number or a text"), (command(timeout=-1), "timeout", "INVALID_VALUE", "units such as"),
    (command(timeout=0), "timeout", "INVALID_VALUE", "more than 0"), (http(url="ftp://h"), "config/url", "INVALID_PARAMETER", "an address"), (http(method="FETCH"), "config/method", "INVALID_PARAMETER", "GET, POST"), (http(expectedStatus=[200, 99]), "config/expectedStatus/1", "INVALID_PARAMETER", "100 to 599"),
    (http(assertions=[{"type": "like"}]), "config/assertions/0/type", "INVALID_PARAMETER", "one of status_code"), ({"type": "assert", "config": {"assertions": [{"type": "matches"}]}}, "config/assertions/0/type", "INVALID_PARAMETER", "one of equals"),
    ({"type": "assert", "config": {"assertions": [{"type": "regex", "actual": "{{x}}", "expected": "(?=a)"}]}}, "config/assertions/0", "INVALID_PARAMETER", "RE2"), ({"type": "cron", "config": {"schedule": "every day"}}, "config/schedule", "INVALID_PARAMETER", "cannot be used"),
    ({"type": "delay", "config": {"duration": -1}}, "config/duration", "INVALID_VALUE", "units such as"), ({"type": "wait", "config": {"until": "noon"}}, "config/until", "INVALID_VALUE", "a moment"),
    ({"type": "merge", "config": {"mode": "some"}}, "config/mode", "INVALID_VALUE", "all or any"), ({"type": "workflow", "config": {"workflowId": "w", "wait": "yes"}}, "config/wait", "INVALID_PARAMETER", "true or false"),
    ({"type": "workflow", "config": {"workflowId": 7}}, "config/workflowId", "INVALID_PARAMETER", "a text"), ({"type": "test-case", "config": {"testId": "t", "variables": []}}, "config/variables", "INVALID_PARAMETER", "an object"),
    ({"type": "branch", "config": {"branches": [{"condition": "{{x}} > 1", "priority": "low", "children": {}}]}}, "config/branches/0/priority", "INVALID_VALUE", "a number"),
]  # fmt: skip


def told(parsed, pointer, code, said):
    assert parsed.program is None
    found = [one for one in parsed.diagnostics if (one.pointer, one.code) == (pointer, code) and said in one.message]
    assert found, [str(one) for one in parsed.diagnostics]
    assert all(one.hint and one.line for one in found)


@pytest.mark.parametrize(("step", "place", "code", "said"), STEPS)
def test_of_steps(step, place, code, said):
    """In a workflow, and in the steps of a test case."""
    told(parse_workflow(json.dumps({"steps": {"a": step}}, indent=1), BUILT_IN), f"/steps/a/{place}", code, said)
    told(parse_testcase(json.dumps({"testId": "t", "steps": {"a": step}}, indent=1), BUILT_IN), f"/steps/a/{place}", code, said)


@pytest.mark.parametrize(
    ("definition", "pointer", "said"),
    [
        ({"maxConcurrency": 0}, "/maxConcurrency", "1 or more"), ({"maxConcurrency": "2"}, "/maxConcurrency", "a whole number"), ({"timeout": "soon"}, "/timeout", "units such as"), ({"timeout": 0}, "/timeout", "more than 0"),
        ({"isTestCase": "yes"}, "/isTestCase", "true or false"), ({"variables": []}, "/variables", "an object"),
    ],
)  # fmt: skip
def test_of_workflows(definition, pointer, said):
    """Members of the whole."""
    told(parse_workflow(json.dumps({**definition, "steps": {"a": command()}}), BUILT_IN), pointer, "INVALID_VALUE", said)


@pytest.mark.parametrize(
    ("assertion", "place", "said"),
    [
        ({"type": "status_code", "expected": 99}, "", "100 to 599"), ({"type": "status_code", "in": [200, 1000]}, "", "100 to 599"), ({"type": "status_code", "expected": "ok"}, "", "100 to 599"), ({"type": "status"}, "/type", "no assertion of the type"),
        ({"type": "json_path", "path": "$.a", "operator": "like"}, "/operator", "no comparison"), ({"type": "json_path", "path": "$.a", "operator": "regex", "expected": "("}, "", "RE2"), ({"type": "arrayLength", "path": "a", "expected": -1}, "", "from 0 on"),
    ],
)  # fmt: skip
def test_of_test_cases(assertion, place, said):
    """Assertions of a request, and of steps."""
    for test in ({"http": {"url": "https://h"}}, {"steps": [{"id": "a", **http()}]}):
        parsed = parse_testcase(json.dumps({"testId": "t", **test, "assertions": [assertion]}), BUILT_IN)
        told(parsed, f"/assertions/0{place}", "INVALID_VALUE", said)


@pytest.mark.parametrize(
    ("node", "place", "code", "said"),
    [
        ("type: delay, params: {duration: -1}", "params/duration", "INVALID_PARAMETER", "units such as"), ("type: delay, params: {duration: 1, jitter: 3}", "params/jitter", "INVALID_PARAMETER", "1 or less"), ("type: wait, params: {until_time: noon}", "params/until_time", "INVALID_PARAMETER", "a moment"),
        ("type: wait, params: {condition: x, max_attempts: 0}", "params/max_attempts", "INVALID_PARAMETER", "1 or more"), ("type: cron, params: {schedule: '61 * * * *'}", "params/schedule", "INVALID_PARAMETER", "cannot be used"), ("type: cron, params: {schedule: '@daily', timezone: Moon}", "params/timezone", "INVALID_PARAMETER", "no time zone"),
        ("type: batch, params: {processor_script: x, batch_size: 0}", "params/batch_size", "INVALID_PARAMETER", "1 or more"), ("type: batch, params: {processor_script: x, timeout: 0}", "params/timeout", "INVALID_PARAMETER", "more than 0"), ("type: batch, params: {processor_script: x, timeout: '${input.t}'}", "params/timeout", "INVALID_PARAMETER", "a constant"),
        ("type: parallel_batch, params: {processor_script: x, max_parallel: 0}", "params/max_parallel", "INVALID_PARAMETER", "1 or more"), ("type: transform, batch: {batch_size: 0}", "batch/batch_size", "INVALID_VALUE", "from 1 on"), ("type: transform, batch: {max_parallel: -1}", "batch/max_parallel", "INVALID_VALUE", "from 1 on"),
        ("type: transform, retry: {max_retries: -1}", "retry/max_retries", "INVALID_VALUE", "from 0 on"), ("type: transform, retry: {max_retries: 1.5}", "retry/max_retries", "INVALID_VALUE", "from 0 on"), ("type: transform, retry: {backoff: random}", "retry/backoff", "INVALID_VALUE", "fixed, linear, exponential"),
        ("type: transform, retry: {jitter: some}", "retry/jitter", "INVALID_VALUE", "true or false"), ("type: transform, timeout: -1", "timeout", "INVALID_VALUE", "units such as"), ("type: transform, timeout: 0", "timeout", "INVALID_VALUE", "more than 0"), ("type: transform, progress: 101", "progress", "INVALID_VALUE", "0 to 100"),
        ("type: http.request, params: {url: 'h/items'}", "params/url", "INVALID_PARAMETER", "an address"), ("type: http.request, params: {url: 'https://h', method: LOAD}", "params/method", "INVALID_PARAMETER", "GET, POST"), ("type: webhook, params: {url: 'https://h:0'}", "params/url", "INVALID_PARAMETER", "an address"),
        ("type: assert, params: {assertions: [{type: is}]}", "params/assertions/0/type", "INVALID_PARAMETER", "one of equals"), ("type: sub-flow, params: {flow_id: f, wait: 3}", "params/wait", "INVALID_PARAMETER", "true or false"),
    ],
)  # fmt: skip
def test_of_flows(node, place, code, said):
    """Parameters, and the members of a node; each said once."""
    parsed = parse_flow(f"metadata: {{name: x}}\nnodes:\n  a: {{{node}}}\n", BUILT_IN)
    told(parsed, f"/nodes/a/{place}", code, said)
    assert len([one for one in parsed.diagnostics if one.severity == "ERROR"]) == 1, [str(one) for one in parsed.diagnostics]
