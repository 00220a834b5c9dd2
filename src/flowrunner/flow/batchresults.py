"""What comes of batches: their items, the results in order, what was lost, and what that means for the node."""

from __future__ import annotations

from dataclasses import dataclass

from flowrunner.core.dataflow import too_large
from flowrunner.core.program import Template
from flowrunner.errors import ExpressionError
from flowrunner.flow.posting import GIVEN
from flowrunner.flow.templates import SHARED, SUCCESS, AfterFailure, Kept, accumulated, joined, result_of, states_of
from flowrunner.jsonvalue import JSONObject, JSONValue, Payload
from flowrunner.lang.environment import Environment
from flowrunner.limits import KIB
from flowrunner.reading.wording import shown

RESULTS = "batch_results"
TOTAL = "total_count"
TOO_LARGE = "too_large"
KEPT_BYTES = 128 * KIB  # of failed items, and as much of failed batches, where not all of them can go on
WHY_CHARACTERS = 200  # of why each of those failed
COUNTED = "batch.total_count"  # the variable with the count that a batch node has put into the input: one that the author states there stays


@dataclass(frozen=True, slots=True)
class Batches:
    """The items in lists of `size`: those of the parameter ``items``, or of the input."""

    params: Template
    size: int

    def evaluate(self, environment: Environment) -> JSONValue:
        """The list of batches."""
        items = self.items(environment)
        return [items[first : first + self.size] for first in range(0, len(items), self.size)]

    def items(self, environment: Environment) -> list[JSONValue]:
        """All items; raises ExpressionError when there is no list of them."""
        params: JSONObject = self.params.evaluate(environment)
        items = params["items"] if "items" in params else accumulated(states_of(environment)["input"]).get("items")
        if not isinstance(items, list):
            raise ExpressionError(f"'items' must be a list, as the parameter or in the input; {shown(items)} stands there.")
        return items


@dataclass(frozen=True, slots=True)
class Lost:
    """What is left of a batch that failed for good."""

    timed_out: bool

    def evaluate(self, environment: Environment) -> JSONValue:
        """The error."""
        failed = states_of(environment)["errorOutput"]
        return {"lost": {"error": failed.get("Error", ""), "cause": failed.get("Cause"), "timed_out": self.timed_out}}


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of the node: what its batches have come to. With `hands_on` it gives ``shared`` as they have left it, with `gives_input` the node's input."""

    batches: Batches
    hands_on: bool = False
    gives_input: bool = False

    def evaluate(self, environment: Environment) -> JSONValue:
        """``{"output", "action", "lost", "count"}``, and ``shared``; ``too_large``, its size, with a short output where it cannot go on whole."""
        whole, most = self._whole(environment), environment.payload_bytes
        if not most:
            return whole
        given = accumulated(states_of(environment)["input"])
        size = max(Payload(value=whole).size(), Payload(value={**given, **whole["output"]}).size())
        return whole if size <= most else {**{name: whole[name] for name in ("action", "lost", "count")}, "output": _short(whole["output"]), TOO_LARGE: size}

    def _whole(self, environment: Environment) -> JSONObject:
        states = states_of(environment)
        ended: list[JSONObject | None] = states["result"]
        batches: list[list[JSONValue]] = self.batches.evaluate(environment)
        pairs = list(zip(batches, ended, strict=True))
        good = [(batch, end["output"]) for batch, end in pairs if end is not None and "lost" not in end]
        lost = [(place, batch, end["lost"]) for place, (batch, end) in enumerate(pairs) if end is not None and "lost" in end]
        skipped = [item for batch, end in pairs if end is None for item in batch]
        total, succeeded = sum(map(len, batches)), sum(len(batch) for batch, _ in good)
        output: JSONObject = {
            RESULTS: [result for _, returned in good for result in _flat(returned)],
            "failed_items": [_failed(item, why) for _, batch, why in lost for item in batch],
            "failed_batches": [{"batch_index": place, "items": len(batch), "error": why["error"], "cause": why["cause"]} for place, batch, why in lost],
            "success_count": succeeded,
            "failed_count": total - succeeded - len(skipped),
            "batch_size": self.batches.size,
            "success_rate": _percent(succeeded, total),
            TOTAL: total,
        }
        if skipped:
            output["skipped_items"] = skipped
        given = {GIVEN: accumulated(states["input"])} if self.gives_input else {}
        shared = {SHARED: environment.variables[SHARED]} if self.hands_on and SHARED in environment.variables else {}
        return {"output": output, "action": SUCCESS, "lost": [why for _, _, why in (*lost[:1], *lost[1:][-1:])], "count": len(batches), **shared, **given}


def _short(output: JSONObject) -> JSONObject:
    """The numbers of a summary, and as much of its lists as has room; ``left_out`` tells how much of each has not."""
    kept: JSONObject = {name: value for name, value in output.items() if not isinstance(value, list)}
    left: JSONObject = {}
    for name, every in output.items():
        if not isinstance(every, list):
            continue
        kept[name], room = [], KEPT_BYTES if name.startswith("failed_") else 0
        for one in every:
            part = _shortened(one) if room else one
            room -= Payload(value=part).size()
            if room < 0:
                break
            kept[name].append(part)
        if len(kept[name]) < len(every):
            left[name] = len(every) - len(kept[name])
    return {**kept, "left_out": left}


def _shortened(failed: JSONObject) -> JSONObject:
    """What failed, with the beginning of why."""
    return {**failed, **{name: failed[name][:WHY_CHARACTERS] for name in ("error", "cause") if isinstance(failed.get(name), str)}}


