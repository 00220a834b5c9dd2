"""Who runs functions: worker processes (`LocalFunctions`), operators' URLs (`UrlFunctions`), an AWS endpoint (`EndpointFunctions`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import import_module, util
from urllib.parse import quote

from flowrunner.clock import SECOND, Clock
from flowrunner.errors import AccessDenied, FlowRunnerError, InvalidDocument
from flowrunner.jsonvalue import JSONObject, loads
from flowrunner.limits import MIB, Limits
from flowrunner.tasks.client import GuardedClient, Response, Unreachable
from flowrunner.tasks.functions import Function, FunctionName
from flowrunner.tasks.invoke import Invocation, InvokeAnswer, Invoker, Raised, Refused, Returned, TooLarge
from flowrunner.tasks.worker_pool import WorkerExited, WorkerPool

LONGEST = 900.0  # seconds: Lambda's own limit
MAX_RESULT_BYTES = 16 * MIB
Signer = Callable[[str, str, bytes, dict[str, str]], dict[str, str]]  # method, url, body, headers -> headers


class LocalFunctions(Invoker):
    """Python handlers in worker processes."""

    def __init__(self, functions: Mapping[str, Function], pool: WorkerPool, *, clock: Clock, limits: Limits, seconds: float = LONGEST) -> None:
        self._functions = functions
        self._pool = pool
        self._clock = clock
        self._seconds = seconds
        self._max_bytes = min(limits.payload_bytes or MAX_RESULT_BYTES, MAX_RESULT_BYTES)

    def idempotent(self, function: FunctionName) -> bool:
        """As registered."""
        return self._functions[function.name].idempotent

    def places(self) -> int:
        """One for each process of the pool."""
        return self._pool.size

    async def invoke(self, invocation: Invocation) -> InvokeAnswer:
        """Lambda's errors: the exception's class, ``Runtime.*``, ``Sandbox.Timedout``."""
        function = self._functions[invocation.function.name]
        assert function.file is not None  # noqa: S101 - the registry chose it so
        seconds = function.timeout_seconds or self._seconds
        try:
            reply = await self._pool.call(function.file, function.environment, self._request(function, invocation, seconds), seconds)
        except TimeoutError:
            return _broken("Sandbox.Timedout", invocation, f"Task timed out after {seconds:.2f} seconds")
        except WorkerExited as exited:
            return _broken("Runtime.ExitError", invocation, f"Runtime exited with error: {exited}")
        except OSError as error:  # no process could be started
            return Refused("ServiceException", f"The function's process could not be started: {error.strerror}.", 500)
        if "error" in reply:
            return Raised(reply["error"])
        return TooLarge() if "too_large" in reply else Returned(reply["result"])

    def _request(self, function: Function, invocation: Invocation, seconds: float) -> JSONObject:
        now = self._clock.now()
        qualifier = invocation.function.qualifier
        deadlines = [now + int(seconds * SECOND), *([invocation.deadline] if invocation.deadline else [])]
        return {
            "file": str(function.file),
            "handler": function.handler,
            "event": invocation.event,
            "max_bytes": self._max_bytes,
            "environment": {
                "AWS_LAMBDA_FUNCTION_NAME": function.name,
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_REGION": invocation.region,
                "FLOWRUNNER_IDEMPOTENCY_KEY": invocation.key,
            },
            "context": {
                "function_name": function.name,
                "arn": f"{invocation.arn}:{qualifier}" if qualifier else invocation.arn,
                "request_id": invocation.request_id,
                "deadline": min(deadlines),
                "client_context": invocation.client_context,
                "key": invocation.key,
                "execution_arn": invocation.execution_arn,
                "state": invocation.state,
            },
        }


def _broken(kind: str, invocation: Invocation, text: str) -> Raised:
    return Raised({"errorType": kind, "errorMessage": f"RequestId: {invocation.request_id} Error: {text}"})


class UrlFunctions(Invoker):
    """Functions behind URLs: ``POST`` the event; JSON (or text) comes back; a status from 400 is the function's error."""

    def __init__(self, functions: Mapping[str, Function], client: GuardedClient, *, seconds: float = LONGEST) -> None:
        self._functions = functions
        self._client = client
        self._seconds = seconds

    def idempotent(self, function: FunctionName) -> bool:
        """As registered; the key is sent in ``Idempotency-Key`` in any case."""
        return self._functions[function.name].idempotent

    async def invoke(self, invocation: Invocation) -> InvokeAnswer:
        """An error body ``{errorType, errorMessage}`` is taken as it is; any other becomes ``States.Http.StatusCode.N``."""
        function = self._functions[invocation.function.name]
        headers = {"Content-Type": "application/json", "Idempotency-Key": invocation.key, "X-Amzn-RequestId": invocation.request_id, **function.headers}
        try:
            response = await self._client.request(
                "POST", function.url, headers=headers, body=invocation.event.encode(), seconds=function.timeout_seconds or self._seconds
            )
        except TimeoutError:
            return _broken("Sandbox.Timedout", invocation, "Task timed out")
        except (Unreachable, AccessDenied) as error:
            return Raised(_payload("States.Http.Socket", error, invocation))
        except FlowRunnerError:
            return TooLarge()
        return _answer(response, invocation)


