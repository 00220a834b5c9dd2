"""A workflow as a state machine of the Amazon States Language, where the meaning is the same.

The machine takes and gives what the workflow does. It keeps the variables of the run in the variable ``variables`` and what each step left behind
(``{"output", "status"}`` by its id) in ``nodes``. What the language cannot say, or what would depend on which of two steps is quicker, is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds.info import KindInfo
from flowrunner.lang.braces import compile_condition
from flowrunner.lang.jsonata.writing import MOST_EXACT, literal, marked, member
from flowrunner.reading.document import read_document
from flowrunner.reading.findings import Findings, Locate, Place
from flowrunner.reading.machines import reached
from flowrunner.workflow.arrangement import DEEPEST, Arrangement, Chain, Fork, One, Tangled, TooDeep, arranged, in_turn, steps_in, width
from flowrunner.workflow.aslloops import loop_states
from flowrunner.workflow.aslsteps import NAME_CHARACTERS, WHOLE_SECONDS, States, StepWriter, failing, refuse
from flowrunner.workflow.compiling import Compiling, Step, is_there
from flowrunner.workflow.fields import DEFAULT
from flowrunner.workflow.jsonata import Untranslatable, Writer
from flowrunner.workflow.parse import LOWERS
from flowrunner.workflow.scopes import Where, may_fail, mixed_text, touched
from flowrunner.workflow.steps import graph_of, steps_of

NUMBERS_IN_TEXTS = "NUMBERS_IN_TEXTS"
BEGIN, END = "(start)", "(end)"
GIVEN = (
    "($i := $states.input; $part := function($k) {{ $type($i) = 'object' and $type($lookup($i, $k)) = 'object' ?"
    " $sift($lookup($i, $k), function($v, $n) {{ $not($contains($n, '.') or $substring($n, 0, 1) = '$') }}) }};"
    " $merge([{{}}, $part('environment'), {0}, $part('variables')]))"
)


def asl_of(text: str, kinds: Mapping[str, KindInfo]) -> tuple[JSONObject, Findings, Locate]:
    """The definition of a sound workflow as a JSON value; it counts only when no error was found."""
    document = read_document(text, "json")
    found = Findings()
    return MachineWriter(found, kinds, document.value).made(), found, document.locate


class MachineWriter:
    """Writes the states of one workflow."""

    def __init__(self, found: Findings, kinds: Mapping[str, KindInfo], given: JSONObject) -> None:
        self.found = found
        self.given = given
        self.compiling = Compiling(found=Findings(), kinds=kinds, templates={}, lowers=LOWERS)
        whole = Compiling(found=Findings(), kinds=kinds, templates={}, lowers=LOWERS)
        graph_of(whole, given["steps"], ("steps",))
        self.ids = frozenset(whole.ids)
        self.taken = set(self.ids)
        self.writer = StepWriter(found, self.compiling)
        self.loops = 0

    def made(self) -> JSONObject:
        """The whole definition."""
        given = self.given
        variables: JSONObject = given.get("variables") or {}
        where = Where(certain=frozenset(variables), steps=self.ids)
        if (place := mixed_text(given["steps"], ("steps",))) is not None:
            self.found.warning(place, "A number in a text is written as JSONata writes it: 1.0 as 1, and with 15 digits at most.", NUMBERS_IN_TEXTS)
        begin, end = self.name(BEGIN), self.name(END)
        start, states = self.level(where, steps_of(self.compiling, given["steps"], ("steps",)), end, limit=given.get("maxConcurrency"))
        try:
            merged = GIVEN.format(literal(variables))
        except ValueError:
            refuse(self.found, ("variables",), f"a whole number beyond {MOST_EXACT} is not exact in JSONata", "Write it as a text.")
            merged = ""
        states = {
            begin: {"Type": "Pass", "Assign": {"variables": marked(merged), "nodes": {}}, "Output": {}, "Next": start},
            **states,
            end: {"Type": "Succeed", "Output": {"variables": "{% $variables %}", "outputs": marked(self.outputs(where, self.compiled_ids))}},
        }
        made: JSONObject = {
            "QueryLanguage": "JSONata",
            "StartAt": begin,
            "States": reached(begin, states),
        }
        if given.get("timeout") is not None:
            milliseconds = self.compiling.milliseconds(given["timeout"], ("timeout",), unit="s") or 0
            if milliseconds % 1000:
                refuse(self.found, ("timeout",), WHOLE_SECONDS, "Write whole seconds.")
            made["TimeoutSeconds"] = max(1, milliseconds // 1000)
        return {"Comment": given["description"], **made} if given.get("description") else made

    @property
    def compiled_ids(self) -> list[str]:
        """The steps of the first level."""
        return [name for name, place in self.compiling.ids.items() if len(place) == 2]

    def outputs(self, where: Where, ids: list[str], more: JSONObject | None = None) -> str:
        """The outputs of steps that have ended, by their ids, as JSONata."""
        members = [f"{literal(name)}: {literal(value)}" for name, value in (more or {}).items()]
        members += [f"{literal(step)}: {member('$' + where.nodes, step)}.output" for step in ids]
        return "{" + ", ".join(members) + "}"

    def name(self, wanted: str) -> str:
        """A name that no other state has."""
        name, number = wanted[:NAME_CHARACTERS], 1
        while name in self.taken:
            number += 1
            name = f"{wanted[: NAME_CHARACTERS - 8]} {number}"
        self.taken.add(name)
        return name

    # --- levels

    def level(self, where: Where, steps: list[Step], then: str, *, limit: int | None = None) -> tuple[str, States]:
        """The states of the steps of one level, and the first of them; they go on at `then`."""
        by_id = {step.id: step for step in steps}
        needs = {step.id: step.needs for step in steps}
        if not steps:
            return then, {}
        early = [step for step in steps if step.waits_for_any and len(step.needs) > 1]
        if limit != 1 or in_turn(needs) != in_turn(needs, first={step.id for step in early}):
            for step in early:
                refuse(self.found, step.at("type"), "no state goes on as soon as the first of several has succeeded", "Use the mode 'all'.")
        if limit == 1:
            return self.part(where, Chain(tuple(map(One, in_turn(needs)))), by_id, then)
        try:
            arrangement = arranged(needs)
        except Tangled as error:
            first, second, third, fourth = error.steps
            refuse(
                self.found,
                by_id[third].at("dependsOn"),
                f"'{third}' waits for '{first}' and '{second}', '{fourth}' for '{second}' alone, and a Parallel state lets all that follows wait for all of it",
                f"Let '{fourth}' depend on '{first}' too, or set 'maxConcurrency' of the workflow to 1.",
            )
            return then, {}
        except TooDeep:
            refuse(self.found, steps[0].place[:-1], f"steps stand side by side more than {DEEPEST} levels deep", "Set 'maxConcurrency' of the workflow to 1.")
            return then, {}
        if limit is not None and limit < width(arrangement):
            refuse(self.found, ("maxConcurrency",), "a Parallel state runs all of its branches at once", "Leave it out, or set it to 1.")
        return self.part(where, arrangement, by_id, then)

    def part(self, where: Where, part: Arrangement, steps: Mapping[str, Step], then: str) -> tuple[str, States]:
        """The states of a part of a level."""
        match part:
            case One(step=step):
                return self.step(where, steps[step], then)
            case Chain(parts=parts):
                made: list[States] = []
                for one in reversed(parts):
                    then, states = self.part(where, one, steps, then)
                    made.insert(0, states)
                return then, {name: state for states in made for name, state in states.items()}
            case Fork(parts=parts):
                return self.fork(where, parts, steps, then)

    def fork(self, where: Where, parts: tuple[Arrangement, ...], steps: Mapping[str, Step], then: str) -> tuple[str, States]:
        """Parts side by side: a Parallel state, whose branches give what they have set."""
        inner = replace(where, depth=where.depth + 1)
        if where.failed is not None:
            refuse(
                self.found,
                steps[steps_in(parts[0])[0]].place,
                "steps side by side lose what they have set when one of them fails",
                "Let one depend on the other.",
            )
        sides = [[(name, touched(steps[name].given, self.within(steps[name]))) for name in steps_in(part)] for part in parts]
        for index, side in enumerate(sides):
            for name, own in side:
                for other, theirs in (pair for further in sides[index + 1 :] for pair in further):
                    if (shared := own.meets(theirs)) is not None:
                        why = f"'{name}' and '{other}' run at once and share '{shared}': which of them is quicker would decide"
                        refuse(self.found, steps[other].place, why, "Let one depend on the other.")
        branches: list[JSONValue] = []
        for part, side in zip(parts, sides, strict=True):
            begin, end = self.name(f"(begin {side[0][0]})"), self.name(f"(end {side[0][0]})")
            start, states = self.part(inner, part, steps, end)
            kept = {begin: self.begun(where, inner, start), **states, end: self.ended(inner, frozenset[str]().union(*(own.sets for _, own in side)))}
            branches.append({"StartAt": begin, "States": reached(begin, kept)})
        results = [f"$states.result[{index}]" for index in range(len(branches))]
        state: JSONObject = {
            "Type": "Parallel",
            "Branches": branches,
            "Assign": {
                where.variables: marked(f"$merge([${where.variables}, {', '.join(f'{result}.variables' for result in results)}])"),
                where.nodes: marked(f"$merge([${where.nodes}, {', '.join(f'{result}.nodes' for result in results)}])"),
            },
            "Output": {},
            "Next": then,
        }
        name = self.name(" and ".join(side[0][0] for side in sides))
        return name, {name: state}

    def begun(self, where: Where, inner: Where, then: str) -> JSONObject:
        """The state that a branch begins with: variables of an outer level cannot be set within."""
        copied: JSONObject = {inner.variables: f"{{% ${where.variables} %}}", inner.nodes: f"{{% ${where.nodes} %}}"}
        return {"Type": "Pass", "Assign": copied, "Output": {}, "Next": then}

    def ended(self, inner: Where, names: frozenset[str]) -> JSONObject:
        """The state that a branch ends with: it gives what was set in it."""
        listed = literal(sorted(names))
        parts = [f"'{part}': $sift(${of}, function($v, $k) {{ $k in {listed} }})" for part, of in (("variables", inner.variables), ("nodes", inner.nodes))]
        return {"Type": "Succeed", "Output": marked("{" + ", ".join(parts) + "}")}

    def within(self, step: Step) -> frozenset[str]:
        """The ids of a step and of those within it."""
        return self.within_levels(_children_of(step.given)) | {step.id}

    @staticmethod
    def within_levels(levels: list[JSONValue]) -> frozenset[str]:
        """The ids of the steps of these levels, and of those within them."""
        places = [*levels]
        found: set[str] = set()
        while places:
            value = places.pop()
            pairs = value.items() if isinstance(value, dict) else ((part.get("id"), part) for part in value)
            for name, part in pairs:
                found.add(str(name))
                places += _children_of(part)
        return frozenset(found)

    # --- steps

    def step(self, where: Where, step: Step, then: str) -> tuple[str, States]:
        """The states of a step: a choice first where it may be skipped."""
        place = replace(where, previous=step.needs[-1]) if step.needs else where
        if len(step.id) > NAME_CHARACTERS:
            refuse(self.found, step.place, f"the name of a state has at most {NAME_CHARACTERS} characters", "Give the step a shorter id.")
        skipped = self.writer.left(place, step, "null", "skipped", never=self.within(step) - {step.id})
        if step.given.get("disabled"):
            return step.id, {step.id: {"Type": "Pass", "Assign": skipped, "Output": {}, "Next": then}}
        start, states = self.own(place, step, then)
        if "when" not in step.given:
            return start, states
        if failing(self.compiling, step, where) and may_fail({"when": step.given["when"]}):
            refuse(self.found, step.at("when"), "a Choice state whose condition fails has no Retry and no Catch", "Do the calculation in a step before.")
        asked = self.name(f"{step.id} (when)")
        condition = self.condition(place, step.given["when"], step.at("when"))
        choice = {"Type": "Choice", "Choices": [{"Condition": condition, "Next": start}], "Default": then, "Assign": skipped, "Output": {}}
        return asked, {asked: choice, **states}

    def condition(self, where: Where, given: JSONValue, place: Place, *, result: str | None = None, holds: bool = True) -> str:
        """Whether a condition holds, or does not, as JSONata."""
        writer = Writer(where.names(result=result))
        try:
            truth = writer.truth(compile_condition(given, previous=where.previous).tree)
            return writer.whole(truth if holds else f"$not({truth})", given if isinstance(given, str) else "")
        except Untranslatable as error:
            refuse(self.found, place, str(error))
            return ""

    def own(self, where: Where, step: Step, then: str) -> tuple[str, States]:
        """The states of a step that is not skipped."""
        kind = "loop" if step.loops else step.type
        arranging = {"group": self.group, "branch": self.branch}
        for given in ("input", "inputs") if step.type in ("delay", "wait", "branch", "loop") else ():
            if step.given.get(given):
                refuse(self.found, step.at(given), "only a Task has arguments of its own", "Write the values where the step uses them.")
        if kind == "loop":
            return loop_states(self, where, step, then)
        if kind in arranging:
            if failing(self.compiling, step):
                refuse(self.found, step.place, f"what a {kind} has set before it failed would be lost", "Give the retries and 'onError' to the steps within.")
            return arranging[kind](where, step, then)
        return step.id, {step.id: self.writer.state(where, step, then)}

    def group(self, where: Where, step: Step, then: str) -> tuple[str, States]:
        """The steps within, then a state that gathers what they gave."""
        value, place = step.member("children")
        steps = steps_of(self.compiling, value, place, in_order=True)
        start, states = self.level(where, steps, step.id)
        gathered = self.writer.left(where, step, self.outputs(where, [inner.id for inner in steps]), "success")
        return start, {**states, step.id: {"Type": "Pass", "Assign": gathered, "Output": {}, "Next": then}}

    def branch(self, where: Where, step: Step, then: str) -> tuple[str, States]:
        """A choice, and behind each way a state that gathers what its steps gave."""
        choices: list[JSONValue] = []
        states: States = {}
        default = None
        cases = _cases(step)
        ways = [self.within_levels([children]) for _, _, _, children, _ in cases]
        inner_ids = frozenset[str]().union(*ways)
        for number, (condition, at, label, children, place) in enumerate(cases):
            steps = steps_of(self.compiling, children, place, in_order=True)
            last = self.name(f"{step.id} (branch {number + 1})")
            start, inner = self.level(where, steps, last)
            gathered = self.writer.left(
                where, step, self.outputs(where, [each.id for each in steps], {"selectedBranch": label}), "success", never=inner_ids - ways[number]
            )
            states |= {**inner, last: {"Type": "Pass", "Assign": gathered, "Output": {}, "Next": then}}
            if condition is None:
                default = start
                break
            if where.failed is not None and may_fail({"condition": condition}):
                refuse(self.found, at, "a Choice state whose condition fails has no Catch", "Do the calculation in a step before.")
            choices.append({"Condition": self.condition(where, condition, at), "Next": start})
        if not choices and default is not None:
            return default, states
        choice: JSONObject = {"Type": "Choice", "Choices": choices, "Default": default or then, "Output": {}}
        if default is None:
            choice["Assign"] = self.writer.left(where, step, '{"selectedBranch": null}', "success", never=inner_ids)
        return step.id, {step.id: choice, **states}


def _children_of(given: JSONObject) -> list[JSONValue]:
    """The levels of steps within a step's members."""
    config, loop = given.get("config") or {}, given.get("loop") or {}
    branches = [part for parts in (given.get("branches"), config.get("branches")) for part in parts or () if isinstance(part, dict)]
    holders = (given, config, loop if isinstance(loop, dict) else {}, *branches)
    return [holder[name] for holder in holders for name in ("children", "elseChildren") if isinstance(holder.get(name), (list, dict))]


def _cases(step: Step) -> list[tuple[JSONValue, Place, str, JSONValue, Place]]:
    """The ways of a branch in the order in which they are asked: condition (None: always), its place, label, steps, their place."""
    value, place = step.member("branches")
    if not is_there(value):
        condition, at = step.member("condition")
        ways = [(condition, at, "true", *step.member("children")), (None, at, "false", *step.member("elseChildren"))]
        return [
            (condition, at, label, children or {}, below) for condition, at, label, children, below in ways if condition is not None or children is not None
        ]
    read = [(part, (*place, index)) for index, part in enumerate(value)]
    read.sort(key=lambda pair: ((pair[0].get("condition") or DEFAULT) == DEFAULT, pair[0].get("priority") or 0))
    cases = []
    for part, at in read:
        wanted = part.get("condition") if part.get("condition") is not None else DEFAULT
        label = part.get("label") or (DEFAULT if wanted == DEFAULT else str(wanted))
        cases.append((None if wanted == DEFAULT else wanted, (*at, "condition"), label, part.get("children") or {}, (*at, "children")))
    return cases
