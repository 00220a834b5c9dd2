"""How requests to language models and their answers look: OpenAI's chat completions and Anthropic's messages.

https://platform.openai.com/docs/api-reference/chat, https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import JSONObject, JSONValue, dumps, loads

ANTHROPIC_VERSION = "2023-06-01"
ANTHROPIC_TOKENS = 4096  # it needs a bound; OpenAI has one of its own
ANSWER_TOOL = "structured_answer"  # how Anthropic is made to answer by a schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to ask, in no provider's form. `schema` is what the answer must be; `more` goes into the request as it is."""

    model: str
    messages: Sequence[JSONObject]
    temperature: float | None = None
    max_tokens: int | None = None
    stop: Sequence[str] = ()
    tools: Sequence[JSONObject] = ()
    tool_choice: JSONValue = None
    json: bool = False
    schema: JSONObject | None = None
    more: JSONObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One provider's form."""

    base_url: str
    path: Callable[[str], str]
    headers: Callable[[str], Mapping[str, str]]
    request: Callable[[Question], JSONObject]
    answer: Callable[[JSONObject, Question], JSONObject]


def _openai_request(question: Question) -> JSONObject:
    made: JSONObject = {"model": question.model, "messages": [_openai_message(one) for one in question.messages]}
    if question.temperature is not None:
        made["temperature"] = question.temperature
    if question.max_tokens is not None:
        made["max_tokens"] = question.max_tokens
    if question.stop:
        made["stop"] = list(question.stop)
    if question.tools:
        made["tools"] = [{"type": "function", "function": tool} for tool in question.tools]
        if question.tool_choice is not None:
            made["tool_choice"] = question.tool_choice
    if question.schema is not None:
        made["response_format"] = {"type": "json_schema", "json_schema": {"name": ANSWER_TOOL, "schema": question.schema}}
    elif question.json:
        made["response_format"] = {"type": "json_object"}
    return made | question.more


def _openai_message(one: JSONObject) -> JSONObject:
    calls = one.get("tool_calls")
    if not calls:
        return one
    written = [
        call if "function" in call else {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": dumps(call["arguments"])}}
        for call in calls
    ]
    return {**one, "tool_calls": written}


def _openai_answer(raw: JSONObject, question: Question) -> JSONObject:
    del question
    choices = raw["choices"]
    message = choices[0]["message"]
    calls = [_call(one["id"], one["function"]["name"], one["function"]["arguments"]) for one in message.get("tool_calls") or ()]
    usage = raw.get("usage") or {}
    used = {name: usage.get(name) or 0 for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    return _answered(raw, choices, used, _text(message.get("content")), calls)


def _text(content: JSONValue) -> str:
    """What a message says: a text, or as some servers write it, a list of parts. Raises TypeError for anything else."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part["type"] == "text")
    if content is not None and not isinstance(content, str):
        raise TypeError("content")
    return content or ""


def _anthropic_request(question: Question) -> JSONObject:
    system = "\n\n".join(str(one["content"]) for one in question.messages if one["role"] == "system")
    made: JSONObject = {"model": question.model, "max_tokens": question.max_tokens or ANTHROPIC_TOKENS, "messages": _turns(question.messages)}
    if question.json and question.schema is None:
        system = f"{system}\n\nAnswer with JSON alone.".strip()
    if question.schema is not None and question.tools:
        system = f"{system}\n\nAnswer with JSON alone, of this schema: {dumps(question.schema)}".strip()
    if system:
        made["system"] = system
    if question.temperature is not None:
        made["temperature"] = min(question.temperature, 1.0)
    if question.stop:
        made["stop_sequences"] = list(question.stop)
    if question.tools:
        made["tools"] = [{"name": one["name"], "description": one["description"], "input_schema": one["parameters"]} for one in question.tools]
        if question.tool_choice is not None:
            made["tool_choice"] = {"type": question.tool_choice} if isinstance(question.tool_choice, str) else question.tool_choice
    elif question.schema is not None:
        made["tools"] = [{"name": ANSWER_TOOL, "description": "The answer.", "input_schema": question.schema}]
        made["tool_choice"] = {"type": "tool", "name": ANSWER_TOOL}
    return made | question.more


def _turns(messages: Sequence[JSONObject]) -> list[JSONObject]:
    """User and assistant in turn: results of tools are the user's, and neighbours of one role become one."""
    turns: list[JSONObject] = []
    for one in messages:
        if one["role"] == "system":
            continue
        role, content = one["role"], one.get("content") or ""
        blocks: list[JSONValue] = content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []
        if role == "tool":
            role, blocks = "user", [{"type": "tool_result", "tool_use_id": one.get("tool_call_id"), "content": content}]
        for call in one.get("tool_calls") or ():
            blocks = [*blocks, {"type": "tool_use", "id": call["id"], "name": call["name"], "input": call["arguments"]}]
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] = [*turns[-1]["content"], *blocks]
        else:
            turns.append({"role": role, "content": blocks})
    return turns


def _anthropic_answer(raw: JSONObject, question: Question) -> JSONObject:
    blocks = raw["content"]
    content = "".join(one["text"] for one in blocks if one["type"] == "text")
    calls = [{"id": one["id"], "name": one["name"], "arguments": one["input"]} for one in blocks if one["type"] == "tool_use"]
    if question.schema is not None and not question.tools and calls:
        content, calls = dumps(calls[0]["arguments"]), []
    usage = raw.get("usage") or {}
    asked, given = usage.get("input_tokens") or 0, usage.get("output_tokens") or 0
    used = {"prompt_tokens": asked, "completion_tokens": given, "total_tokens": asked + given}
    reason = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls"}.get(
        raw.get("stop_reason") or "", raw.get("stop_reason")
    )
    choices = [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": reason}]
    return _answered(raw, choices, used, content, calls)


def _answered(raw: JSONObject, choices: list[JSONObject], usage: JSONObject, content: str, calls: list[JSONObject]) -> JSONObject:
    return {
        "id": raw.get("id"), "model": raw.get("model"), "choices": choices, "usage": usage, "content": content, "finish_reason": choices[0].get("finish_reason"),
        "raw_response": raw, "has_tool_calls": bool(calls), "tool_calls": calls,
    }  # fmt: skip


def _call(name: str, function: str, arguments: JSONValue) -> JSONObject:
    try:
        read = loads(arguments) if isinstance(arguments, str) and arguments else arguments or {}
    except InvalidDocument:
        read = arguments  # as the model wrote it; who carries it out tells the model
    return {"id": name, "name": function, "arguments": read}


_OPENAI = Api(
    base_url="https://api.openai.com/v1",
    path=lambda base: f"{base}/chat/completions",
    headers=lambda key: {"Authorization": f"Bearer {key}"} if key else {},
    request=_openai_request,
    answer=_openai_answer,
)
_ANTHROPIC = Api(
    base_url="https://api.anthropic.com",
    path=lambda base: f"{base}/messages" if base.endswith("/v1") else f"{base}/v1/messages",
    headers=lambda key: {"x-api-key": key, "anthropic-version": ANTHROPIC_VERSION},
    request=_anthropic_request,
    answer=_anthropic_answer,
)
APIS = {"openai": _OPENAI, "anthropic": _ANTHROPIC, "generic": _OPENAI}
