"""What all steps of a workflow are compiled with, and a step as it was read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from flowrunner.core.program import Label, State, Template
from flowrunner.errors import ExpressionError, ExpressionSyntaxError
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds.durations import read_limit, read_milliseconds
from flowrunner.kinds.info import KindInfo
from flowrunner.lang.braces import compile_braces, compile_condition
from flowrunner.lang.braces.template import Places, nowhere, place_of
from flowrunner.reading.findings import Findings, Place
from flowrunner.reading.wording import shown
from flowrunner.workflow.fields import INVALID_VALUE
from flowrunner.workflow.inputs import Seeing
from flowrunner.workflow.order import MISSING_DEPENDENCY, Ended
from flowrunner.workflow.secrets import warn_unread
from flowrunner.workflow.templates import Constant

INVALID_EXPRESSION = "INVALID_EXPRESSION"
EVERYTHING = ("States.ALL", "States.DataLimitExceeded")  # which States.ALL does not match


def is_there(value: JSONValue) -> bool:
    """Whether steps within a step are given: editors write empty lists for what a step does not have."""
    return value not in (None, [], {})


@dataclass(frozen=True, slots=True)
class Step:
    """One step, read. `gives` are the outputs that its action template names, with where they are."""

    id: str
    place: Place
    given: JSONObject
    type: str
    config: JSONObject
    needs: tuple[str, ...] = ()
    config_place: Place | None = None  # where the config stands if not in the step
    gives: JSONObject = field(default_factory=dict)

    @property
    def label(self) -> Label:
        """What streams call it."""
        return Label(id=self.id, name=self.given.get("name") or self.id, type=self.type)

    @property
    def loops(self) -> bool:
        """Whether it runs again and again."""
        return bool({"loop", "loopOver", "loopCondition"} & self.given.keys())

    @property
    def goes_on(self) -> bool:
        """Whether the workflow goes on when the step has failed."""
        return self.given.get("onError") == "continue" or bool(self.given.get("continueOnFail"))

    @property
    def waits_for_any(self) -> bool:
        """Whether the first of its needs that succeeds is enough."""
        return self.type == "merge" and self.member("mode")[0] == "any"

    def at(self, *names: str) -> Place:
        """The place of a member."""
        if self.config_place is not None and names[:1] == ("config",):
            return (*self.config_place, *names[1:])
        return (*self.place, *names)

    def member(self, name: str) -> tuple[JSONValue, Place]:
        """A member that stands in the step or in its config, and its place."""
        return (self.given[name], self.at(name)) if name in self.given else (self.config.get(name), self.at("config", name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiling:
    """What the steps of a workflow are compiled with. `kinds` and `templates` are by name and id, `lowers` make states of steps by their types.

    `ids` are the steps so far, of all levels, and `needs` those that each waits for; `mentions` are the steps that others take data from. `previous` is
    what ``$prev`` means, `inputs` are those of the step whose own members are compiled: these see them as variables.
    `hidden` are the variables of the loops around: within these, no other variable of such a name is seen.
    """

    found: Findings
    kinds: Mapping[str, KindInfo]
    templates: Mapping[str, JSONObject]
    lowers: Mapping[str, Lower]
    ids: dict[str, Place] = field(default_factory=dict)
    needs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    mentions: list[tuple[str, Place]] = field(default_factory=list)
    previous: str | None = None
    inputs: Template | None = None
    hidden: frozenset[str] = frozenset()

    def after(self, previous: str | None) -> Compiling:
        """The same for a step that comes after another one; None keeps what came before."""
        return self if previous is None else replace(self, previous=previous)

    def with_inputs(self, step: Step) -> Compiling:
        """The same for the members of a step that see its inputs; not for the steps within it."""
        given, inputs = inputs_of(self, step)
        return replace(self, inputs=inputs) if given else self

    def _seeing(self, made: Template) -> Template:
        return made if self.inputs is None else Seeing(self.inputs, made)

    def condition(self, value: JSONValue, place: Place) -> Template | None:
        """A compiled condition; None when it does not compile."""
        self._check_secrets(value, place)
        try:
            return self._seeing(compile_condition(value, previous=self.previous))
        except ExpressionSyntaxError as error:
            self.found.error(place, error.message, INVALID_EXPRESSION, hint=error.remedy or "")
            return None

    def template(self, value: JSONValue, place: Place, *, nulls: Places = nowhere) -> Template:
        """A compiled value; what leads nowhere is null at the places of `nulls`."""
        self._check_secrets(value, place)
        try:
            return self._seeing(compile_braces(value, previous=self.previous, nulls=nulls))
        except ExpressionError as error:
            self.found.error((*place, *place_of(error)), error.message, INVALID_EXPRESSION, hint=error.remedy or "")
            return Constant(None)

    def _check_secrets(self, value: JSONValue, place: Place) -> None:
        if not self.found.failed:  # what is wrong with a secret that a task is to have was told
            warn_unread(self.found, value, place)

    def milliseconds(self, value: JSONValue, place: Place, *, unit: str, limit: bool = False) -> int | None:
        """A duration, as a `limit` more than nothing; None when it is none."""
        try:
            return (read_limit if limit and not self.found.kept else read_milliseconds)(value, unit=unit)
        except ValueError as error:
            self.found.error(place, f"'{place[-1]}' {error}; {shown(value)} stands there.", INVALID_VALUE, hint="Write it as 500ms, 30s, 5m or 1h30m.")
            return None

    def check_mentions(self) -> None:
        """Say which steps are named that are not there; when all have been read."""
        ended = Ended(self.ids, self.needs) if self.mentions else None
        for step, place in self.mentions:
            if step not in self.ids:
                self.found.error(place, f"There is no step '{step}' to take data from.", MISSING_DEPENDENCY)
            elif ended is not None and not ended.before(step, place):
                said = f"The data mapper takes data from '{step}', which need not have ended then: the step does not depend on it."
                self.found.refuse(place[:-1], said, MISSING_DEPENDENCY, hint=f"Add '{step}' to the step's 'dependsOn'.")


def inputs_of(compiling: Compiling, step: Step, nulls: Places = nowhere, without: Collection[str] = ()) -> tuple[JSONObject, Template]:
    """What a step is given, as written and compiled, but for some; what leads nowhere is null at the places of `nulls`."""
    every: JSONObject = {**step.given.get("inputs", {}), **step.given.get("input", {})}
    given = {name: value for name, value in every.items() if name not in without}
    return given, compiling.template(given, step.at("input" if "input" in step.given else "inputs"), nulls=nulls)


def steps_repeated(step: Step, given: JSONObject, place: Place) -> tuple[JSONValue, Place] | None:
    """The steps that a loop (`given`, at `place`) repeats, and where they are; None when there are none, and the step is repeated itself."""
    own = (step.given, step.place) if step.type != "branch" else ({}, step.place)
    found = [(holder["children"], (*at, "children")) for holder, at in ((given, place), own) if "children" in holder]
    first = next((one for one in found if is_there(one[0])), None)
    return found[0] if first is None and found and step.type in ("loop", "group") else first


Lower = Callable[[Compiling, Step], State]
