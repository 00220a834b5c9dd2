"""Secrets within one attempt: resolved just before it runs, hidden in everything that comes out of it.

`Guarded` stands around every handler. What an attempt has been given of secrets is its exposure, which a context variable carries to the
client, the worker processes and what goes on behind the answer (functions invoked as events).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import replace

from flowrunner.errors import FlowRunnerError, InvalidSecret, NotFound
from flowrunner.jsonvalue import JSONValue, dumps, loads
from flowrunner.lang.dynamic import Place, SecretReference, filled, references_in, whole_reference
from flowrunner.ports.secrets import SecretSource
from flowrunner.ports.tasks import AttemptLost, Completed, Failed, Level, Say, Succeeded, TaskCall, TaskHandler, TaskOutcome, say
from flowrunner.vault.scrub import Scrubber, leaves, scrubber_of

SECRET_NOT_FOUND = "FlowRunner.SecretNotFound"  # noqa: S105 - names of errors
SECRET_UNAVAILABLE = "FlowRunner.SecretUnavailable"  # noqa: S105
SECRET_NOT_ALLOWED = "FlowRunner.SecretNotAllowed"  # noqa: S105
BESIDE_CHARACTERS = 256 * 1024  # of output, from which on hiding is done beside the event loop
BESIDE_SECRETS = 8 * 1024  # of secrets' characters, as above: to spell them out takes its time
_NOTHING = Scrubber(())


class Exposure:
    """What an attempt has seen of secrets."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: frozenset[str] = frozenset()

    def add(self, values: Iterable[JSONValue]) -> None:
        """Hide these from now on."""
        self.values |= leaves(values)

    def scrubber(self) -> Scrubber:
        """What hides them."""
        return scrubber_of(self.values) if self.values else _NOTHING

    def is_heavy(self, *texts: str | None) -> bool:
        """Whether hiding in these texts takes longer than the event loop should be held up."""
        return sum(len(text) for text in texts if text) > BESIDE_CHARACTERS or sum(map(len, self.values)) > BESIDE_SECRETS


_current: ContextVar[Exposure | None] = ContextVar("exposure", default=None)


def expose(values: Iterable[JSONValue]) -> None:
    """The attempt that runs here has been given these: they are hidden in what comes out of it."""
    exposure = _current.get()
    if exposure is not None:
        exposure.add(values)


def exposed() -> frozenset[str]:
    """What the attempt that runs here has been given."""
    exposure = _current.get()
    return frozenset() if exposure is None else exposure.values


def hidden(text: str) -> str:
    """`text` without the secrets of the attempt that runs here; for texts that are cut or logged."""
    values = exposed()
    return scrubber_of(values).json(text) if values else text


def hidden_end(text: str) -> str:
    """A text that was cut where nobody could hide secrets before, with those hidden, and the beginning of one at its end."""
    values = exposed()
    return scrubber_of(values).beginning(hidden(text)) if values else text


