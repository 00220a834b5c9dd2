"""Step workflows drawn at random: every step runs once at most (in each iteration) and after its needs, a snapshot changes nothing, every run ends."""

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent.parent / "workflow"))

from workflowplay import Player

CONDITIONS = (None, None, None, True, False, "{{wanted}}", "{{!wanted}}", "{{word - 1 > 2}}")  # the last cannot be evaluated
MOST_TURNS = 500


@dataclass
class Drawn:
    """A workflow, and what its steps are to do: `failures` is how many attempts of a step fail, `order` which attempt is answered next."""

    definition: dict
    failures: dict
    order: list
    needs: dict = field(default_factory=dict)

    def __post_init__(self):
        self.needs = dict(levels(self.definition["steps"], set()))

    def step(self, name):
        return next(step for steps in all_levels(self.definition["steps"]) for step in steps if step["id"] == name)


def all_levels(steps):
    """The lists of steps, the outer one first."""
    yield steps
    for step in steps:
        yield from all_levels(step.get("children", []))


def levels(steps, around):
    """(step, what must have ended before it, whether one of that is enough, the steps around it)."""
    for step in steps:
        yield step["id"], (set(step.get("dependsOn", ())), step.get("mode") == "any", around)
        yield from levels(step.get("children", []), {*around, step["id"]})


def entered(note):
    """What a note is about: a step, in a loop one iteration of it. No loop stands in another here."""
    return note["stepId"], note.get("iteration")


def among(steps, told, iteration):
    """Those of the steps that are told of, in this iteration or outside of every loop."""
    return {step for step in steps if (step, iteration) in told or (step, None) in told}


@st.composite
def steps_of(draw, *, prefix="s", depth=0, loops=True):
    """One level of steps, each of which may need those before it."""
    made = []
    for number in range(draw(st.integers(1, 7 if depth == 0 else 3))):
        kind = draw(
            st.sampled_from(
                ["script", "script", "script", "delay", "merge", "merge", *(["group"] if depth < 2 else []), *(["loop"] if depth < 2 and loops else [])]
            )
        )
        step = {"id": f"{prefix}{number}", "type": kind}
        if made:
            step["dependsOn"] = draw(st.lists(st.sampled_from([one["id"] for one in made]), unique=True, max_size=3))
        condition = draw(st.sampled_from(CONDITIONS))
        if condition is not None:
            step["when"] = condition
        if kind == "merge":
            step["mode"] = draw(st.sampled_from(["any", "all"]))
        if kind == "delay":
            step["config"] = {"duration": draw(st.integers(0, 50))}
        if kind == "group":
            step["children"] = draw(steps_of(prefix=f"{step['id']}-", depth=depth + 1, loops=loops))
        if kind == "loop":
            step["loop"] = {"count": draw(st.integers(0, 3)), "parallel": draw(st.booleans())}
            step["loop"] |= draw(st.sampled_from([{}, {}, {"continueCondition": "{{loopIndex == 1}}"}, {"breakCondition": "{{loopIndex == 1}}"}]))
            step["children"] = draw(steps_of(prefix=f"{step['id']}-", depth=depth + 1, loops=False))
        if kind == "script":
            step["config"] = {"script": "return 1"}
            step["retryCount"] = draw(st.integers(0, 1))
            step["retryDelay"] = draw(st.sampled_from([0, 20]))
        step["onError"] = draw(st.sampled_from(["abort", "continue", "continue"]))
        made.append(step)
    return made


@st.composite
def drawn(draw):
    definition = {"name": "drawn", "variables": {"wanted": draw(st.booleans()), "word": "x"}, "steps": draw(steps_of())}
    limit = draw(st.sampled_from([None, None, 1, 2]))
    if limit is not None:
        definition["maxConcurrency"] = limit
    names = [step["id"] for steps in all_levels(definition["steps"]) for step in steps if step["type"] == "script"]
    failures = {name: draw(st.sampled_from([0, 0, 0, 1, 2])) for name in names}
    return Drawn(definition, failures, draw(st.lists(st.integers(0, 5), min_size=1, max_size=12)))


