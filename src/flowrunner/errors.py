"""Every error FlowRunner raises on purpose, in one tree.

The docstring of a class is its default message. ``code`` is stable and may be relied on, ``fault`` says who must act,
``status`` hints at the HTTP status; the edges (``api/answer.py``, ``cli/output.py``) translate once, nowhere else.

    FlowRunnerError
    ├── ExpressionError              an expression of a definition (raised by ``lang``, becomes a ``States.*`` failure)
    │   ├── ExpressionSyntaxError    it does not compile
    │   ├── PathNotFound             a JSONPath names nothing
    │   ├── IntrinsicError           an intrinsic function refused its arguments
    │   ├── JsonataError             a JSONata expression failed; has JSONata's own code
    │   └── BudgetExceeded           time, depth, steps or output size ran out
    ├── InvalidDocument              JSON or YAML text that is refused (place, remedy)
    ├── InvalidDefinition            a definition with error diagnostics
    ├── NotFound                     a thing that is not there (or is not yours)
    ├── Conflict                     a name or a state that stands against the request
    │   └── AlreadyEnded             an execution that is to be stopped has ended
    ├── PreconditionFailed           a thing is not in the state that the request names
    ├── LimitExceeded                a quota of ``limits.py``
    ├── InvalidToken                 a task or page token that was never valid
    ├── TaskTokenTimedOut            a task token whose attempt is over
    ├── AccessDenied                 no credential, or one that does not allow it
    ├── InvalidSecret                a secret that breaks the rules of its type or schema (with the places)
    ├── SealBroken                   a sealed value that was altered, or moved to another account, name or version
    ├── UnknownKey                   a value is sealed under a key that this server does not have
    ├── Unauthenticated              a credential that is wrong, expired or revoked
    ├── Overloaded                   too many requests: try again later
    ├── StoreError                   something about a store
    │   ├── StoreRefused             not ours, newer, damaged, read-only: never opened, remedy named
    │   │   └── StoreInUse           a server has it, and it takes one at a time
    │   ├── StoreUnavailable         try again later
    │   ├── DocumentConflict         a document has changed since it was read, or its alias is taken
    │   └── Fenced                   another owner has the execution
    ├── ReplayMismatch               replay gave other records than the stored ones
    └── ConfigurationError           a setting that cannot be used
"""

from __future__ import annotations

from typing import ClassVar, Literal

Fault = Literal["caller", "definition", "server", "operator"]


class FlowRunnerError(Exception):
    """FlowRunner could not do what was asked."""

    code: ClassVar[str] = "flowrunner_error"
    fault: ClassVar[Fault] = "server"
    status: ClassVar[int] = 500

    def __init__(self, message: str | None = None, *, remedy: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").splitlines()[0]
        self.remedy = remedy
        super().__init__(self.message if remedy is None else f"{self.message} {remedy}")


class ExpressionError(FlowRunnerError):
    """An expression could not be evaluated."""

    code = "expression_error"
    fault = "definition"
    status = 400


class ExpressionSyntaxError(ExpressionError):
    """An expression does not compile."""

    code = "expression_syntax"


class PathNotFound(ExpressionError):
    """A path names nothing in the document."""

    code = "path_not_found"

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"Invalid path '{path}' : {reason}")


class IntrinsicError(ExpressionError):
    """An intrinsic function refused its arguments."""

    code = "intrinsic_error"


class JsonataError(ExpressionError):
    """A JSONata expression failed."""

    code = "jsonata_error"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # JSONata's own code, e.g. "T1006", takes the class code's place


class BudgetExceeded(ExpressionError):
    """An expression used up its time, depth or output budget."""

    code = "budget_exceeded"


class ResultTooLarge(BudgetExceeded):
    """A template's value is far larger than any value may be."""

    code = "result_too_large"


class InvalidDocument(FlowRunnerError):
    """The document is not valid JSON or YAML."""

    code = "invalid_document"
    fault = "caller"
    status = 400

    def __init__(self, message: str, *, line: int = 0, column: int = 0, pointer: str = "", remedy: str | None = None) -> None:
        self.line, self.column, self.pointer = line, column, pointer
        super().__init__(message, remedy=remedy)


