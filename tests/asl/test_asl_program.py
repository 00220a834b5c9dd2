"""What the parser makes of a valid definition."""

import json

from flowrunner.asl.parse import parse_definition, parse_state
from flowrunner.core.program import All, Comparison, Negated
from flowrunner.reading.findings import format_aws

PASS = {"Type": "Pass", "End": True}


def _program(states, **top):
    parsed = parse_definition(json.dumps({"StartAt": next(iter(states)), "States": states, **top}))
    assert parsed.program is not None, format_aws(parsed.diagnostics)
    return parsed.program


def _state(state, **top):
    return _program({"S": state}, **top).root.states["S"]


def _warnings(states, **top):
    return _told(states, kept=False, **top)


def _told(states, *, kept=True, **top):
    """What is said of a definition that compiles; of one that is kept, what would be refused too."""
    parsed = parse_definition(json.dumps({"StartAt": next(iter(states)), "States": states, **top}), kept=kept)
    assert parsed.program is not None, format_aws(parsed.diagnostics)
    return [(found.code, found.pointer) for found in parsed.diagnostics]


BAD_NAME, OUTER, IDLE = "INVALID_VARIABLE_NAME", "VARIABLE_OF_OUTER_SCOPE", "FIELD_WITHOUT_EFFECT"
REFUSED = "SCHEMA_VALIDATION_FAILED"


def _refused(states, **top):
    parsed = parse_definition(json.dumps({"StartAt": next(iter(states)), "States": states, **top}))
    assert parsed.program is None
    return [(found.code, found.pointer) for found in parsed.diagnostics]


def test_names_of_variables():
    """Those that no expression can read are refused, wherever they are assigned; what was kept with them runs on."""
    good = {"a": 1, "größe": 1, "x.$": "$.x", "n" * 80: 1, "states1": 1, "for": 1}
    assert _warnings({"S": {**PASS, "Assign": good}}) == []
    assert _warnings({"S": {**PASS, "Assign": {"n" * 81: 1}}}) == [(BAD_NAME, f"/States/S/Assign/{'n' * 81}")]
    for name in ("states", "", "1a", "a-b", "a b", "a.b"):
        found = [("RESERVED_VARIABLE_NAME" if name == "states" else BAD_NAME, f"/States/S/Assign/{name}")]
        assert _refused({"S": {**PASS, "Assign": {name: 1}}}) == _told({"S": {**PASS, "Assign": {name: 1}}}) == found
    choice = {
        "Type": "Choice",
        "Choices": [{"Variable": "$.a", "IsPresent": True, "Next": "E", "Assign": {"a-b.$": "$.a"}}],
        "Assign": {"1": 1},
        "Default": "E",
    }
    assert _refused({"C": choice, "E": PASS}) == [(BAD_NAME, "/States/C/Assign/1"), (BAD_NAME, "/States/C/Choices[0]/Assign/a-b.$")]


