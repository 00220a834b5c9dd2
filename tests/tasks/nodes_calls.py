"""Calls of node kinds, as the task makes them."""

from flowrunner.errors import NotFound
from flowrunner.ports.secrets import Revealed
from flowrunner.tasks.nodes.kind import NodeCall

ACCOUNT = "123456789012"


def node_call(params, input=None, **changes):  # noqa: A002
    raw = {"params": params, "input": input, "language": "flow", "execution": {"id": "e1", "flow_id": "f1", "name": "f", "started_at": 0}}
    values = {
        "params": params, "input": input, "account": ACCOUNT, "execution": "e1", "state": "State", "key": "e1/1", "retry": 0, "deadline": None, "raw": raw,
    }  # fmt: skip
    return NodeCall(**values | changes)


class Secrets:
    """A vault that has these structured secrets."""

    def __init__(self, **secrets):
        self.secrets = secrets

    async def reveal(self, account, name, path=None):
        if name not in self.secrets:
            raise NotFound("secret", name)
        value = self.secrets[name]
        return Revealed(value=value, hidden=tuple(value.values()), type="database", version=1)