class InvalidDefinition(FlowRunnerError):
    """The definition has errors."""

    code = "invalid_definition"
    fault = "caller"
    status = 400

    def __init__(self, message: str, diagnostics: tuple[object, ...] = ()) -> None:
        self.diagnostics = diagnostics
        super().__init__(message)


class NotFound(FlowRunnerError):
    """There is no such thing."""

    code = "not_found"
    fault = "caller"
    status = 404

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        super().__init__(f"There is no {kind} {name!r}.")


class Conflict(FlowRunnerError):
    """The request conflicts with what is there."""

    code = "conflict"
    fault = "caller"
    status = 409


class AlreadyEnded(Conflict):
    """The execution has ended."""

    code = "already_ended"


class PreconditionFailed(FlowRunnerError):
    """The thing is not in the state that the request names."""

    code = "precondition_failed"
    fault = "caller"
    status = 412


class LimitExceeded(FlowRunnerError):
    """A limit was exceeded."""

    code = "limit_exceeded"
    fault = "caller"
    status = 413


class InvalidToken(FlowRunnerError):
    """The token is not valid."""

    code = "invalid_token"
    fault = "caller"
    status = 400


class TaskTokenTimedOut(FlowRunnerError):
    """The task of this token is over: it was answered, timed out or was stopped."""

    code = "task_timed_out"
    fault = "caller"
    status = 400


class AccessDenied(FlowRunnerError):
    """The credential does not allow this."""

    code = "access_denied"
    fault = "caller"
    status = 403


class InvalidSecret(FlowRunnerError):
    """The secret breaks the rules of its type or its schema."""

    code = "invalid_secret"
    fault = "caller"
    status = 400

    def __init__(self, message: str, faults: tuple[tuple[str, str], ...] = ()) -> None:
        self.faults = faults  # (JSON pointer into the request, what is wrong there), never with a value in it
        super().__init__(message)


class SealBroken(FlowRunnerError):
    """A sealed value cannot be opened: it was altered, or moved to another account, name or version."""

    code = "seal_broken"
    fault = "operator"
    status = 503


class UnknownKey(FlowRunnerError):
    """A value is sealed under a key that this server does not have."""

    code = "unknown_key"
    fault = "operator"
    status = 503


class Unauthenticated(FlowRunnerError):
    """The credential is not valid."""

    code = "unauthenticated"
    fault = "caller"
    status = 401


class Overloaded(FlowRunnerError):
    """Too many requests."""

    code = "too_many_requests"
    fault = "caller"
    status = 429

    def __init__(self, message: str | None = None, *, retry_after: float = 1.0) -> None:
        self.retry_after = retry_after  # seconds
        super().__init__(message)


class StoreError(FlowRunnerError):
    """The store could not do what was asked."""

    code = "store_error"
    status = 503


class StoreRefused(StoreError):
    """The store cannot be used as it is."""

    code = "store_refused"
    fault = "operator"


class StoreInUse(StoreRefused):
    """Another server is using the store."""

    code = "store_in_use"


class StoreUnavailable(StoreError):
    """The store does not answer now."""

    code = "store_unavailable"


class DocumentConflict(StoreError):
    """A document has changed since it was read."""

    code = "document_conflict"
    fault = "caller"
    status = 409

    def __init__(self, change: int) -> None:
        self.change = change  # the position, among the changes of the write, of the one that stands against it
        super().__init__()


class Fenced(StoreError):
    """Another owner has taken the execution over."""

    code = "fenced"


class ReplayMismatch(FlowRunnerError):
    """Replaying the facts gave other records than the stored ones: another release began the execution, and only that can go on with it."""

    code = "replay_mismatch"
    fault = "operator"
    status = 409


class ConfigurationError(FlowRunnerError):
    """A setting cannot be used."""

    code = "configuration_error"
    fault = "operator"
