"""A server that speaks as language models do: it gives what it is told to, and remembers what it was asked."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

from aiohttp import web


def openai(content=None, *, calls=(), reason=None):
    """An answer of chat completions; `calls` are (id, name, arguments)."""
    message = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = [{"id": one, "type": "function", "function": {"name": name, "arguments": json.dumps(given)}} for one, name, given in calls]
    choice = {"index": 0, "message": message, "finish_reason": reason or ("tool_calls" if calls else "stop")}
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    return {"id": "c1", "object": "chat.completion", "model": "m-2026", "choices": [choice], "usage": usage}


def anthropic(content=None, *, calls=()):
    """An answer of messages."""
    blocks = ([{"type": "text", "text": content}] if content else []) + [
        {"type": "tool_use", "id": one, "name": name, "input": given} for one, name, given in calls
    ]
    return {"id": "msg1", "type": "message", "role": "assistant", "model": "m-2026", "content": blocks, "stop_reason": "tool_use" if calls else "end_turn", "usage": {"input_tokens": 3, "output_tokens": 4}}  # fmt: skip


class ModelServer:
    def __init__(self):
        self.answers, self.requests, self.url, self.place = [], [], "", ""

    async def handle(self, request):
        body = await request.read()
        self.requests.append((request.path_qs, dict(request.headers), json.loads(body) if body else None))
        answer = self.answers.pop(0)
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)


@asynccontextmanager
async def model_server():
    made = ModelServer()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.place = f"127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    made.url = f"http://{made.place}"
    yield made
    await runner.cleanup()
