"""The process in which registered Python handlers run (started by ``worker_pool``, never imported by the server).

Standard library only, so that it starts quickly and a handler sees nothing of FlowRunner. It speaks JSON lines over
private copies of its first two descriptors: a handler's own reading and printing cannot disturb them (prints go to
standard error). When the server closes the pipe or dies, the whole process group is killed.

Request: ``{file, handler, event (JSON text), context {...}, environment {...}, max_bytes}``.
Reply: ``{result: JSON text}`` | ``{error: {errorMessage, errorType, requestId, stackTrace}, retire}`` | ``{stale: true}``
(a file of the handler's folder changed since it was imported: ask a new worker) | ``{too_large: bytes}``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import re
import signal
import sys
import threading
import time
import traceback
from decimal import Decimal
from types import CoroutineType, ModuleType, SimpleNamespace, TracebackType
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

MAX_DEPTH = 128  # as flowrunner.jsonvalue has it
MAX_DIGITS = 1000  # as above
LONG_NUMBER = re.compile(rf"[0-9]{{{MAX_DIGITS + 1}}}")


class LambdaContext:
    """The second argument of a handler: Lambda's context object, and what FlowRunner adds (last three)."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.function_name: str = values["function_name"]
        self.function_version: str = "$LATEST"
        self.invoked_function_arn: str = values["arn"]
        self.memory_limit_in_mb: str = "128"  # text, as Lambda's own runtime has it
        self.aws_request_id: str = values["request_id"]
        self.log_group_name: str = f"/aws/lambda/{self.function_name}"
        self.log_stream_name: str = f"[$LATEST]{self.aws_request_id.replace('-', '')}"
        self.identity = SimpleNamespace(cognito_identity_id=None, cognito_identity_pool_id=None)
        self.client_context = values.get("client_context")
        self._deadline: int = values["deadline"]
        self.idempotency_key: str = values["key"]
        self.execution_arn: str = values["execution_arn"]
        self.state_name: str = values["state"]

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the attempt is stopped."""
        return max(self._deadline - time.time_ns() // 1_000_000, 0)


class LoadError(Exception):
    """The handler could not be loaded; carries Lambda's error payload."""


def error_payload(message: str, kind: str, request_id: str = "", stack: list[str] | None = None) -> dict[str, Any]:
    """Lambda's error payload, keys in Lambda's order."""
    return {"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": stack or []}


def stack_trace(trace: TracebackType | None) -> list[str]:
    """The handler's own frames as Lambda writes them: no caret lines, nothing of the runtime's."""
    frames = traceback.extract_tb(trace)
    loop = sys.modules.get("asyncio")  # there once a handler was a coroutine
    runtime = (__file__, os.path.dirname(loop.__file__ or "asyncio") if loop else __file__)  # noqa: PTH120 - text compared with text
    first = next((n for n, frame in enumerate(frames) if not frame.filename.startswith(runtime)), len(frames))
    return traceback.format_list([(frame.filename, frame.lineno or 0, frame.name, frame.line) for frame in frames[first:]])


class Handlers:
    """The handlers of one file, and whether what they were loaded from has changed."""

    def __init__(self) -> None:
        self._module: ModuleType | None = None
        self._folder = ""
        self._seen: dict[str, int] = {}
        self._count = 0

    def changed(self) -> bool:
        """Whether a file that was imported from the handler's folder is not as it was."""
        if len(sys.modules) != self._count:
            self._note()
        return any(_modified(path) != at for path, at in self._seen.items())

    def get(self, file: str, handler: str) -> Any:
        """The handler; raises LoadError as Lambda's runtime reports it, or what the module's own code raises."""
        module = self._module or self._load(file)
        found: Any = module
        for part in handler.split("."):
            found = getattr(found, part, None)
        if not callable(found):
            raise LoadError(error_payload(f"Handler '{handler}' missing on module '{module.__name__}'", "Runtime.HandlerNotFound"))
        return found

    def _load(self, file: str) -> ModuleType:
        self._folder = os.path.dirname(file)  # noqa: PTH120 - sys.path holds texts
        name = os.path.basename(file).removesuffix(".py")  # noqa: PTH119 - as above
        sys.path.insert(0, self._folder)
        try:
            spec = importlib.util.spec_from_file_location(name, file)
            assert spec is not None  # noqa: S101 - a .py file always has one
            assert spec.loader is not None  # noqa: S101
            module = sys.modules[name] = importlib.util.module_from_spec(spec)
            self._seen[file] = _modified(file)
            spec.loader.exec_module(module)
        except SyntaxError as error:
            stack = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text or ""}']
            raise LoadError(error_payload(f"Syntax error in module '{name}': {error}", "Runtime.UserCodeSyntaxError", "", stack)) from None
        except (ImportError, FileNotFoundError) as error:
            raise LoadError(error_payload(f"Unable to import module '{name}': {error}", "Runtime.ImportModuleError")) from None
        self._module = module
        return module

    def _note(self) -> None:
        self._count = len(sys.modules)
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            if isinstance(path, str) and self._folder and path.startswith(self._folder + os.sep) and "site-packages" not in path:
                self._seen.setdefault(path, _modified(path))