class Guarded(TaskHandler):
    """A handler whose calls get their secrets, and whose outcomes and errors show none."""

    def __init__(self, handler: TaskHandler, source: SecretSource) -> None:
        self.handler = handler
        self._source = source

    def idempotent(self, call: TaskCall) -> bool:
        """As the handler."""
        return self.handler.idempotent(call)

    def places(self) -> int:
        """As many as the handler has."""
        return self.handler.places()

    def keeps_parameters(self, call: TaskCall) -> bool:
        """As the handler."""
        return self.handler.keeps_parameters(call)

    async def run(self, call: TaskCall) -> TaskOutcome:
        """The handler's outcome; ``FlowRunner.Secret...`` when a secret could not be had."""
        exposure = Exposure()
        token, said = _current.set(exposure), say.set(_discreet(exposure, say.get()))
        try:
            try:
                given = await self._resolved(call, exposure) if call.secrets else call
                outcome = given if isinstance(given, Failed) else await self.handler.run(given)
            except AttemptLost:
                raise
            except Exception as error:
                if not exposure.values:
                    raise
                text = f"{type(error).__name__}: {error}"
                raise RuntimeError(exposure.scrubber().text(text)) from None  # its traceback would show them
            if not exposure.values:
                return outcome
            if exposure.is_heavy(*_texts(outcome)):
                return await asyncio.to_thread(_scrubbed, exposure, outcome)
            return _scrubbed(exposure, outcome)
        finally:
            say.reset(said)
            _current.reset(token)

    async def _resolved(self, call: TaskCall, exposure: Exposure) -> TaskCall | Failed:
        """The call with values in place of references; they are texts within texts, and a field that is all of a text keeps its type."""
        if self.handler.keeps_parameters(call):
            said = ", ".join(sorted({reference.name for _, text in call.secrets for reference in references_in(text)}))
            text = f"What {call.resource.arn} is given is kept in a history, so it gets no secret ({said}). Name the secret where it is used."
            return Failed(SECRET_NOT_ALLOWED, text, "start")
        found: dict[SecretReference, JSONValue] = {}
        parameters = loads(call.parameters)
        names = names_in(parameters) if call.resource.service == "flowrunner" else {}
        for reference in {reference: None for _, text in call.secrets for reference in references_in(text)}:
            try:
                revealed = await self._source.reveal(call.account, names.get(reference.name, reference.name), reference.path)
            except (NotFound, InvalidSecret) as error:
                return Failed(SECRET_NOT_FOUND, error.message, "start")
            except FlowRunnerError as error:
                return Failed(SECRET_UNAVAILABLE, f"The secret {reference.name!r} cannot be had now: {error}", "start")
            found[reference] = revealed.value
            exposure.add(revealed.hidden)
        for place, text in call.secrets:
            whole = whole_reference(text)
            keeps_type = whole is not None and whole.path is not None
            value = found[whole] if whole is not None and keeps_type else filled(text, lambda reference: _as_text(found[reference]))
            parameters = _put(parameters, place, text, value)
        return replace(call, parameters=dumps(parameters))


def _discreet(exposure: Exposure, heard: Say | None) -> Say | None:
    """What takes the lines of the attempt's log: they show no secrets either."""
    if heard is None:
        return None

    def tell(level: Level, message: str, data: str | None) -> None:
        hide = exposure.scrubber()
        heard(level, hide.text(message), None if data is None else hide.json(data))

    return tell


def names_in(parameters: JSONValue) -> Mapping[str, str]:
    """What names of secrets mean within one task of ours: those of the run's environment stand for others of the account."""
    named = parameters.get("secrets") if isinstance(parameters, dict) else None
    return {name: other for name, other in named.items() if isinstance(other, str)} if isinstance(named, dict) else {}


def _put(parameters: JSONValue, place: Place, text: str, value: JSONValue) -> JSONValue:
    """Put `value` where the definition's text stands; what stands there otherwise is data, and stays."""
    if not place:
        return value if parameters == text else parameters
    holder = parameters
    try:
        for key in place[:-1]:
            holder = holder[key]
        if holder[place[-1]] == text:
            holder[place[-1]] = value
    except (KeyError, IndexError, TypeError):
        pass
    return parameters


def _as_text(value: JSONValue) -> str:
    return value if isinstance(value, str) else dumps(value)


def _texts(outcome: TaskOutcome) -> tuple[str | None, ...]:
    match outcome:
        case Succeeded(output):
            return (output,)
        case Completed(submitted, output):
            return (submitted, output)
        case Failed(error, cause):
            return (error, cause)


def _scrubbed(exposure: Exposure, outcome: TaskOutcome) -> TaskOutcome:
    hide = exposure.scrubber()
    match outcome:
        case Succeeded(output):
            return Succeeded(hide.json(output))
        case Completed(submitted, output):
            return Completed(hide.json(submitted), hide.json(output))
        case Failed(error, cause, phase):
            return Failed(None if error is None else hide.text(error), None if cause is None else hide.json(cause), phase)
