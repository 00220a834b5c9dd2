"""Every permission there is, and the roles that hold them. A route, socket message or AWS operation needs exactly one.

A permission is ``THING:ACT``. `role_permissions` is the only place where a role becomes permissions; a token's scopes can
only take away from them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Permission(StrEnum):
    """What a caller may do in its account; the last two are the operator's, over all accounts."""

    MACHINES_READ = "machines:read"  # definitions of every kind: state machines, activities, flows, workflows
    MACHINES_WRITE = "machines:write"
    EXECUTIONS_READ = "executions:read"  # status, history, logs, streams
    EXECUTIONS_START = "executions:start"
    EXECUTIONS_STOP = "executions:stop"
    SCHEDULES_READ = "schedules:read"
    SCHEDULES_WRITE = "schedules:write"  # also start executions, later and again and again
    TASKS_WORK = "tasks:work"  # take activity tasks, answer task tokens
    SECRETS_LIST = "secrets:list"  # names and metadata, never a value
    SECRETS_READ = "secrets:read"  # values
    SECRETS_WRITE = "secrets:write"
    CREDENTIALS_OWN = "credentials:own"  # one's own password, tokens, access keys, tickets
    CREDENTIALS_WRITE = "credentials:write"  # those of the account's other users
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    ACCOUNT_READ = "account:read"
    ACCOUNT_DELETE = "account:delete"
    AUDIT_READ = "audit:read"
    ACCOUNTS_READ = "accounts:read"
    ACCOUNTS_WRITE = "accounts:write"


class Role(StrEnum):
    """What a user is in its account."""

    OWNER = "owner"
    ADMIN = "admin"
    EDITOR = "editor"
    VIEWER = "viewer"
    WORKER = "worker"


OPERATOR: Final = frozenset({Permission.ACCOUNTS_READ, Permission.ACCOUNTS_WRITE})
_WORKER: Final = frozenset({Permission.TASKS_WORK, Permission.CREDENTIALS_OWN})
_VIEWER: Final = frozenset(
    {
        Permission.MACHINES_READ,
        Permission.EXECUTIONS_READ,
        Permission.SCHEDULES_READ,
        Permission.SECRETS_LIST,
        Permission.CREDENTIALS_OWN,
        Permission.USERS_READ,
        Permission.ACCOUNT_READ,
    }
)
_EDITOR: Final = (
    _VIEWER
    | _WORKER
    | {
        Permission.MACHINES_WRITE,
        Permission.EXECUTIONS_START,
        Permission.EXECUTIONS_STOP,
        Permission.SCHEDULES_WRITE,
        Permission.SECRETS_WRITE,
    }
)
_ADMIN: Final = _EDITOR | {Permission.SECRETS_READ, Permission.CREDENTIALS_WRITE, Permission.USERS_WRITE, Permission.AUDIT_READ}
_OWNER: Final = _ADMIN | {Permission.ACCOUNT_DELETE}
_ROLES: Final = {Role.OWNER: _OWNER, Role.ADMIN: _ADMIN, Role.EDITOR: _EDITOR, Role.VIEWER: _VIEWER, Role.WORKER: _WORKER}


def role_permissions(role: Role) -> frozenset[Permission]:
    """What this role may do."""
    return _ROLES[role]