def test_variables_of_outer_scopes():
    """A branch or an iteration has no names of a scope around it; those beside it and children of a distributed Map may have them."""
    inner = {"StartAt": "I", "States": {"I": {**PASS, "Assign": {"v": 1}}}}
    beside = {"StartAt": "J", "States": {"J": {**PASS, "Assign": {"v": 1}}}}
    parallel = {"Type": "Parallel", "Branches": [inner, beside]}
    last = {**PASS, "Assign": {"v": 0}}
    assert _warnings({"P": {**parallel, "End": True}}) == []
    assert _warnings({"P": {**parallel, "Next": "L"}, "L": last}) == [
        (OUTER, "/States/P/Branches[0]/States/I/Assign/v"),
        (OUTER, "/States/P/Branches[1]/States/J/Assign/v"),
    ]
    caught = {**parallel, "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "L", "Assign": {"v": 1}}], "Next": "L"}
    assert len(_warnings({"P": caught, "L": PASS})) == 2
    mapped = {"Type": "Map", "ItemProcessor": {**inner, "ProcessorConfig": {"Mode": "INLINE"}}, "Next": "L"}
    assert _warnings({"M": mapped, "L": last}) == [(OUTER, "/States/M/ItemProcessor/States/I/Assign/v")]
    mapped["ItemProcessor"]["ProcessorConfig"] = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    assert _warnings({"M": mapped, "L": last}) == []


def test_nothing_comes_after_all_errors():
    """Retriers and catchers behind one for all errors are refused, as AWS does; a definition kept with them runs on."""
    task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": True}
    every, other, large = ({"ErrorEquals": [name]} for name in ("States.ALL", "X", "States.DataLimitExceeded"))
    assert _warnings({"T": {**task, "Retry": [other, large, every]}}) == []
    states = {"T": {**task, "Retry": [every, other, every]}}
    assert _refused(states) == _told(states) == [(REFUSED, "/States/T/Retry[0]/ErrorEquals[0]")]
    states = {"T": {**task, "Catch": [{**one, "Next": "E"} for one in (every, large)]}, "E": PASS}
    assert _refused(states) == _told(states) == [(REFUSED, "/States/T/Catch[0]/ErrorEquals[0]")]


def test_fields_without_effect():
    """What only a distributed Map uses is told in an inline one, whether its mode is named or not."""
    inner = {"StartAt": "I", "States": {"I": PASS}}
    idle = {"ToleratedFailureCount": 2, "ToleratedFailurePercentage": 70, "Label": "l"}
    pointers = [f"/States/M/{name}" for name in idle]
    for config in ({}, {"ProcessorConfig": {"Mode": "INLINE"}}):
        assert _warnings({"M": {"Type": "Map", "End": True, "ItemProcessor": {**inner, **config}, **idle}}) == [(IDLE, pointer) for pointer in pointers]
    both = {"Mode": "INLINE", "ExecutionType": "EXPRESS"}
    states = {"M": {"Type": "Map", "End": True, "ItemProcessor": {**inner, "ProcessorConfig": both}}}
    assert _refused(states) == _told(states) == [(REFUSED, "/States/M/ItemProcessor/ProcessorConfig")]
    del both["Mode"]
    assert _warnings(states) == [(IDLE, "/States/M/ItemProcessor/ProcessorConfig/ExecutionType")]
    spread = {"Type": "Map", "End": True, "ItemProcessor": {**inner, "ProcessorConfig": {"Mode": "DISTRIBUTED"}}, **idle}
    assert _refused({"M": spread}) == _told({"M": spread}) == [(REFUSED, "/States/M/ItemProcessor/ProcessorConfig")]
    of_object = {"Type": "Map", "End": True, "ItemProcessor": inner, "Items": {"a": 1}}
    assert _warnings({"M": of_object}, QueryLanguage="JSONata") == [("ITEMS_NOT_AN_ARRAY", "/States/M/Items")]


def test_the_longest_delay():
    """MaxDelaySeconds is 366 days at most."""
    retrier = {"ErrorEquals": ["X"], "MaxDelaySeconds": 31_622_400}
    task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": True, "Retry": [retrier]}
    assert _state(task).retriers[0].max_delay_seconds == 31_622_400
    retrier["MaxDelaySeconds"] += 1
    assert parse_definition(json.dumps({"StartAt": "T", "States": {"T": task}})).program is None


def test_paths_and_nulls():
    """JSON null is a flag, a missing path is no path."""
    state = _state({**PASS, "InputPath": None, "ResultPath": "$.a", "Result": None})
    assert (state.input_path, state.discards_input) == (None, True)
    assert (state.output_path, state.discards_output) == (None, False)
    assert state.result_path is not None
    assert state.result_path.steps == ("a",)
    assert (state.work.result, state.work.has_result) == (None, True)


def test_fields_are_called_as_written():
    """Failures name SecondsPath, not Seconds."""
    assert _state({"Type": "Wait", "SecondsPath": "$.s", "End": True}).work.until.name == "SecondsPath"
    constant = _state({"Type": "Wait", "Seconds": 3, "End": True}).work.until
    assert (constant.name, constant.constant, constant.template) == ("Seconds", 3, None)
    expression = _state({"Type": "Wait", "Seconds": "{% 3 %}", "End": True}, QueryLanguage="JSONata").work.until
    assert (expression.name, expression.template is None) == ("Seconds", False)


def test_retriers_have_the_documented_defaults():
    """1 second, 3 attempts, rate 2."""
    task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": True}
    (retrier,) = _state({**task, "Retry": [{"ErrorEquals": ["E"]}]}).retriers
    assert (retrier.interval_seconds, retrier.max_attempts, retrier.backoff_rate, retrier.max_delay_seconds, retrier.full_jitter) == (
        1.0,
        3,
        2.0,
        None,
        False,
    )


def test_a_catcher_keeps_the_input_for_null_only():
    """No ResultPath replaces the input by the error output."""
    task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": True}
    catchers = [
        {"ErrorEquals": ["E"], "Next": "E"},
        {"ErrorEquals": ["E"], "Next": "E", "ResultPath": None},
        {"ErrorEquals": ["E"], "Next": "E", "ResultPath": "$.e"},
    ]
    found = _program({"S": {**task, "Catch": catchers}, "E": PASS}).root.states["S"].catchers
    assert [(each.keeps_input, each.result_path is None) for each in found] == [(False, True), (True, True), (False, False)]


def test_choice_tests_are_trees():
    """And, Or, Not and comparisons; operands of ...Path are paths."""
    rule = {"And": [{"Not": {"Variable": "$.a", "IsNull": True}}, {"Variable": "$v", "StringEqualsPath": "$.b"}], "Next": "E"}
    program = _program({"S": {"Type": "Choice", "Choices": [rule], "Default": "E"}, "E": PASS})
    (compiled,) = program.root.states["S"].work.rules
    assert isinstance(compiled.test, All)
    negated, comparison = compiled.test.tests
    assert isinstance(negated, Negated)
    assert isinstance(comparison, Comparison)
    assert comparison.operand.steps == ("b",)
    assert program.variable_references == {"S": ("v",)}


def test_a_distributed_map_keeps_its_parts():
    """Reader, batcher and writer have compiled arguments beside their plain fields."""
    state = _state(
        {
            "Type": "Map",
            "End": True,
            "Label": "all",
            "ItemReader": {
                "Resource": "arn:aws:states:::s3:getObject",
                "ReaderConfig": {"InputType": "JSON", "MaxItemsPath": "$.n"},
                "Parameters": {"Bucket.$": "$.b"},
            },
            "ItemBatcher": {"MaxItemsPerBatch": 2, "BatchInput": {"a.$": "$.a"}},
            "ResultWriter": {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "b"}, "WriterConfig": {"OutputType": "JSONL"}},
            "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}, "StartAt": "I", "States": {"I": PASS}},
            "ToleratedFailurePercentage": 0.5,
        }
    )
    work = state.work
    assert (work.distributed, work.execution_type, work.label) == (True, "EXPRESS", "all")
    assert work.reader["MaxItems"].name == "MaxItemsPath"
    assert work.reader["ReaderConfig"]["InputType"] == "JSON"
    assert work.batcher["MaxItemsPerBatch"].constant == 2
    assert work.writer["WriterConfig"] == {"OutputType": "JSONL"}
    assert all(part["Arguments"] is not None for part in (work.reader, work.writer))


