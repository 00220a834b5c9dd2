"""Which handler carries out a call: mocks of the test case first, then functions, built-in services, plug-ins, an AWS endpoint.

Plug-ins are entry points of the group ``flowrunner.tasks``: the name is a service (``mycompany``) or a service and an
action (``mycompany:charge``), the object a `TaskHandler` or a callable without arguments that makes one.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from importlib.metadata import entry_points
from pathlib import Path

from flowrunner.clock import Clock, SystemClock
from flowrunner.errors import ConfigurationError
from flowrunner.limits import AWS, Limits
from flowrunner.ports.documents import DocumentStore
from flowrunner.ports.schedules import ScheduleService
from flowrunner.ports.secrets import NoSecrets, SecretSource
from flowrunner.ports.tasks import ExecutionStarter, TaskCall, TaskHandler, TaskOutcome
from flowrunner.tasks.answers import UUIDs, failed
from flowrunner.tasks.client import GuardedClient
from flowrunner.tasks.connections import VaultConnections
from flowrunner.tasks.egress import EgressPolicy, destination
from flowrunner.tasks.functions import Function
from flowrunner.tasks.http import Connections, HttpTask
from flowrunner.tasks.invoke import Background, FunctionTask, NoSuchFunction, function_of
from flowrunner.tasks.invokers import LONGEST, EndpointFunctions, LocalFunctions, UrlFunctions
from flowrunner.tasks.javascript.calls import ScriptLimits
from flowrunner.tasks.javascript.checker import Checker
from flowrunner.tasks.javascript.pool import DEFAULT_SIZE as SCRIPT_WORKERS
from flowrunner.tasks.javascript.scripts import Scripts as JavaScript
from flowrunner.tasks.javascript.turns import MOST_WAITING
from flowrunner.tasks.mocks import Mocks, MockTask
from flowrunner.tasks.nested import SFN_ACTIONS, Callbacks, SfnTask, StartExecutionTask
from flowrunner.tasks.nodes.builtin import NodeServices, built_in
from flowrunner.tasks.nodes.command import Programs
from flowrunner.tasks.nodes.functions import RegisteredFunctions
from flowrunner.tasks.nodes.scripting import NO_LIMITS, Scripting, Scripts
from flowrunner.tasks.nodes.table import NodeTable
from flowrunner.tasks.nodes.task import NodeTask
from flowrunner.tasks.secrecy import Guarded
from flowrunner.tasks.worker_pool import DEFAULT_SIZE, WorkerPool

ENTRY_POINTS = "flowrunner.tasks"
# The service's name in AWS's error names; others are written with a capital first letter.
_ERROR_PREFIX = {
    "sqs": "SQS", "sns": "SNS", "dynamodb": "DynamoDB", "ecs": "ECS", "eks": "EKS", "emr-containers": "EMRContainers", "events": "EventBridge",
    "apigateway": "ApiGateway", "codebuild": "CodeBuild", "databrew": "DataBrew", "sagemaker": "SageMaker", "states": "StepFunctions",
    "aws-sdk:dynamodb": "DynamoDb",
}  # fmt: skip


def random_uuid() -> str:
    """A new UUID, version 4."""
    return str(uuid.uuid4())


class Registry:
    """Implements `TaskResolver`.

    `starter` and `callbacks` reach the engine. `policy` guards requests that a definition asks for; targets that the operator
    configured (function URLs, `endpoint_url`) are trusted by their exact host and port. `function_seconds` ends functions that state no timeout.
    `handlers` are more services, by
    ``service`` or ``service:action`` (they win over built-in ones). `secrets` is where references and connections are resolved. `scripts` runs
    the JavaScript of nodes (otherwise `script_workers` processes do, for which `script_queue` scripts of one account may wait) within `script_limits`, `documents` keep what they store, `programs` are those they may start,
    `database_folder` has their SQLite files, `schedules` start flows for them. Nothing runs before `start`.
    """

    def __init__(
        self,
        *,
        starter: ExecutionStarter,
        callbacks: Callbacks | None = None,
        functions: Mapping[str, Function] | None = None,
        mocks: Mocks | None = None,
        policy: EgressPolicy | None = None,
        connections: Connections | None = None,
        endpoint_url: str | None = None,
        workers: int = DEFAULT_SIZE,
        function_seconds: float = LONGEST,
        limits: Limits = AWS,
        clock: Clock | None = None,
        uuids: UUIDs = random_uuid,
        handlers: Mapping[str, TaskHandler] | None = None,
        secrets: SecretSource | None = None,
        scripts: Scripts | None = None,
        script_workers: int = SCRIPT_WORKERS,
        script_queue: int = MOST_WAITING,
        script_limits: ScriptLimits = NO_LIMITS,
        documents: DocumentStore | None = None,
        programs: Programs | None = None,
        database_folder: Path | None = None,
        schedules: ScheduleService | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self._secrets = secrets or NoSecrets()
        self._guarded: dict[TaskHandler, Guarded] = {}
        self._functions = functions or {}
        self._mocks = mocks or Mocks()
        self._pool = WorkerPool(workers)
        self._background = Background()
        size = limits.payload_bytes or 16 * 1024 * 1024
        policy = policy or EgressPolicy()
        self._client = GuardedClient(policy, max_bytes=size)
        urls = [one.url for one in self._functions.values() if one.url] + ([endpoint_url] if endpoint_url else [])
        self._trusted = GuardedClient(EgressPolicy([_place(url) for url in urls], ports=frozenset()), max_bytes=size)

        def task(invoker: LocalFunctions | UrlFunctions | EndpointFunctions | NoSuchFunction) -> FunctionTask:
            return FunctionTask(invoker, self._background, clock=clock, uuids=uuids, limits=limits)

        local = LocalFunctions(self._functions, self._pool, clock=clock, limits=limits, seconds=function_seconds)
        url = UrlFunctions(self._functions, self._trusted, seconds=function_seconds)
        self._local, self._url = task(local), task(url)
        self._other = task(EndpointFunctions(endpoint_url, self._trusted) if endpoint_url else NoSuchFunction())
        self._mock = MockTask(self._mocks)
        self._nothing = Nothing()
        sfn = SfnTask(starter, callbacks, uuids=uuids)
        self._scripts = JavaScript(script_workers, script_queue)  # no process runs before the first script
        self.check_scripts = Checker()  # nor one that only reads them
        scripting = Scripting(scripts or self._scripts, self._secrets, script_limits)
        offered = NodeServices(
            clock=clock,
            client=self._client,
            policy=policy,
            secrets=self._secrets,
            scripting=scripting,
            programs=programs or Programs(),
            find=lambda name: self.nodes.get(name),  # noqa: PLW0108 - the table is made of these
            database_folder=database_folder,
            schedules=schedules,
            documents=documents,
            functions=RegisteredFunctions(self._functions, local, url, uuids),
        )
        self.nodes = NodeTable(built_in(offered))
        self._services: dict[str, TaskHandler] = {
            "states:startExecution": StartExecutionTask(starter, clock=clock, uuids=uuids),
            "flowrunner": NodeTask(self.nodes, scripting),
            "http:invoke": HttpTask(self._client, connections or VaultConnections(self._secrets, self._client, clock)),
            **{f"aws-sdk:sfn:{action}": sfn for action in SFN_ACTIONS},
            **(handlers or {}),
        }

    @property
    def mocks(self) -> Mocks:
        """The mocks; the API asks them whether a test case exists."""
        return self._mocks

    async def start(self, stack: AsyncExitStack) -> None:
        """Load plug-ins, open HTTP sessions; `stack` closes them and kills the workers. Raises ConfigurationError for a broken plug-in."""
        for point in entry_points(group=ENTRY_POINTS):
            try:
                self._services.setdefault(point.name, _made(point.load()))
            except Exception as error:
                raise ConfigurationError(f"The task plug-in {point.name!r} ({point.value}) cannot be loaded: {error}.") from error
        await self._client.start(stack)
        await self._trusted.start(stack)
        await self._pool.start(stack)
        await self._background.start(stack)
        await self._scripts.start(stack)
        await self.check_scripts.start(stack)

    def resolve(self, call: TaskCall) -> TaskHandler:
        """The handler, with secrets resolved before it and hidden behind it; `Nothing` when nobody serves the resource."""
        handler = self._find(call)
        if handler is self._mock:  # its answers are written down, secrets and all
            return handler
        guarded = self._guarded.get(handler)
        if guarded is None:  # one for each handler: places are counted by it
            guarded = self._guarded[handler] = Guarded(handler, self._secrets)
        return guarded

    def _find(self, call: TaskCall) -> TaskHandler:
        if call.test_case is not None and self._mocks.find(call) is not None:
            return self._mock
        resource = call.resource
        key = f"{resource.service}:{resource.action}"
        if resource.family == "lambda" or (key == "lambda:invoke" and key not in self._services):
            return self._function(call)
        return self._services.get(key) or self._services.get(resource.service) or self._nothing

    def _function(self, call: TaskCall) -> TaskHandler:
        name = function_of(call)
        function = self._functions.get(name.name) if name else None
        if function is None:
            return self._other
        return self._url if function.url else self._local


def _place(url: str) -> str:
    there = destination(url)
    return f"[{there.host}]:{there.port}" if ":" in there.host else f"{there.host}:{there.port}"


def _made(loaded: TaskHandler | Callable[[], TaskHandler]) -> TaskHandler:
    made = loaded if isinstance(loaded, TaskHandler) else loaded()
    if not isinstance(made, TaskHandler):
        raise TypeError("it is no TaskHandler")
    return made


class Nothing(TaskHandler):
    """Fails every call as AWS does when a service cannot be reached, and names the remedies."""

    async def run(self, call: TaskCall) -> TaskOutcome:
        """``SERVICE.SdkClientException``."""
        service = call.resource.service
        prefix = _ERROR_PREFIX.get(service) or service.removeprefix("aws-sdk:").capitalize()
        text = (
            f"Unable to execute HTTP request: nothing serves {call.resource.arn} here. "
            "Mock it in a test case (mock_config), call a registered function instead ([functions]), or install a task plug-in."
        )
        return failed(f"{prefix}.SdkClientException", text, "submit" if call.resource.is_submitted else "run")
