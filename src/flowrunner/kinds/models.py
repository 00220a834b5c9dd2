"""Kinds that ask language models: llm, agent."""

from __future__ import annotations

from flowrunner.jsonvalue import JSONObject
from flowrunner.kinds.http import BAD_PARAMETERS, EGRESS, UNREACHABLE
from flowrunner.kinds.info import KindInfo, address, anything, boolean, choice, duration, fields, integer, listed, mapping, script, text, texts

_TOOLS = listed(
    "Tools that the model may call: `{name, description, parameters}`, or as the provider writes them. For an agent also `current_time`, `http_request`, "
    "and `{kind, params, name, description}` for a node of that kind: what stands in `params` the model cannot change."
)
_REFUSED = ("FlowRunner.ModelRefused", "the provider answered with an error; the cause has its status and message")
_LATER = (
    ("FlowRunner.ModelRateLimited", "the provider answered 429; the cause has the seconds to wait if it said so"),
    ("FlowRunner.ModelUnavailable", "the provider answered with a status from 500 on"),
)
_MALFORMED = ("FlowRunner.ModelOutput", "the answer is not what was asked for: no JSON, or not of the schema")
_ASKED: dict[str, JSONObject] = {
    "provider": choice("How the provider's API looks: `generic` is like `openai`, with `base_url`.", "openai", "anthropic", "generic", default="openai"),
    "api_key": text("The credential."),
    "secret": text("The name of a secret of the type api_key: its `key`, and whatever else may stand here."),
    "headers": mapping("More headers."),
    "base_url": address("The API's address. Default: the provider's own."),
    "model": text("The model."),
    "prompt": text("What to ask."),
    "system": text("What the model is told before."),
    "messages": listed("The conversation so far: `{role, content}`.", {"type": "object"}),
    "temperature": {
        "type": ["number", "null"],
        "description": "How varied answers are; null for models that take none.",
        "minimum": 0,
        "maximum": 2,
        "default": 0.7,
    },
    "max_tokens": integer("The most tokens of the answer.", minimum=1),
    "tools": _TOOLS,
    "options": mapping("More of the request, as the provider writes it; `base_url` may stand here."),
    "timeout": duration("The longest one answer may take.", "120s", limit=True),
}
LLM = KindInfo(
    name="llm",
    title="Language model",
    description="Asks a language model once, over the HTTP API of OpenAI or Anthropic or one that looks like them. `input.question`, if there is one, is asked instead of `prompt`.",
    parameters=fields(
        {
            **_ASKED,
            "template": text("A prompt with `{{name}}` for each of `variables`."),
            "variables": mapping("The values for `template`."),
            "templates": listed("Messages with `{{name}}` for each of `context`: `{role, template}`.", {"type": "object"}),
            "context": mapping("The values for `templates`."),
            "stop": {"type": ["string", "array"], "items": {"type": "string"}, "description": "Texts that end the answer."},
            "functions": listed("Tools, by their older name.", {"type": "object"}),
            "tool_choice": anything("Which tool must be called, as the provider writes it."),
            "response_format": anything("`text`, `json`, or `{type: json_schema, json_schema: {...}}`."),
            "parse_structured": boolean("Whether the answer is read as JSON into `structured_output`.", default=False),
        }
    ),
    outputs=fields(
        {
            "id": text("The answer's id."),
            "model": text("The model that answered."),
            "choices": listed("The answers.", {"type": "object"}),
            "usage": mapping("Tokens: `prompt_tokens`, `completion_tokens`, `total_tokens`."),
            "content": text("The text."),
            "finish_reason": text("Why it ended."),
            "raw_response": mapping("The provider's answer."),
            "has_tool_calls": boolean("Whether a tool is to be called."),
            "tool_calls": listed("The calls: `{id, name, arguments}`.", {"type": "object"}),
            "structured_output": anything("With `parse_structured` or `response_format`: the value."),
        },
        closed=False,
    ),
    errors=(EGRESS, UNREACHABLE, BAD_PARAMETERS, _REFUSED, *_LATER, _MALFORMED),
)
AGENT = KindInfo(
    name="agent",
    title="Agent",
    description="Asks a language model again and again, calling the tools it asks for, until it answers or `max_steps` is reached. The tool `current_time` is always there.",
    parameters=fields(
        {
            **_ASKED,
            "max_steps": integer("The most questions to the model.", minimum=1, default=10),
            "tool_handlers": {
                **mapping("How each tool is carried out, by its name: `{url, method, headers}`, `{script}` (it sees `arguments`) or `{kind, params}`."),
                "additionalProperties": {"properties": {"script": script("JavaScript that carries the tool out.")}},
            },
            "allowed_tools": texts("The tools that may be called. Default: all."),
        }
    ),
    outputs=fields(
        {
            "response": text("The answer."),
            "steps": listed("Each question and what came of it.", {"type": "object"}),
            "thinking": texts("What the model said before its answer."),
            "intermediate_results": listed("What the tools gave."),
            "conversation": listed("All messages.", {"type": "object"}),
        },
        closed=False,
    ),
    errors=(EGRESS, UNREACHABLE, BAD_PARAMETERS, _REFUSED, *_LATER, _MALFORMED, ("FlowRunner.AgentSteps", "there was no answer after `max_steps` questions")),
)
KINDS = (LLM, AGENT)