def _modified(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - one call for each file and request
    except OSError:
        return -1


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):  # as Lambda's runtime does: DynamoDB's numbers
        return float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _refuse_excess(text: str) -> None:
    """Raise ValueError for a result that an execution's input could not have either; short results are known at a glance."""
    if text.count("[") + text.count("{") > MAX_DEPTH:
        level = [json.loads(text)]
        for _ in range(MAX_DEPTH + 1):
            level = [part for value in level for part in (value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())]
            if not level:
                break
        else:
            raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    if len(text) > MAX_DIGITS and LONG_NUMBER.search(text):
        json.loads(text, parse_int=_refuse_long)  # texts may have as many digits as they like


def _refuse_long(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise ValueError(f"number of more than {MAX_DIGITS} digits")
    return 0


class Worker:
    """Answers one request after the other."""

    def __init__(self, replies: IO[bytes]) -> None:
        self._replies = replies
        self._handlers = Handlers()
        self._runner: asyncio.Runner | None = None

    def serve(self, request: dict[str, Any]) -> None:
        """Run the handler and write the reply; a handler that exits ends the process."""
        if self._handlers.changed():
            return self._reply({"stale": True})
        os.environ.update(request["environment"])
        context = LambdaContext(request["context"])
        try:
            reply = self._run(request, context)
        except LoadError as error:
            reply = {"error": error.args[0], "retire": True}
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is its answer
            stack = stack_trace(error.__traceback__)
            reply = {"error": error_payload(_message(error), type(error).__name__, context.aws_request_id, stack)}
        return self._reply(reply)

    def _run(self, request: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        handler = self._handlers.get(request["file"], request["handler"])
        result = handler(json.loads(request["event"]), context)
        if isinstance(result, CoroutineType):
            result = self._run_to_its_end(result)
        try:
            text = json.dumps(result, default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            size = len(text.encode())
            _refuse_excess(text)
        except (TypeError, ValueError, RecursionError) as error:
            message = f"Unable to marshal response: {error}"
            return {"error": error_payload(message, "Runtime.MarshalError", context.aws_request_id)}
        return {"too_large": size} if size > request["max_bytes"] else {"result": text}

    def _run_to_its_end(self, coroutine: CoroutineType[Any, Any, Any]) -> Any:
        import asyncio  # noqa: PLC0415 - more than half of a worker's start, and few handlers are coroutines

        self._runner = self._runner or asyncio.Runner()
        return self._runner.run(coroutine)

    def _reply(self, reply: dict[str, Any]) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self._replies.write(json.dumps(reply).encode() + b"\n")
        self._replies.flush()


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a class whose __str__ fails must not end the worker
        return ""


def _read(requests: IO[bytes], waiting: queue.SimpleQueue[bytes]) -> None:
    for line in requests:
        waiting.put(line)
    if os.getpgrp() == os.getpid():  # the server has gone: nothing that the handlers started may stay
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def main() -> None:
    """Serve until the pipe closes."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests, waiting), daemon=True).start()
    worker = Worker(replies)
    while True:
        try:
            worker.serve(json.loads(waiting.get()))
        except SystemExit as exit_:
            code = exit_.code
            os._exit(code if isinstance(code, int) else 0 if code is None else 1)
        except BaseException:  # noqa: BLE001 - KeyboardInterrupt and the like: the runtime is broken
            traceback.print_exc()
            os._exit(1)


if __name__ == "__main__":
    main()
