"""Members of a step that do nothing there, or that say two things at once: they are told, never silently left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds.info import KindInfo
from flowrunner.reading.findings import Findings, Place
from flowrunner.reading.wording import meant
from flowrunner.workflow.compiling import Compiling, Step, is_there
from flowrunner.workflow.fields import DEFAULT, EXTENSION, OLDER_LOOP, UNKNOWN_FIELD, kind_of

IGNORED = "IGNORED_FIELD"
CONTRADICTION = "CONTRADICTING_FIELDS"
NEVER_RUNS = "NEVER_RUNS"
RETRIES = ("retry", "retryCount", "retryDelay")
LOOP_DETAILS = ("loopVar", "maxIterations", "parallel", "maxConcurrency")
EXTENTS = {"forEach": ("source", "items"), "while": ("condition",), "count": ("count",)}
# Members of the config of kinds that arrange steps, beside the kind's parameters.
MORE: Mapping[str, tuple[str, ...]] = {
    "merge": (), "delay": (), "group": (), "branch": ("condition", "children", "elseChildren"), "wait": ("until", "maxAttempts", "unit", "jitter"),
}  # fmt: skip
MOVABLE = {"merge": ("mode",), "group": ("children",), "branch": ("branches", "condition", "children", "elseChildren")}  # in the step or in its config
WAITS = {"duration": "duration", "until_time": "until", "until": "until", "condition": "condition"}  # a member of `wait` to its `type`
REMEDIES = {
    "condition": "Write 'when' for a step that runs only where it holds.",
    "delay": "Let the step depend on one of the kind 'delay'.",
    "actionVersion": "It belongs to 'actionTemplateId'.",
    "mode": "It belongs to a step of the kind 'merge'.",
    **dict.fromkeys(LOOP_DETAILS, "It belongs to a loop: write 'loop'."),
    **dict.fromkeys(RETRIES, "Take it out: such a step does nothing that could go better the next time."),
}


def check_step(compiling: Compiling, step: Step) -> None:
    """Say what a step as it is written has in vain. Steps whose kind is not known are left to who says that."""
    info = compiling.kinds.get(step.type)
    if info is None:
        return
    checked = _Checked(compiling.found, step, info)
    checked.config()
    checked.within()
    checked.loop()
    checked.failure()
    checked.pauses()
    if "actionTemplateId" not in step.given:
        checked.unused(("actionVersion",))
    if info.name != "merge":
        checked.unused(("mode",))
    if info.name == "branch":
        checked.branches()
    else:
        checked.unused(("condition",))


def is_own(info: KindInfo, place: Place) -> bool:
    """Whether a member of a config that the kind's parameters do not have is sound all the same: the author's own, or known in workflows alone."""
    return str(place[-1]).startswith(EXTENSION) or (len(place) == 1 and place[0] in MORE.get(info.name, ()))


def warn_unused(found: Findings, given: JSONObject, place: Place, names: Iterable[str], *, why: str, hint: str) -> None:
    """Say which of these members of an object do nothing, and why."""
    for name in names:
        if name in given:
            found.warning((*place, name), f"'{name}' has no effect {why}.", IGNORED, hint=hint)


@dataclass(frozen=True, slots=True)
class _Checked:
    """One step; each method looks at members that belong together."""

    found: Findings
    step: Step
    info: KindInfo

    def unused(self, names: Iterable[str], hint: str = "") -> None:
        """Say which of these members of the step do nothing."""
        for name in names:
            warn_unused(self.found, self.step.given, self.step.place, (name,), why=f"on a step of the kind '{self.info.name}'", hint=hint or REMEDIES[name])

    def ignored(self, place: Place, why: str, hint: str = "") -> None:
        """Say that one member does nothing, and why."""
        self.found.warning(place, f"'{place[-1]}' has no effect {why}.", IGNORED, hint=hint)

    def contradicts(self, place: Place, other: str, why: str) -> None:
        """Say that a member and another one cannot both count."""
        self.found.refuse(place, f"'{place[-1]}' and '{other}' contradict each other: {why}.", CONTRADICTION)

    def never(self, place: Place, why: str) -> None:
        """Say that steps, or the step itself, would never run."""
        self.found.refuse(place, f"'{place[-1]}' would never run: {why}.", NEVER_RUNS)

    # --- the members that belong together

    def config(self) -> None:
        """The config of kinds that the reader makes states of."""
        step, kind, config = self.step, self.info.name, self.step.config
        for name in MOVABLE.get(kind, ()):
            if name in step.given and config.get(name) is not None:
                self.contradicts(step.at("config", name), name, "the same member of the step counts")
        if kind in MORE:
            self._known(config, step.at("config"))

    def _known(self, given: JSONObject, place: Place) -> None:
        known = (*self.info.parameters["properties"], *MORE[self.info.name])
        for name in given:
            if name not in known and not is_own(self.info, (name,)):
                self.found.refuse((*place, name), f"'{name}' is not known here.", UNKNOWN_FIELD, hint=meant(name, known))

    def within(self) -> None:
        """Steps within this one, which run in a group, in a branch or in a loop."""
        step, kind, given = self.step, self.info.name, self.step.given
        inner, own = is_there(self._loop()[0].get("children")), is_there(given.get("children"))
        if inner and own:
            self.never(step.at("children"), "the loop has children of its own")
        elif own and not (kind in ("group", "branch", "loop") or step.loops):
            self.never(step.at("children"), f"a step of the kind '{kind}' has none")
        if (inner and kind not in ("group", "loop")) or (step.loops and own and kind not in ("group", "branch", "loop")):
            self.never(step.at("type"), f"the loop repeats its children, not the step of the kind '{kind}'")
        for name in ("elseChildren", "branches"):
            if is_there(given.get(name)) and kind != "branch":
                self.never(step.at(name), f"a step of the kind '{kind}' has none")

    def branches(self) -> None:
        """A branch has `branches` or a `condition`, and at most one branch that is taken when no other is."""
        value, place = self.step.member("branches")
        if not isinstance(value, list) or not value:
            return
        for name in ("condition", "children", "elseChildren"):
            other, at = self.step.member(name)
            if is_there(other) and not (name == "children" and self.step.loops):
                self.contradicts(at, "branches", "only the branches count")
        conditions = [part.get("condition") for part in value if isinstance(part, dict)]
        defaults = [index for index, wanted in enumerate(conditions) if wanted in (None, DEFAULT)]
        for index in defaults[1:]:
            where: Place = (*place, index) if conditions[index] is None else (*place, index, "condition")
            said = f"Branch {index + 1} and branch {defaults[0] + 1} are both taken when no other is: only one of them would run."
            self.found.refuse(where, said, CONTRADICTION)

    def _loop(self) -> tuple[JSONObject, Place]:
        """The object that says how a loop goes, and its place; empty for the older spelling and for what is no loop."""
        loop = self.step.given.get("loop")
        if isinstance(loop, dict):
            return loop, self.step.at("loop")
        return (self.step.config, self.step.at("config")) if self.info.name == "loop" and not self.step.loops else ({}, self.step.at("config"))

    def loop(self) -> None:
        """What a loop goes over stands in one place."""
        step, kind, given = self.step, self.info.name, self.step.given
        older = [name for name in ("loopOver", "loopCondition") if name in given]
        if "loop" in given:
            for name in older:
                self.contradicts(step.at(name), "loop", "only the loop counts")
            self.unused(LOOP_DETAILS, "Write it into 'loop'.")
        elif len(older) == 2:
            self.contradicts(step.at(older[1]), older[0], "a loop goes over a list, or on while a condition holds")
        elif not older:
            self.unused(LOOP_DETAILS, "Write it into 'config'." if kind == "loop" else "")
        if kind == "loop" and step.loops and step.config:
            self.contradicts(step.at("config"), "loop" if "loop" in given else older[0], "only that counts for the loop")
        holder, place = self._loop()
        if holder:
            self._extent(holder, {name: (*place, name) for name in holder})
        elif len(older) == 1:
            own = {name: other for other, name in OLDER_LOOP.items() if other in given}
            self._extent({name: given[other] for name, other in own.items()}, {name: step.at(other) for name, other in own.items()})

    def _extent(self, given: JSONObject, places: Mapping[str, Place]) -> None:
        """Members of a loop that its kind does not look at."""
        kind = kind_of(given)
        if kind not in EXTENTS:
            return
        if given.get("source") is not None and given.get("items") is not None:
            self.contradicts(places["items"], "source", "both are the list that the loop goes over")
        for other in (name for wanted, names in EXTENTS.items() if wanted != kind for name in names if given.get(name) is not None):
            if given.get("type"):
                self.ignored(places[other], f"on a loop of the type {kind}")
            else:
                used = next(name for name in EXTENTS[str(kind)] if given.get(name) is not None)
                self.contradicts(places[other], used, "a loop goes over one thing; 'type' says which")
        if kind == "while" and given.get("parallel"):
            self.ignored(places["parallel"], "on a loop of the type while", "Its iterations run one after the other.")
        elif given.get("concurrency") is not None and not given.get("parallel"):
            self.ignored(places["concurrency"], "without 'parallel'", "Write parallel: true.")

    def failure(self) -> None:
        """What happens when the step fails is said once."""
        step, given = self.step, self.step.given
        wanted, goes_on = given.get("onError"), given.get("continueOnFail")
        if (wanted == "abort" and goes_on) or (wanted == "continue" and goes_on is False):
            self.contradicts(step.at("continueOnFail"), "onError", f"'onError' is {wanted}")
        if self._only_waits() or self.info.name == "merge":
            self.unused(RETRIES)
            return
        retry: JSONValue = given.get("retry")
        retry = retry if isinstance(retry, dict) else {}
        if "retry" in given and "retryCount" in given:
            self.contradicts(step.at("retryCount"), "retry", "both say how often the step is tried again")
        if "retryDelay" in given and retry.get("interval") is not None:
            self.contradicts(step.at("retryDelay"), "interval", "both say how long a retry waits")
        elif "retryDelay" in given and wanted != "retry" and not {"retry", "retryCount"} & given.keys():
            self.ignored(step.at("retryDelay"), "without retries", "Write 'retryCount', too.")
        if retry.get("backoffRate") is not None and retry.get("backoff", "exponential") not in (None, "exponential"):
            self.ignored(step.at("retry", "backoffRate"), f"with the backoff {retry['backoff']}", "Write backoff: exponential.")

    def _only_waits(self) -> bool:
        """Whether the step waits for a time alone."""
        return self.info.name == "delay" or (
            self.info.name == "wait" and self.step.config.get("condition") is None and self.step.config.get("type") != "condition"
        )

    def pauses(self) -> None:
        """How long, or for what, a step waits."""
        step, config, given = self.step, self.step.config, self.step.given
        pause: JSONObject = given.get("delay", {})
        if not self._only_waits():
            self.unused(("delay",))
        elif "delay" in given:
            self._known(pause, step.at("delay"))
            for name in pause:
                if config.get(name) is not None:
                    self.contradicts(step.at("delay", name), f"config.{name}", "both say how the step waits")
        if self.info.name != "wait":
            return
        there = [name for name in WAITS if config.get(name) is not None]
        if len(there) > 1:
            self.contradicts(step.at("config", there[1]), there[0], "a step waits for one thing")
        elif there and config.get("type") in WAITS and config["type"] != WAITS[there[0]]:
            self.contradicts(step.at("config", there[0]), "type", f"'type' is {config['type']}")
