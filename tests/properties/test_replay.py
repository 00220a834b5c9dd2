"""Replay: the same facts give the same steps from any cut; repeated and late facts give none."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from play import START, identity_of, play, program_of

from flowrunner.core import facts
from flowrunner.core.commands import RunAttempt
from flowrunner.core.machine import Machine
from flowrunner.errors import ReplayMismatch
from flowrunner.limits import AWS, OPEN

CASES = [
    pytest.param(case, id=f"{file.stem}/{case['name']}")
    for file in sorted((Path(__file__).parent.parent / "cases" / "machine").glob("*.json"))
    for case in json.loads(file.read_text())
]


def shape(step):
    """What of a step must be reproduced."""
    return step.records, step.commands, step.outcome, step.more


def check_replay(definition, given_input, played):
    """Replay from the start, and from a snapshot at every cut, gives the same steps."""
    program, identity = program_of(definition), identity_of(given_input)
    again = Machine(program, identity, AWS)
    for cut, (fact, step) in enumerate(zip(played.facts, played.steps, strict=True)):
        [stored] = facts.decode(facts.encode([fact]))
        assert stored == fact
        restored = Machine.restore(program, identity, again.snapshot(), AWS)
        assert restored.wake_at == again.wake_at
        for later_fact, later_step in list(zip(played.facts, played.steps, strict=True))[cut : cut + 25]:
            assert shape(restored.apply(later_fact)) == shape(later_step)
        assert shape(again.apply(fact)) == shape(step)
    assert again.outcome == played.outcome


def check_repeats(definition, given_input, played):
    """After each fact, all facts so far come once more and change nothing."""
    program, identity = program_of(definition), identity_of(given_input)
    machine = Machine(program, identity, AWS)
    for number, fact in enumerate(played.facts):
        machine.apply(fact)
        copy = Machine.restore(program, identity, machine.snapshot(), AWS) if machine.outcome is None else machine
        for old in played.facts[max(0, number - 20) : number + 1]:
            if isinstance(old, facts.Continued | facts.TimerFired):
                continue
            step = copy.apply(old)
            assert not step.records, (old, step.records)
            assert not step.commands
            assert step.outcome is None


@pytest.mark.parametrize("case", CASES)
def test_cases_replay_from_every_cut(case):
    """Each case of the machine replays from a snapshot after any prefix of its facts."""
    given_input = case.get("input", {})
    check_replay(case["definition"], given_input, play(case["definition"], given_input, case.get("answers")))


@pytest.mark.parametrize("case", CASES)
def test_repeated_and_late_facts_give_nothing(case):
    """A fact that was taken already, or comes too late, gives an empty step."""
    given_input = case.get("input", {})
    check_repeats(case["definition"], given_input, play(case["definition"], given_input, case.get("answers")))


FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:"
outcomes = st.one_of(
    st.builds(lambda value, after: {"return": value, "after": after}, st.integers(0, 9), st.integers(0, 3)),
    st.builds(lambda error, after: {"fail": {"error": error, "cause": "c"}, "after": after}, st.sampled_from(["A", "B"]), st.integers(0, 3)),
    st.just({"lost": True}),
    st.just({"hang": True}),
)
retry = st.lists(
    st.builds(
        lambda names, attempts, jitter: {"ErrorEquals": names, "MaxAttempts": attempts, "IntervalSeconds": 1, **({"JitterStrategy": "FULL"} if jitter else {})},
        st.sampled_from([["A"], ["B"], ["States.TaskFailed"], ["States.Timeout"]]),
        st.integers(0, 3),
        st.booleans(),
    ),
    max_size=2,
)


def leaf():
    """One state without its transition."""
    return st.one_of(
        st.just({"Type": "Pass"}),
        st.just({"Type": "Pass", "Parameters": {"u.$": "States.UUID()", "was.$": "$"}}),
        st.builds(lambda seconds: {"Type": "Wait", "Seconds": seconds}, st.integers(0, 5)),
        st.builds(
            lambda name, retriers: {"Type": "Task", "Resource": FUNCTION + name, "TimeoutSeconds": 4, **({"Retry": retriers} if retriers else {})},
            st.sampled_from(["f", "g"]),
            retry,
        ),
    )


@st.composite
def machines(draw, depth=2):
    """A chain of one to four states, some of them Parallel or Map with machines inside."""
    count = draw(st.integers(1, 4))
    states = {}
    for number in range(count):
        kind = draw(st.sampled_from(["leaf", "leaf", "parallel", "map"])) if depth else "leaf"
        if kind == "leaf":
            state = dict(draw(leaf()))
        elif kind == "parallel":
            state = {"Type": "Parallel", "Branches": draw(st.lists(machines(depth - 1), min_size=1, max_size=3))}
        else:
            inner = draw(machines(depth - 1))
            state = {"Type": "Pass", "Result": [1, 2, 3], "Next": f"M{number}{depth}"}
            states[f"S{number}{depth}"] = state
            state = {"Type": "Map", "MaxConcurrency": draw(st.integers(0, 2)), "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, **inner}}
            if draw(st.booleans()):
                state["Catch"] = [{"ErrorEquals": ["States.ALL"], "Next": f"C{number}{depth}"}]
                states[f"C{number}{depth}"] = {"Type": "Pass", "End": True}
            states[f"M{number}{depth}"] = state
            following = f"S{number + 1}{depth}"
            state.update({"Next": following} if number + 1 < count else {"End": True})
            continue
        states[f"S{number}{depth}"] = state
        state.update({"Next": f"S{number + 1}{depth}"} if number + 1 < count else {"End": True})
    return {"StartAt": f"S0{depth}", "States": states}


def uniquely(definition, path=""):
    """State names are unique in a whole machine: put the place before each."""
    states = {}
    for name, state in definition["States"].items():
        state = dict(state)  # noqa: PLW2901
        if "Next" in state:
            state["Next"] = path + state["Next"]
        if "Catch" in state:
            state["Catch"] = [{**catcher, "Next": path + catcher["Next"]} for catcher in state["Catch"]]
        if "Branches" in state:
            state["Branches"] = [uniquely(branch, f"{path}{name}.{number}.") for number, branch in enumerate(state["Branches"])]
        if "ItemProcessor" in state:
            state["ItemProcessor"] = {**state["ItemProcessor"], **uniquely(state["ItemProcessor"], f"{path}{name}.")}
        states[path + name] = state
    return {"StartAt": path + definition["StartAt"], "States": states}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(machines().map(uniquely), st.lists(outcomes, min_size=1, max_size=4), st.lists(outcomes, min_size=1, max_size=4))
def test_random_machines_replay(definition, f, g):
    """Any machine: gap-free ids, causes before effects, replay from every cut, nothing from repeats."""
    played = play(definition, [1], {"f": f, "g": g})
    records = played.records
    assert [record["id"] for record in records] == list(range(1, len(records) + 1))
    assert all(record["previousEventId"] < record["id"] for record in records)
    entered = sum(kind.endswith("StateEntered") for kind in played.types)
    left = sum(kind.endswith(("StateExited", "StateAborted")) for kind in played.types)
    assert left <= entered
    check_replay(definition, [1], played)
    check_repeats(definition, [1], played)


def drawn_state(draws, depth, name, following):
    """One state of any kind, with some of Retry and Catch; `draws` decides."""
    way = {"Next": following} if following else {"End": True}
    kind = draws.choice(["Pass", "Task", "Wait", *(["Parallel", "Map", "Task"] if depth < 2 else []), *([] if following else ["Fail", "Fail"])])
    handled = {"Retry": [{"ErrorEquals": ["States.ALL"], "MaxAttempts": draws.randint(0, 2), "IntervalSeconds": 1}]} if draws.random() < 0.4 else {}
    if following and draws.random() < 0.4:
        handled["Catch"] = [{"ErrorEquals": ["States.ALL"], "Next": following}]
    match kind:
        case "Pass":
            return {"Type": "Pass", **way}
        case "Wait":
            return {"Type": "Wait", "Seconds": draws.randint(0, 2), **way}
        case "Fail":
            return {"Type": "Fail", "Error": "E"}
        case "Task":
            return {"Type": "Task", "Resource": FUNCTION + "f", "TimeoutSeconds": draws.randint(2, 4), "HeartbeatSeconds": 1, **handled, **way}
        case "Parallel":
            return {
                "Type": "Parallel",
                "Branches": [drawn_branch(draws, depth + 1, f"{name}b{number}") for number in range(draws.randint(1, 4))],
                **handled,
                **way,
            }
    selector = {"ItemSelector": {"v.$": "$$.Map.Item.Value", "l.$": "$.l"}, "InputPath": "$$.Execution.Input"} if draws.random() < 0.5 else {}
    concurrency, processor = draws.randint(0, 3), drawn_branch(draws, depth + 1, f"{name}m")
    return {"Type": "Map", "ItemsPath": "$$.Execution.Input.l", "MaxConcurrency": concurrency, "ItemProcessor": processor, **selector, **handled, **way}


def drawn_branch(draws, depth, name):
    """One to three states in a row."""
    names = [f"{name}s{number}" for number in range(draws.randint(1, 3))]
    following = [*names[1:], None]
    return {"StartAt": names[0], "States": {own: drawn_state(draws, depth, own, after) for own, after in zip(names, following, strict=True)}}


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32))
def test_a_step_may_be_cut_anywhere(seed):
    """With steps of one to three transitions, and answers that come while a step is cut: warm and restored machines give the same."""
    draws = random.Random(seed)
    program, identity = program_of(drawn_branch(draws, 0, "r")), identity_of({"l": [1, 2, 3]})
    limits = replace(OPEN, transitions_per_step=draws.choice([1, 1, 2, 3]))
    warm, now, running, fact = Machine(program, identity, limits), START, [], facts.Started(at=START)
    for _ in range(150):
        cold = Machine.restore(program, identity, warm.snapshot(), limits)
        assert cold.wake_at == warm.wake_at
        step, again = warm.apply(fact), cold.apply(fact)
        assert shape(step) == shape(again)
        assert warm.snapshot() == cold.snapshot() or warm.outcome is not None
        running += [command.attempt for command in step.commands if isinstance(command, RunAttempt)]
        if warm.outcome is not None:
            return
        if running and draws.random() < 0.5:
            number = running[draws.randrange(len(running))]
            kind = draws.choice(["begin", "beat", "fail", "succeed"])
            if kind in ("fail", "succeed"):
                running.remove(number)
            fact = {
                "begin": facts.AttemptStarted(at=now, attempt=number),
                "beat": facts.AttemptHeartbeat(at=now, attempt=number),
                "fail": facts.AttemptFailed(at=now, attempt=number, error="X"),
                "succeed": facts.AttemptSucceeded(at=now, attempt=number, output="1"),
            }[kind]
        elif step.more:
            fact = facts.Continued(at=now)
        elif warm.wake_at is not None:
            now = max(now, warm.wake_at)
            fact = facts.TimerFired(at=now)
        elif not running:
            raise AssertionError("an execution that nothing will move")


def test_a_foreign_snapshot_is_refused():
    """A snapshot that does not fit raises ReplayMismatch, not a KeyError."""
    program = program_of({"StartAt": "A", "States": {"A": {"Type": "Wait", "Seconds": 5, "End": True}}})
    machine = Machine(program, identity_of({}), AWS)
    machine.apply(facts.Started(at=START))
    other = program_of({"StartAt": "B", "States": {"B": {"Type": "Pass", "End": True}}})
    for snapshot in (machine.snapshot(), b"{}", b"[]", b'{"v":99}', b"nonsense"):
        with pytest.raises(ReplayMismatch):
            Machine.restore(other, identity_of({}), snapshot, AWS)