def test_the_old_names_of_a_map():
    """Iterator and Parameters are ItemProcessor and ItemSelector."""
    work = _state({"Type": "Map", "End": True, "Iterator": {"StartAt": "I", "States": {"I": PASS}}, "Parameters": {"v.$": "$$.Map.Item.Value"}}).work
    assert (work.selector_name, work.selector is None, work.processor.start_at, work.items) == ("Parameters", False, "I", None)


def test_a_single_state():
    """TestState's state is called StateName; its targets are not looked for."""
    parsed = parse_state('{"Type": "Pass", "Next": "Elsewhere"}')
    assert parsed.program is not None
    assert parsed.program.root.start_at == "StateName"
    refused = parse_state('{"Type": "Parallel", "Branches": [], "End": true}')
    assert refused.program is None
    assert (
        format_aws(refused.diagnostics) == "Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: Value cannot be empty at /States/StateName/Branches'"
    )
    assert refused.diagnostics[0].column == 22


def test_aws_words_for_several_errors_and_none_of_the_warnings():
    """Joined by commas; an error without a place is at null."""
    parsed = parse_definition('{"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": "$.a", "Next": "B"}}}')
    assert format_aws(parsed.diagnostics) == (
        "Invalid State Machine Definition: 'MISSING_TRANSITION_TARGET: Missing 'Next' target: B at /States/A/Next, "
        "MISSING_END_STATE: Workflow has no terminal state at null'"
    )
