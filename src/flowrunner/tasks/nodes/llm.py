"""``llm``: one question to a language model over HTTP; `Models` is what asks, for ``agent`` too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import jsonschema_rs

from flowrunner.errors import FlowRunnerError, InvalidDocument, LimitExceeded
from flowrunner.jsonvalue import JSONObject, JSONValue, dumps, loads
from flowrunner.kinds import BUILT_IN
from flowrunner.ports.secrets import SecretSource
from flowrunner.ports.tasks import log
from flowrunner.tasks.client import GuardedClient, Response, Unreachable
from flowrunner.tasks.egress import EgressRefused
from flowrunner.tasks.nodes.credentials import with_secret
from flowrunner.tasks.nodes.kind import NodeCall, NodeFailed, NodeKind, NodeResult
from flowrunner.tasks.nodes.modelapi import APIS, Api, Question
from flowrunner.tasks.nodes.modelprompt import conversation, tools_of
from flowrunner.tasks.nodes.reach import EGRESS_REFUSED
from flowrunner.tasks.nodes.reading import Params, bad, choice, flag, given, mapping, number, optional_text, seconds, text, whole
from flowrunner.tasks.secrecy import expose, hidden

REFUSED = "FlowRunner.ModelRefused"
RATE_LIMITED = "FlowRunner.ModelRateLimited"
UNAVAILABLE = "FlowRunner.ModelUnavailable"
MALFORMED = "FlowRunner.ModelOutput"
UNREACHABLE = "States.Http.Socket"
SECONDS = 120.0
TEMPERATURE = 0.7
_FENCE = re.compile(r"\s*```(?:json)?\s*\n(.*)\n\s*```\s*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Whom to ask."""

    name: str
    api: Api
    base_url: str
    key: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    seconds: float


class Models:
    """Asks language models."""

    def __init__(self, *, client: GuardedClient, secrets: SecretSource) -> None:
        self._client = client
        self._secrets = secrets

    async def params(self, call: NodeCall) -> JSONObject:
        """The parameters, over the secret that they name. Raises NodeFailed."""
        return await with_secret(call, self._secrets)

    async def ask(self, provider: Provider, question: Question) -> JSONObject:
        """The answer in its one form. Raises NodeFailed, TimeoutError."""
        headers = {"Content-Type": "application/json", "Accept": "application/json", **provider.api.headers(provider.key), **provider.headers}
        body = dumps(provider.api.request(question)).encode()
        try:
            answer = await self._client.request("POST", provider.api.path(provider.base_url), headers=headers, body=body, seconds=provider.seconds)
        except EgressRefused as error:
            raise NodeFailed(str(error), error=EGRESS_REFUSED) from None
        except (Unreachable, LimitExceeded) as error:
            raise NodeFailed(error.message, error=UNREACHABLE) from None
        except FlowRunnerError as error:
            raise NodeFailed(str(error), error=REFUSED) from None
        if answer.status != 200:
            raise _refusal(provider, answer)
        value, _ = answer.value()
        try:
            found = provider.api.answer(value, question)
        except (KeyError, IndexError, TypeError, AttributeError):
            raise NodeFailed(f"The answer of {provider.base_url} is not one of a model.", error=MALFORMED) from None
        log("info", f"{provider.name} {found['model'] or question.model}: {found['finish_reason']}", dumps({"usage": found["usage"]}))
        return found


class LlmKind(NodeKind):
    """Asks once."""

    info = BUILT_IN["llm"]

    def __init__(self, models: Models) -> None:
        self._models = models

    async def run(self, call: NodeCall) -> NodeResult:
        """The answer; with ``structured_output`` when it is to be JSON."""
        params = await self._models.params(call)
        question = question_of(params, conversation(params, call.input))
        answer = await self._models.ask(provider_of(params), question)
        wants_json = question.json or flag(params, "parse_structured", default=False)
        structured = structured_output(answer["content"], question.schema) if wants_json and not answer["has_tool_calls"] else None
        return NodeResult({**answer, "structured_output": structured})