def played(case, *, restored):
    """The run, played to its end or until nothing would ever move it; and how many attempts each step had."""
    player, tries = Player(case.definition, restored=restored), Counter()
    for turn in range(MOST_TURNS):
        if player.outcome is not None:
            break
        moves = [*player.open, *([] if player.machine.wake_at is None else ["wake"])]
        check_nothing_waits(case, player)
        if not moves:
            break
        move = moves[case.order[turn % len(case.order)] % len(moves)]
        if move == "wake":
            player.wake()
            continue
        command = player.open[move]
        state = command.state
        if player.machine.open_attempt(move) is not None:
            tries[state] += 1
        player.answer(state, {"of": state}, error="Bad" if tries[state] <= case.failures[state] else None)
    return player, tries


def check_nothing_waits(case, player):
    """Whatever may begin has begun: nothing waits for more than it needs."""
    begun = {entered(note) for note in player.notes("StepStarted")}
    ended = {entered(note) for note in player.notes("StepCompleted")}
    succeeded = {entered(note) for note in player.notes("StepCompleted") if note["status"] == "success"}
    running = {(note["stepId"], note["index"]) for note in player.notes("IterationStarted")} - {
        (note["stepId"], note["index"]) for note in player.notes("IterationCompleted")
    }
    for step, (needs, one, around) in case.needs.items() if "maxConcurrency" not in case.definition else ():
        loop = next((name for name in around if case.step(name)["type"] == "loop"), None)
        for iteration in [None] if loop is None else [index for name, index in running if name == loop]:
            through = among(needs, ended, iteration)
            ready = through == needs or (one and bool(among(needs, succeeded, iteration)))
            can = around == among(around, begun, iteration) and not among(around, ended, iteration)
            assert not (ready and can) or (step, iteration) in begun | ended, f"{step} waits for nothing"


def check_steps(case, player):
    """Each step is told of once, in each iteration, and begins when what it needs has ended and what is around it runs."""
    begun, ended = set(), {}
    for note in player.notes("StepStarted", "StepCompleted"):
        one_entry = step, iteration = entered(note)
        if note["is"] == "StepCompleted":
            assert one_entry not in ended, f"{step} ended twice"
            assert (one_entry in begun) == (note["status"] != "skipped"), f"{step} ended as {note['status']}"
            ended[one_entry] = note["status"]
            continue
        assert one_entry not in begun, f"{step} began twice"
        begun.add(one_entry)
        needs, one, around = case.needs[step]
        through = among(needs, ended, iteration)
        succeeded = among(needs, {entry for entry, status in ended.items() if status == "success"}, iteration)
        assert through == needs or (one and succeeded), f"{step} began before {needs - through}"
        assert around == among(around, begun, iteration), f"{step} began outside of {around}"
        assert not among(around, ended, iteration), f"{step} began after {around}"
    assert begun <= ended.keys(), f"{begun - ended.keys()} never ended"
    return ended


def check_end(case, player, ended, tries):
    """It has ended: well, with every step of the first level ended; or by a step that aborts."""
    assert player.outcome is not None, "nothing would ever move it"
    ids = [record["id"] for record in player.records if "id" in record]
    assert ids == list(range(1, len(ids) + 1))
    assert player.machine.last_seq == len(player.records)
    shown = [note["progress"] for note in player.notes("StepStarted")]
    assert shown == sorted(shown)
    for name, count in tries.items():
        assert count <= (case.step(name)["retryCount"] + 1) * max(1, sum(step == name for step, _ in ended))
    if player.outcome.status == "SUCCEEDED":
        assert player.output["outputs"].keys() == {step["id"] for step in case.definition["steps"]}
        assert {(step["id"], None) for step in case.definition["steps"]} <= ended.keys()
        # What failed was allowed to, or lies in a group that was.
        for (name, _), status in ended.items():
            if status in ("failed", "cancelled"):
                lets = {name, *case.needs[name][2]} if status == "failed" else case.needs[name][2]
                assert any(case.step(one)["onError"] == "continue" for one in lets), name
    else:
        failed = [name for (name, _), status in ended.items() if status == "failed"]
        assert any(case.step(name)["onError"] == "abort" for name in failed)


@settings(max_examples=150, deadline=None)
@given(case=drawn())
def test_random_step_graphs(case):
    """Needs, conditions, failures that abort or go on, merges of one or of all, groups, loops, a bound on what runs at once."""
    player, tries = played(case, restored=False)
    check_end(case, player, check_steps(case, player), tries)
    again, _ = played(case, restored=True)
    assert again.records == player.records
    assert again.outcome == player.outcome
