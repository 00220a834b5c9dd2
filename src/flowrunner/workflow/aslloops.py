"""Loops of a workflow as circles of states: an iteration begins where the one before has ended, and sees what that has set.

What a loop keeps is in variables of its own, numbered because loops stand within loops: ``items1``, ``total1``, ``progress1``, ``reason1``, and in
``loop1`` the variables that its iterations see.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowrunner.core.faults import INVALID_PARAMETERS
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.lang.jsonata.writing import literal, marked, member
from flowrunner.reading.findings import Place
from flowrunner.workflow.aslsteps import States, refuse
from flowrunner.workflow.compiling import Step, steps_repeated
from flowrunner.workflow.fields import kind_of
from flowrunner.workflow.jsonata import Untranslatable, Writer, part
from flowrunner.workflow.scopes import Where, may_fail
from flowrunner.workflow.steps import retriers_of, steps_of
from flowrunner.workflow.structure import AT_ONCE, MOST_ITERATIONS, around, loop_members, named_value, repeated

if TYPE_CHECKING:
    from flowrunner.workflow.toasl import MachineWriter

_EXTENTS = {
    "forEach": ("source", "$type(${0}) = 'array'", "A forEach loop needs a list."),
    "count": ("count", "$type(${0}) = 'number' and ${0} >= 0 and ${0} = $floor(${0})", "The count of a loop must be a whole number from 0 on."),
}


def loop_states(machine: MachineWriter, where: Where, step: Step, then: str) -> tuple[str, States]:
    """The states of a loop, and the first of them."""
    machine.loops += 1
    given, place = loop_members(machine.compiling, step)
    return _Loop(machine, where, step, machine.loops, given, place).states(then)


@dataclass(frozen=True, slots=True)
class _Loop:
    machine: MachineWriter
    where: Where
    step: Step
    number: int
    given: JSONObject
    place: Place

    def states(self, then: str) -> tuple[str, States]:
        """All states."""
        machine, step = self.machine, self.step
        children, at = self._children()
        outer = step if children is not None else around(step)
        self._check(outer)
        names = {part: machine.name(f"{step.id} ({part})") for part in ("begin", "loop", "next", "iterated", "failed")}
        where = self._within(names["failed"])
        if children is not None:
            steps = steps_of(machine.compiling, children, at, in_order=True)
            start, body = machine.level(where, steps, names["iterated"])
            output = machine.outputs(where, [inner.id for inner in steps])
        else:
            start, body = machine.own(where, repeated(step), names["iterated"])
            output = f"{member('$' + where.nodes, step.id)}.output"
        end = step.id if children is not None else machine.name(f"{step.id} (end)")
        begun = self._begun(names["loop"], names["begin"], then)
        return next(iter(begun)), {
            **begun,
            names["loop"]: {"Type": "Pass", "Assign": {f"loop{self.number}": marked(self._variables())}, "Output": {}, "Next": names["next"]},
            names["next"]: self._asked(where, names["loop"], start, end),
            **body,
            **self._iterated(where, names, output, end),
            end: {"Type": "Pass", "Assign": machine.writer.left(self.where, outer, self._summary(), "success"), "Output": {}, "Next": then},
        }

    # --- parts

    def _children(self) -> tuple[JSONValue, Place]:
        """The steps within and their place; None for a step that is repeated itself."""
        return steps_repeated(self.step, self.given, self.place) or (None, self.place)

    def _check(self, outer: Step) -> None:
        found, given, place = self.machine.found, self.given, self.place
        if given.get("parallel") and kind_of(given) != "while" and given.get("concurrency", AT_ONCE) > 1:
            refuse(found, place, "iterations at once leave behind what the last of them that ended has set", "Leave out 'parallel'.")
        if retriers_of(self.machine.compiling, outer):
            refuse(found, self.step.place, "what a loop has set before it failed would be lost", "Give the retries to the steps within.")
        if (self.step.goes_on or self.where.failed is not None) and may_fail(given):
            refuse(found, place, "a Choice state whose condition fails has no Catch", "Do the calculation in a step before.")

    def _within(self, failed: str) -> Where:
        """The place of the steps within."""
        given = self.given
        own = ("loopIndex", "loopCount", "loopTotal", "loopFirst", "loopLast", "loopItem", given.get("itemVar", "item"), given.get("indexVar", "index"))
        return replace(
            self.where,
            given={**self.where.given, **{name: member(f"$loop{self.number}", name) for name in own}},
            loops=(*self.where.loops, f"$loop{self.number}"),
            failed=(failed, f"error{self.number}") if self.step.goes_on else self.where.failed,
        )

    def _begun(self, onward: str, begin: str, then: str) -> States:
        """The states before the first iteration: what is gone through is looked at once."""
        number, given, kind = self.number, self.given, str(kind_of(self.given))
        most = given.get("maxIterations", MOST_ITERATIONS)
        progress: JSONObject = {f"progress{number}": {"next": 0, "completed": 0, "failed": 0, "results": []}, f"reason{number}": "completed"}
        if kind == "while":
            return {begin: {"Type": "Pass", "Assign": progress, "Output": {}, "Next": onward}}
        member_, test, said = _EXTENTS[kind]
        value = f"items{number}" if kind == "forEach" else f"count{number}"
        try:
            writer = Writer(self.where.names())
            made = part(writer, named_value(given[member_]), self.where.previous)
            if kind == "count":
                made = f"($c := {made}; $type($c) = 'string' ? ($n := {writer.need('num')}($c); $exists($n) ? $n : $c) : $c)"
            made = writer.complete(made)
        except Untranslatable as error:
            refuse(self.machine.found, (*self.place, member_), str(error))
            made = "null"
        total = f"$count(${value})" if kind == "forEach" else f"${value}"
        progress[f"total{number}"] = marked(f"{total} > {most} ? {most} : {total}")
        progress[f"reason{number}"] = marked(f"{total} > {most} ? 'maxIterations' : 'completed'")
        asked, first, wrong = (self.machine.name(f"{self.step.id} ({part})") for part in ("check", "first", "wrong"))
        return {
            begin: {"Type": "Pass", "Assign": {value: marked(made, str(given[member_]))}, "Output": {}, "Next": asked},
            asked: {"Type": "Choice", "Choices": [{"Condition": marked(test.format(value)), "Next": first}], "Default": wrong},
            wrong: self._wrong(said, then),
            first: {"Type": "Pass", "Assign": progress, "Output": {}, "Next": onward},
        }

    def _wrong(self, said: str, then: str) -> JSONObject:
        """The loop fails as it does in a workflow that evaluates its extent."""
        name = INVALID_PARAMETERS
        error = f"{{'error': '{name}', 'cause': {literal(said)}}}"
        if self.step.goes_on:
            kept = f"{{{literal(self.step.id)}: {{'output': null, 'status': 'failed', 'error': {error}}}}}"
            return {"Type": "Pass", "Assign": {self.where.nodes: marked(f"$merge([${self.where.nodes}, {kept}])")}, "Output": {}, "Next": then}
        if self.where.failed is not None:
            return {"Type": "Pass", "Assign": {self.where.failed[1]: marked(error)}, "Output": {}, "Next": self.where.failed[0]}
        return {"Type": "Fail", "Error": name, "Cause": said}

    def _variables(self) -> str:
        """What the next iteration sees, as JSONata."""
        number, given, kind = self.number, self.given, kind_of(self.given)
        index = f"$progress{number}.next"
        item = f"($i := {index}; $i < $count($items{number}) ? $items{number}[$i] : null)" if kind == "forEach" else index
        total = "null" if kind == "while" else f"$total{number}"
        last = "false" if kind == "while" else f"{index} = {total} - 1"
        members = {"loopIndex": index, "loopCount": f"{index} + 1", "loopTotal": total, "loopFirst": f"{index} = 0", "loopLast": last, "loopItem": item}
        members |= {given.get("itemVar", "item"): item, given.get("indexVar", "index"): index}
        return "{" + ", ".join(f"{literal(name)}: {value}" for name, value in members.items()) + "}"

    def _asked(self, where: Where, again: str, start: str, end: str) -> JSONObject:
        """Whether there is a next iteration, and whether it is skipped."""
        given, place = self.given, self.place
        number, most = self.number, given.get("maxIterations", MOST_ITERATIONS)
        rules: list[JSONValue] = []
        if kind_of(given) == "while":
            over = self.machine.condition(where, given["condition"], (*place, "condition"), holds=False)
            rules.append({"Condition": over, "Assign": {f"reason{number}": "conditionFalse"}, "Next": end})
            rules.append({"Condition": marked(f"$progress{number}.next >= {most}"), "Assign": {f"reason{number}": "maxIterations"}, "Next": end})
        else:
            rules.append({"Condition": marked(f"$progress{number}.next >= $total{number}"), "Next": end})
        if "continueCondition" in given:
            left_out = self.machine.condition(where, given["continueCondition"], (*place, "continueCondition"))
            rules.append({"Condition": left_out, "Assign": self._counted("completed", "[null]"), "Next": again})
        return {"Type": "Choice", "Choices": rules, "Default": start, "Output": {}}

    def _iterated(self, where: Where, names: dict[str, str], output: str, end: str) -> States:
        """What comes after an iteration, one that has failed too."""
        one = f"($o := {output}; $type($o) = 'array' ? [[$o]] : [$o])"  # a list of this one output
        states: States = {names["iterated"]: {"Type": "Pass", "Assign": self._counted("completed", one), "Output": {}, "Next": names["loop"]}}
        if "breakCondition" in self.given:
            asked = self.machine.name(f"{self.step.id} (break)")
            result = f"($r := $progress{self.number}.results; $r[-1])"
            condition = self.machine.condition(where, self.given["breakCondition"], (*self.place, "breakCondition"), result=result)
            rule = {"Condition": condition, "Assign": {f"reason{self.number}": "break"}, "Next": end}
            states[names["iterated"]]["Next"] = asked
            states[asked] = {"Type": "Choice", "Choices": [rule], "Default": names["loop"], "Output": {}}
        if self.step.goes_on:
            kept = self._counted("failed", f"[$error{self.number}]")
            states[names["failed"]] = {"Type": "Pass", "Assign": kept, "Output": {}, "Next": names["loop"]}
        return states

    def _counted(self, what: str, results: str) -> JSONObject:
        progress = f"progress{self.number}"
        changes = f"{{'next': $p.next + 1, '{what}': $p.{what} + 1, 'results': $append($p.results, {results})}}"
        return {progress: marked(f"($p := ${progress}; $merge([$p, {changes}]))")}

    def _summary(self) -> str:
        progress = f"$progress{self.number}"
        counts = {"totalIterations": "next", "completedIterations": "completed", "failedIterations": "failed"}
        members = [f"'{name}': {progress}.{part}" for name, part in counts.items()]
        return "{" + ", ".join([*members, f"'exitReason': $reason{self.number}", f"'results': {progress}.results"]) + "}"