def _payload(kind: str, error: FlowRunnerError, invocation: Invocation) -> JSONObject:
    return {"errorMessage": str(error), "errorType": kind, "requestId": invocation.request_id, "stackTrace": []}


def _answer(response: Response, invocation: Invocation) -> InvokeAnswer:
    value, text = response.value()
    if response.status < 400:
        return Returned(text)
    if isinstance(value, dict) and isinstance(value.get("errorType"), str):
        return Raised(value)
    message = value if isinstance(value, str) else text
    error = {"errorMessage": message, "errorType": f"States.Http.StatusCode.{response.status}", "requestId": invocation.request_id, "stackTrace": []}
    return Raised(error)


class EndpointFunctions(Invoker):
    """Functions of a real (or emulated) Lambda: its Invoke API at `endpoint`, signed when the environment has a key pair.

    https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
    """

    def __init__(self, endpoint: str, client: GuardedClient, *, signer: Callable[[str], Signer | None] | None = None) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._client = client
        self._signer = signer or environment_signer

    async def invoke(self, invocation: Invocation) -> InvokeAnswer:
        """Lambda's answer; `Refused` with its own error code when it did not run the function."""
        function = invocation.function
        reference = f"{function.account}:function:{function.name}" if function.account else function.name
        url = f"{self._endpoint}/2015-03-31/functions/{quote(reference, safe='')}/invocations"
        if function.qualifier:
            url += f"?Qualifier={quote(function.qualifier, safe='')}"
        body, headers = invocation.event.encode(), {"Content-Type": "application/json", "X-Amz-Invocation-Type": "RequestResponse"}
        if invocation.client_context:
            headers["X-Amz-Client-Context"] = invocation.client_context
        sign = self._signer(invocation.region)
        try:
            response = await self._client.request("POST", url, headers=sign("POST", url, body, headers) if sign else headers, body=body, seconds=LONGEST)
        except (TimeoutError, Unreachable, AccessDenied) as error:
            return Refused("SdkClientException", f"Unable to execute HTTP request: {error}", 0)
        except FlowRunnerError:
            return TooLarge()
        if response.status < 300:
            value, text = response.value()
            if response.header("x-amz-function-error"):
                return Raised(value if isinstance(value, dict) else {"errorMessage": text})
            return Returned(text, response.header("x-amz-executed-version") or "$LATEST")
        return _refusal(response, invocation)


def _refusal(response: Response, invocation: Invocation) -> Refused:
    try:
        problem = loads(response.body)
    except InvalidDocument:
        problem = None
    problem = problem if isinstance(problem, dict) else {}
    code = response.header("x-amzn-errortype").split(":")[0] or str(problem.get("Type") or problem.get("__type") or "ServiceException")
    message = str(problem.get("Message") or problem.get("message") or f"Function {invocation.function.name} could not be invoked.")
    return Refused(code.rpartition("#")[2], message, response.status)


def environment_signer(region: str) -> Signer | None:
    """Signature version 4 by botocore with ``AWS_ACCESS_KEY_ID`` and its fellows; None without botocore or without keys."""
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not key or not secret or util.find_spec("botocore") is None:
        return None
    auth, request, credentials = (import_module(f"botocore.{name}") for name in ("auth", "awsrequest", "credentials"))
    signature = auth.SigV4Auth(credentials.Credentials(key, secret, os.environ.get("AWS_SESSION_TOKEN")), "lambda", region)

    def sign(method: str, url: str, body: bytes, headers: dict[str, str]) -> dict[str, str]:
        asked = request.AWSRequest(method=method, url=url, data=body, headers=headers)
        signature.add_auth(asked)
        return dict(asked.headers.items())

    return sign