def _percent(part: int, whole: int) -> float:
    """0 to 100; nothing to do is a success."""
    return round(100 * part / whole, 4) if whole else 100.0


def _flat(returned: JSONValue) -> list[JSONValue]:
    """What a batch gave for its items: a list of that, alone or as ``batch_results`` of an object; anything else is one result."""
    if isinstance(returned, dict) and isinstance(returned.get(RESULTS), list):
        returned = returned[RESULTS]
    return returned if isinstance(returned, list) else [returned]


def _failed(item: JSONValue, why: JSONObject) -> JSONValue:
    told = why["cause"] or why["error"]
    return {**item, "error": told} if isinstance(item, dict) else {"item": item, "error": told}


@dataclass(frozen=True, slots=True)
class BatchAction:
    """Whether all batches are lost, or one where that ends the rest: ``timeout`` when each of them timed out, else ``error``.

    ``too_large`` when what the others gave cannot go on.
    """

    summary: Summary
    fails_fast: bool = False

    def evaluate(self, environment: Environment) -> JSONValue:
        """The name of an edge."""
        ended: list[JSONObject | None] = states_of(environment)["result"]
        lost = [end["lost"] for end in ended if end is not None and "lost" in end]
        if not lost or (len(lost) < len(ended) and not self.fails_fast):
            summary: JSONObject = self.summary.evaluate(environment)
            return TOO_LARGE if TOO_LARGE in summary else SUCCESS
        return "timeout" if all(why["timed_out"] for why in lost) else "error"


@dataclass(frozen=True, slots=True)
class WhyLost:
    """Why all batches failed, in a sentence."""

    def evaluate(self, environment: Environment) -> JSONValue:
        """How many there were, and what happened to the last one."""
        ended: JSONObject = states_of(environment)["input"]
        last = ended["lost"][-1]
        return f"All {ended['count']} batches failed; the last: {last['cause'] or last['error']}"


@dataclass(frozen=True, slots=True)
class TooLarge:
    """Why the node fails although not all batches did."""

    name: str

    def evaluate(self, environment: Environment) -> JSONValue:
        """How large its result is, and how large it may be."""
        ended: JSONObject = states_of(environment)["input"]
        return f"In '{self.name}': {too_large(ended[TOO_LARGE], environment.payload_bytes)}"


@dataclass(frozen=True, slots=True)
class FirstLost:
    """The `member` of what happened to the first batch that is lost: ``error`` or ``cause``."""

    member: str

    def evaluate(self, environment: Environment) -> JSONValue:
        """A text, null for a cause that there is not."""
        lost: list[JSONObject] = states_of(environment)["input"]["lost"]
        return lost[0][self.member]


@dataclass(frozen=True, slots=True)
class IsLost:
    """Whether the batch that has just ended is lost."""

    def evaluate(self, environment: Environment) -> JSONValue:
        """True or false."""
        return "lost" in states_of(environment)["result"]


@dataclass(frozen=True, slots=True)
class Told:
    """What a failed node tells: the summary of its batches."""

    def evaluate(self, environment: Environment) -> JSONValue:
        """The members."""
        summary: JSONObject = states_of(environment)["input"]
        return summary["output"]


# --- what later nodes see


def _is_stated(environment: Environment) -> bool:
    """Whether the input has a count of items that no batch node has put there."""
    given, known = accumulated(states_of(environment)["input"]), environment.variables
    return TOTAL in given and (COUNTED not in known or known[COUNTED] != given[TOTAL])


def _joining(environment: Environment, returned: JSONValue) -> JSONValue:
    """What joins the input of what the node has returned."""
    if isinstance(returned, dict) and TOTAL in returned and _is_stated(environment):
        return {name: value for name, value in returned.items() if name != TOTAL}
    return returned


def _counting(environment: Environment, returned: JSONValue) -> JSONObject:
    return {COUNTED: returned[TOTAL]} if isinstance(returned, dict) and TOTAL in returned and not _is_stated(environment) else {}


@dataclass(frozen=True, slots=True)
class BatchAccumulated:
    """The output of a batch node's state: the input of the next one."""

    name: str

    def evaluate(self, environment: Environment) -> JSONValue:
        """The input with the summary; a count of items that the author states there stays."""
        states = states_of(environment)
        return joined(self.name, accumulated(states["input"]), _joining(environment, result_of(states)["output"]))


@dataclass(frozen=True, slots=True)
class BatchKept:
    """What a batch node's state assigns."""

    name: str

    def evaluate(self, environment: Environment) -> JSONValue:
        """As any node's, and the count that it puts into the input."""
        kept: JSONObject = Kept(self.name).evaluate(environment)
        return {**kept, **_counting(environment, result_of(states_of(environment))["output"])}


@dataclass(frozen=True, slots=True)
class AfterLost:
    """The input of the node that the error or timeout edge of a batch node leads to."""

    name: str

    def evaluate(self, environment: Environment) -> JSONValue:
        """The input with ``error``, and with the summary as long as there is room for it."""
        given, most = accumulated(states_of(environment)["input"]), environment.payload_bytes
        after: JSONObject = AfterFailure(self.name).evaluate(environment)
        if _is_stated(environment):
            after[TOTAL] = given[TOTAL]
        return {**given, "error": after["error"]} if most and Payload(value=after).size() > most else after


@dataclass(frozen=True, slots=True)
class LostKept:
    """What a batch node assigns that has failed."""

    def evaluate(self, environment: Environment) -> JSONValue:
        """The count that it puts into the input."""
        return _counting(environment, states_of(environment)["errorOutput"].get("Detail"))