def provider_of(params: Params) -> Provider:
    """Whom the parameters want to be asked. Raises NodeFailed."""
    name = choice(params, "provider", among={one: one for one in APIS}, default="openai")
    api, options = APIS[name], mapping(params, "options")
    base_url = optional_text(params, "base_url") or optional_text(options, "base_url")
    if base_url is None and name == "generic":
        raise bad("The parameter 'base_url' is missing: the provider generic has none of its own.")
    key = text(params, "api_key", "key", default="")
    if key:
        expose([key])
    if not key.isascii() or not key.isprintable():
        raise bad("The parameter 'api_key' has a sign that no key has.")
    headers = {one: value for one, value in mapping(params, "headers").items() if isinstance(value, str)}
    bound = seconds(params, "timeout", default=SECONDS)
    return Provider(name=name, api=api, base_url=(base_url or api.base_url).rstrip("/"), key=key, headers=headers, seconds=bound)


def question_of(params: Params, messages: list[JSONObject]) -> Question:
    """What the parameters want to be asked. Raises NodeFailed."""
    stop = given(params, "stop")
    stops = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(stops, list) or not all(isinstance(one, str) for one in stops):
        raise bad("The parameter 'stop' must be a text or a list of texts.")
    wants_json, schema = _format(params)
    unset = "temperature" in params and params["temperature"] is None  # for models that take none
    return Question(
        model=text(params, "model"),
        messages=messages,
        temperature=None if unset else number(params, "temperature", default=TEMPERATURE, low=0, high=2),
        max_tokens=whole(params, "max_tokens", default=0, low=0, high=10_000_000) or None,
        stop=stops,
        tools=tools_of(params),
        tool_choice=params.get("tool_choice"),
        json=wants_json,
        schema=schema,
        more={name: value for name, value in mapping(params, "options").items() if name != "base_url"},
    )


def _format(params: Params) -> tuple[bool, JSONObject | None]:
    """Whether the answer is to be JSON, and of which schema."""
    wanted = given(params, "response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else wanted
    if kind in (None, "text"):
        return False, None
    if kind in ("json", "json_object"):
        return True, None
    schema = given(wanted, "json_schema", "schema") if kind == "json_schema" and isinstance(wanted, dict) else None
    if isinstance(schema, dict) and isinstance(schema.get("schema"), dict):
        schema = schema["schema"]
    if not isinstance(schema, dict):
        raise bad("The parameter 'response_format' must be text, json, or {type: json_schema, json_schema: {...}}.")
    _validator(schema)
    return True, schema


def structured_output(content: str, schema: JSONObject | None) -> JSONValue:
    """The JSON value of an answer, checked. Raises NodeFailed."""
    fenced = _FENCE.fullmatch(content)
    try:
        value = loads(fenced[1] if fenced else content)
    except InvalidDocument as error:
        raise NodeFailed(f"The answer is no JSON: {error.message}", error=MALFORMED) from None
    if schema is not None:
        fault = next(iter(_validator(schema).iter_errors(value)), None)
        if fault is not None:
            place = "".join(f"/{part}" for part in fault.instance_path)
            raise NodeFailed(hidden(f"The answer is not of the schema at {place or '/'}: {fault.message}")[:2000], error=MALFORMED)
    return value


def _validator(schema: JSONObject) -> jsonschema_rs.Draft202012Validator:
    """Raises NodeFailed for a schema that is none. References to other places are not followed."""
    try:
        return jsonschema_rs.Draft202012Validator(schema, retriever=_nothing_elsewhere, pattern_options=jsonschema_rs.RegexOptions())
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise bad(f"The parameter 'response_format' has no JSON Schema: {error}"[:500]) from None


def _nothing_elsewhere(uri: str) -> JSONValue:
    raise ValueError(f"{uri} is not part of the schema")


def _refusal(provider: Provider, answer: Response) -> NodeFailed:
    value, _ = answer.value()
    told = value.get("error", value) if isinstance(value, dict) else value
    message = told.get("message") if isinstance(told, dict) else told
    cause = hidden(f"{provider.name} answered {answer.status}: {message or answer.reason}")[:2000]
    if answer.status == 429:
        after = answer.header("retry-after")
        return NodeFailed(f"{cause} (retry after {after} s)" if after.isdigit() else cause, error=RATE_LIMITED)
    return NodeFailed(cause, error=UNAVAILABLE if answer.status >= 500 else REFUSED)
