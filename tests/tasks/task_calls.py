from __future__ import annotations

import itertools

from flowrunner.core.resource import parse_resource
from flowrunner.jsonvalue import dumps
from flowrunner.ports.tasks import Child, TaskCall

ACCOUNT, REGION = "123456789012", "us-east-1"
INVOKE = "arn:aws:states:::lambda:invoke"


def function_arn(name):
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


def call(resource, parameters=None, **changes):
    values = {
        "execution": "e1",
        "execution_arn": f"arn:aws:states:{REGION}:{ACCOUNT}:execution:machine:e1",
        "machine_arn": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:machine",
        "account": ACCOUNT,
        "region": REGION,
        "state": "State",
        "attempt": 1,
        "retry": 0,
        "resource": parse_resource(resource),
        "parameters": dumps(parameters),
        "key": "e1/1",
    }
    return TaskCall(**values | changes)


def ids():
    numbers = itertools.count(1)
    return lambda: f"00000000-0000-4000-8000-{next(numbers):012d}"


class Starter:
    """An engine that remembers what it was asked, and fails as told."""

    def __init__(self):
        self.started, self.answers, self.beats, self.task, self.error = [], [], [], None, None

    def _fail(self):
        if self.error is not None:
            raise self.error

    async def start_child(self, start):
        self._fail()
        self.started.append(start)
        return Child(f"arn:aws:states:{REGION}:{ACCOUNT}:execution:child:{start.name or 'made-up'}", 1_745_486_528_077, "c0ffee")

    async def answer(self, token, *, account, output=None, error=None, cause=None):
        self._fail()
        self.answers.append((token, output, error, cause))

    async def heartbeat(self, token, *, account):
        self._fail()
        self.beats.append(token)

    async def poll_activity(self, account, activity_arn, worker):
        self._fail()
        return self.task
