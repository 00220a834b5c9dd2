"""JavaScript of flows and workflows that does not compile is told with its place, down to the script's own line."""

import json
import time

import pytest

from flowrunner.flow.parse import parse_flow
from flowrunner.kinds import BUILT_IN
from flowrunner.tasks.javascript.check import check
from flowrunner.workflow.parse import parse_workflow
from flowrunner.workflow.testcase import parse_testcase


def found_in(text, parse=parse_flow):
    parsed = parse(text, BUILT_IN)
    assert parsed.program is not None, parsed.diagnostics
    problems = {source: problem for source in parsed.scripts.sources() if (problem := check(source)) is not None}
    judged = parsed.with_problems(problems)
    assert (judged.program is None) == bool(problems)
    return [f"{one.line}:{one.column} {one.code} {one.pointer}" for one in judged.diagnostics if one.severity == "ERROR"]


def flow(node):
    return f"metadata: {{name: x}}\nnodes:\n  a:\n{node}"


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("    type: transform\n    params:\n      script: |\n        const a = 1;\n\n        return a +* 2\n", ["9:19 INVALID_SCRIPT /nodes/a/params/script"]),
        ("    type: transform\n    params:\n      script: |2\n          const a = 1;\n        return a +* 2\n", ["8:19 INVALID_SCRIPT /nodes/a/params/script"]),
        ("    type: transform\n    params: {script: return 1 +* 2}\n", ["5:32 INVALID_SCRIPT /nodes/a/params/script"]),
        ("    type: transform\n    params: {script: 'return 1 +* 2'}\n", ["5:33 INVALID_SCRIPT /nodes/a/params/script"]),
        ('    type: transform\n    params: {script: "return \\t1 +* 2"}\n', ["5:22 INVALID_SCRIPT /nodes/a/params/script"]),
        ("    type: transform\n    params:\n      script: >\n        return 1\n        +* 2\n", ["6:15 INVALID_SCRIPT /nodes/a/params/script"]),
        ("    type: condition\n    params: {condition_script: 'a b'}\n", ["5:35 INVALID_SCRIPT /nodes/a/params/condition_script"]),
        ("    type: transform\n    hooks: {prep: 'return (', post: 'return 1'}\n", ["5:28 INVALID_SCRIPT /nodes/a/hooks/prep"]),
        ("    type: delay\n    params: {duration: '${ input. }'}\n", ["5:35 INVALID_SCRIPT /nodes/a/params/duration"]),
        ("    type: http.request\n    params:\n      url: https://h/${input.id}/${ input.a b }\n", ["6:45 INVALID_SCRIPT /nodes/a/params/url"]),
        ("    type: http.request\n    params: {url: https://h/, headers: {'${ a b }': x}}\n", ["5:41 INVALID_SCRIPT /nodes/a/params/headers/${ a b }"]),
        ("    type: batch\n    params: {items: '${ [1 2] }', processor_script: 'return items'}\n", ["5:28 INVALID_SCRIPT /nodes/a/params/items"]),
        ("    type: batch\n    params: {item_script: 'return (item'}\n", ["5:40 INVALID_SCRIPT /nodes/a/params/item_script"]),
        ("    type: batch\n    params: {script: 'return (item'}\n", ["5:35 INVALID_SCRIPT /nodes/a/params/script"]),
        ("    type: transform\n    batch: {items: '${ a b }'}\n    params: {script: 'return 1'}\n", ["5:26 INVALID_SCRIPT /nodes/a/batch/items"]),
        ("    type: wait\n    params: {condition: 'a b'}\n", ["5:28 INVALID_SCRIPT /nodes/a/params/condition"]),
        ("    type: agent\n    params: {model: m, prompt: p, tool_handlers: {sum: {script: 'return a b'}, other: {script: 'return ${input.n} + 1'}}}\n", ["5:75 INVALID_SCRIPT /nodes/a/params/tool_handlers/sum/script"]),
        ("    type: script\n    params: {language: python, function: f, script: 'print 1'}\n", []),
        ("    type: transform\n    params: {script: 'const x = {...input}; return `a${x}`'}\n", []),
        ("    type: llm\n    params: {provider: openai, model: m, prompt: 'costs \\${5 b}'}\n", []),
    ],
)  # fmt: skip
def test_scripts_of_flows(node, expected):
    """Scripts, hooks, expressions and batch scripts, however the YAML is written."""
    assert found_in(flow(node)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"steps": {\n "a": {"type": "script", "config": {"script": "return 1 +* 2"}}}}', ["2:58 INVALID_SCRIPT /steps/a/config/script"]),
        ('{"steps": {\n "a": {"type": "script", "config": {"script": "const \\"\\n\\u00e9 = 1;"}}}}', ["2:54 INVALID_SCRIPT /steps/a/config/script"]),
        ('{"steps": [\n {"id": "a", "type": "transform", "config": {"script":\n  "return 1;\\nreturn (;"}}]}', ["3:23 INVALID_SCRIPT /steps/0/config/script"]),
        ('{"steps": {"a": {"type": "script", "config": {"script": "return 1"}}}}', []),
        ('{"steps": {"a": {"type": "script", "config": {"language": "python", "function": "f", "script": "pass x"}}}}', []),
    ],
)  # fmt: skip
def test_scripts_of_workflows(text, expected):
    """In a JSON text escapes are counted as they are written."""
    assert found_in(text, parse_workflow) == expected


@pytest.mark.parametrize("many", ["'" + "${a b} " * 100_000 + "'", "|\n" + "        ${a b}\n" * 50_000])
def test_many_in_one_text_are_told_of_without_copies_of_it(many):
    """A hundred thousand expressions in a text of a megabyte: judged and told in seconds, with a bounded number of findings."""
    began = time.perf_counter()
    found = found_in(flow(f"    type: http.request\n    params:\n      url: https://h/\n      body: {many}\n"))
    assert len(found) == 1000
    assert found[0] in ("7:18 INVALID_SCRIPT /nodes/a/params/body", "8:13 INVALID_SCRIPT /nodes/a/params/body")
    assert time.perf_counter() - began < 30


def test_scripts_of_test_cases():
    """Those of the steps of a test, too."""
    case = {"testId": "t", "steps": [{"id": "a", "type": "script", "config": {"script": "return ("}}]}
    assert found_in(json.dumps(case, indent=1), parse_testcase) == ["8:24 INVALID_SCRIPT /steps/0/config/script"]


def test_a_script_of_an_action_template_is_told_at_the_step():
    """It does not stand in the text."""
    text = '{"steps": {\n "a": {"actionTemplateId": "t"}}}'
    parsed = parse_workflow(text, BUILT_IN, {"t": {"type": "script", "config": {"script": "return ("}}})
    judged = parsed.with_problems({source: check(source) for source in parsed.scripts.sources()})
    [found] = judged.diagnostics
    assert (found.line, found.column, found.pointer) == (2, 2, "/steps/a/config/script")
    assert found.hint
