"""Requests made up from the OpenAPI document, against a whole server: what they find is what the document says, and never a 5xx."""

import asyncio
import socket
import threading
from collections import Counter
from contextlib import AsyncExitStack, contextmanager, suppress

import hypothesis
import requests
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup

from flowrunner import config
from flowrunner.cli.door import Door
from flowrunner.cli.protocol import Server, configuration
from flowrunner.wiring import build

FLOW = "metadata: {name: two delays}\nnodes:\n  a: {type: delay, params: {duration: 1ms}, next: {success: b}}\n  b: {type: delay, params: {duration: 1ms}}\n"
STEPS = {"one": {"id": "one", "name": "One", "type": "delay", "config": {"duration": 1, "unit": "ms"}}}
NAMES = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


@contextmanager
def served(folder, **door):
    """The URL of a whole server for development, behind its own door, in a thread of its own."""
    settings = config.load(environment={}, folder=folder, flags={"store": "memory:", "dev": True})
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)  # noqa: FBT003 - the socket's own way to say it
    servers, ready = [], threading.Event()

    async def run():
        async with AsyncExitStack() as stack:
            application = build(settings)
            await application.start(stack)
            servers.append(Server(configuration(application.asgi, drain_seconds=1, door=Door(**door))))
            ready.set()
            await servers[0].serve(sockets=[listener])

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        servers[0].should_exit = True
        thread.join(20)


class Things:
    """What exists, so that some requests are about it; made again when a request has removed it."""

    def __init__(self, url, session):
        self._url = url
        self._session = session
        self.known = {"execution": "0" * 32, "run": "0" * 32, "flow": "none", "workflow": "none", "version": "1", "account": "me", "name": "http.request"}
        self.renew()

    def _post(self, path, body):
        return self._session.post(self._url + path, json=body).json()

    def renew(self):
        flow = self._post("/api/v1/flows", {"content": FLOW})["id"]
        execution = self._post(f"/api/v1/flows/{flow}/run", {"input": {"n": 1}})["execution_id"]
        self.known.update({"flow": flow, "execution": execution, "run": execution})
        self._post("/api/v1/schedules", {"id": "yearly", "schedule": "0 0 1 1 *", "flow_id": flow})
        self.known["schedule"] = "yearly"
        made = self._post("/api/v2/workflows", {"definition": {"name": "w", "steps": STEPS}})
        self.known["workflow"] = made.get("workflowId", "none")
        environment = self._post("/api/v2/environments", {"name": "e", "variables": {"k": 1}})
        self.known.update({"environment": environment["envId"], "key": "k"})
        template = self._post("/api/v2/action-templates", {"name": "t", "type": "delay", "config": {"duration": 1}})
        self.known["template"] = template["templateId"]
        group = self._post("/api/v2/groups", {"name": "g"})["groupId"]
        test = {"testId": f"test-{group}", "groupId": group, "name": "t", "type": "steps", "steps": STEPS}
        self.known.update({"group": group, "test": self._post("/api/v2/tests", test)["testId"]})
        self.known["result"] = self._post(f"/api/v2/tests/{self.known['test']}/execute", {})["resultId"]
        self.known["batch"] = self._post(f"/api/v2/groups/{group}/execute", {})["runId"]

    def path_of(self, names):
        return {name: self.known[name] for name in names if name in self.known}


SKIPPED = {"streamRun"}  # its good answer has no end


class Campaign:
    """`seen` is how often each status came, by operation; `wrong` what was not as documented."""

    def __init__(self, url):
        load_all_checks()
        self._checks = [CHECKS.get_one(name) for name in NAMES]
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False
        self._things = Things(url, self._session)
        self.seen, self.wrong = Counter(), {}

    def run(self, examples):
        """Make `examples` requests up for each operation, good ones and bad ones each."""
        schema = schemathesis.openapi.from_dict(self._session.get(f"{self._url}/openapi.json").json())
        for result in schema.get_all_operations():
            operation = result.ok()
            if operation.definition.raw["operationId"] not in SKIPPED:
                for mode in MODES:
                    self._one(operation, mode, examples)
                self._things.renew()
        return self

    def _one(self, operation, mode, examples):
        names = [parameter.name for parameter in operation.path_parameters]
        plain = operation.as_strategy(generation_mode=mode)
        about_what_is_there = operation.as_strategy(generation_mode=mode, path_parameters=self._things.path_of(names)) if names else plain

        @given(case=st.one_of(plain, about_what_is_there))
        @hypothesis.settings(
            max_examples=examples, database=None, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), phases=[hypothesis.Phase.generate]
        )
        def test(case):
            self._check(case)

        with suppress(hypothesis.errors.Unsatisfiable):
            test()

    def _check(self, case):
        response = case.call(base_url=self._url, session=self._session)
        self.seen[case.operation.label, response.status_code] += 1
        try:
            case.validate_response(response, checks=self._checks)
        except FailureGroup as failures:
            for failure in failures.exceptions:
                self.wrong.setdefault((case.operation.label, response.status_code, type(failure).__name__), str(failures))
