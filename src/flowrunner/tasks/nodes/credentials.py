"""A node's parameters together with those of a secret that they name: credentials need not stand in a definition."""

from __future__ import annotations

from flowrunner.errors import FlowRunnerError, InvalidSecret, NotFound
from flowrunner.jsonvalue import JSONObject
from flowrunner.ports.secrets import SecretSource
from flowrunner.tasks.nodes.kind import NodeCall, NodeFailed
from flowrunner.tasks.nodes.reading import bad, optional_text
from flowrunner.tasks.secrecy import SECRET_NOT_FOUND, SECRET_UNAVAILABLE, expose


async def with_secret(call: NodeCall, secrets: SecretSource) -> JSONObject:
    """The parameters, over the fields of the structured secret that ``secret`` names. Raises NodeFailed."""
    name = optional_text(call.params, "secret", "connection")
    if name is None:
        return dict(call.params)
    try:
        revealed = await secrets.reveal(call.account, name)
    except (NotFound, InvalidSecret) as error:
        raise NodeFailed(error.message, error=SECRET_NOT_FOUND) from None
    except FlowRunnerError as error:
        raise NodeFailed(f"The secret {name!r} cannot be had now: {error}", error=SECRET_UNAVAILABLE) from None
    expose(revealed.hidden)
    if not isinstance(revealed.value, dict):
        raise bad(f"The secret {name!r} is a simple one; this needs a structured one.")
    fields = revealed.value
    return {**fields, **{name: value for name, value in call.params.items() if value is not None or name not in fields}}
