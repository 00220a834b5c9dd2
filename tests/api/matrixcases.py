"""Every route and every operation as cases: what is asked, and what the declared permission says about the answer."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from litestar.routes import WebSocketRoute
from matrixpeople import AWS, HTTP, NOWHERE, ONE, PASSWORD, SOCKET

from flowrunner.api.aws.handlers import HANDLERS
from flowrunner.api.aws.operations import OPERATIONS
from flowrunner.api.identify import PUBLIC
from flowrunner.identity.permissions import Permission

ARN = "arn:aws:states:us-east-1:{account}"
MACHINE, ACTIVITY = f"{ARN}:stateMachine:{{machine}}", f"{ARN}:activity:{{activity}}"
EXECUTION = f"{ARN}:execution:{{machine}}:{{execution}}"
PASS = '{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}'
FLOW = "metadata: {{name: f}}\nnodes: {{a: {{type: merge}}}}"  # a template, too
WORKFLOW = {"steps": {"a": {"type": "merge"}}}
DATABASE = {"host": "h", "port": 1, "database": "d", "username": "u", "password": "p"}
BODIES = {
    "logIn": {"username": "two-login", "password": PASSWORD},
    "changePassword": {"current_password": PASSWORD, "new_password": "another horse battery"},
    "createAccount": {"username": "somebody-new", "password": PASSWORD},
    "changeAccount": {"name": "another name"},
    "createUser": {"username": "somebody-else", "password": PASSWORD},
    "changeUser": {"password": "another horse battery"},
    "createToken": {"name": "t"},
    "createAccessKey": {"name": "k"},
    "createSecret": {"value": "v"},
    "setSecret": {"value": "v"},
    "createStructuredSecret": {"type": "custom", "data": {"a": "b"}},
    "setStructuredSecret": {"description": "d"},
    "describeSecret": {"description": "d"},
    "searchSecrets": {},
    "createOauthSecret": {"client_id": "c", "client_secret": "s"},
    "createApiKeySecret": {"key": "k"},
    "createDatabaseSecret": DATABASE,
    "createJwtSecret": {"signing_key": "k"},
    "rotateKeys": {},
    "createFlow": {"name": "a flow", "content": FLOW},
    "updateFlow": {"content": FLOW},
    "changeFlowMetadata": {"category": "c"},
    "searchFlows": {},
    "runFlow": {"input": {}},
    "createWorkflow": {"workflowId": "a-workflow", "name": "w", "definition": WORKFLOW},
    "updateWorkflow": {"name": "another"},
    "validateFlow": {"content": FLOW},
    "validateWorkflow": {"definition": WORKFLOW},
    "executeWorkflow": {"variables": {}},
    "createEnvironment": {"name": "another"},
    "updateEnvironment": {"description": "d"},
    "setVariable": {"value": 1},
    "createTemplate": {"name": "another", "type": "delay"},
    "updateTemplate": {"description": "d"},
    "copyTemplate": {},
    "createTest": {"testId": "t", "groupId": "g", "name": "n", "type": "workflow"},
    "updateTest": {"objective": "o"},
    "searchTestsBy": {},
    "createGroup": {"groupId": "another", "name": "n"},
    "updateGroup": {"name": "n"},
    "createSchedule": {"id": "another", "schedule": "0 0 1 1 *", "flow_id": "{flow}"},
    "replaceSchedule": {"schedule": "0 0 1 1 *", "flow_id": "{flow}"},
    "createWebhook": {"url": "https://example.com/", "flow_id": "{flow}"},
    "replaceWebhook": {"url": "https://example.com/", "flow_id": "{flow}"},
}
# More ways to name somebody's things than the path, by operation: a query, or a body.
NAMED = {
    "listRuns": ["?workflow={machine}", "?cursor={cursor}"],
    "listAccounts": ["?after={account}"],
    "listUsers": ["?after={user}"],
    "createToken": [{"user": "{user}"}],
    "createAccessKey": [{"user": "{user}"}],
    "streamRun": ["?after=1"],
}
MEMBERS = {
    "stateMachineArn": MACHINE, "activityArn": ACTIVITY, "executionArn": EXECUTION, "resourceArn": MACHINE, "taskToken": "{task}", "mapRunArn": f"{ARN}:mapRun:{{machine}}/x:y",
    "stateMachineAliasArn": f"{MACHINE}:alias", "stateMachineVersionArn": f"{MACHINE}:1", "definition": PASS, "roleArn": "arn:aws:iam::1:role/x", "output": "{{}}",
    "tags": [{"key": "k", "value": "v"}], "tagKeys": ["k"], "routingConfiguration": [{"stateMachineVersionArn": f"{MACHINE}:1", "weight": 100}],
}  # fmt: skip
NAMES = {"CreateActivity": "{activity}", "CreateStateMachine": "{machine}"}
# What a handler demands beyond the permission: (operation, whether the caller has it).
BEYOND = {"refreshToken": lambda caller: caller.login}
OVER_ALL = {
    "listAccounts": Permission.ACCOUNTS_READ,
    "describeAccount": Permission.ACCOUNTS_READ,
    "changeAccount": Permission.ACCOUNTS_WRITE,
    "deleteAccount": Permission.ACCOUNTS_WRITE,
}
READING = frozenset({Permission.MACHINES_READ, Permission.EXECUTIONS_READ, Permission.SCHEDULES_READ, Permission.SECRETS_LIST, Permission.SECRETS_READ, Permission.USERS_READ, Permission.ACCOUNT_READ, Permission.AUDIT_READ, Permission.ACCOUNTS_READ})  # fmt: skip
READING_POSTS = {
    "searchSecrets",
    "createSocketTicket",
    "searchFlows",
    "validateFlow",
    "validateWorkflow",
    "searchTestsBy",
}  # a search that has a body; what lets a reader open a socket
NOBODYS = "nobody's"
UNKNOWN = {"MissingAuthenticationTokenException", "UnrecognizedClientException", "IncompleteSignatureException", "InvalidSignatureException"}


@dataclass(frozen=True)
class Case:
    """One thing that can be asked for; `path` and `body` are templates of the names in `World.things`."""

    surface: str
    method: str
    path: str
    permission: str
    operation: str
    body: object = None
    names: tuple = ()  # other spellings of the same request: more of the query, or more of the body

    def __str__(self):
        return f"{self.method} {self.path} ({self.operation})" if self.surface is not AWS else self.operation

    @property
    def templates(self):
        """(path, body) of each spelling, plain first."""
        spelt = [(self.path, self.body)]
        spelt += [(self.path + more, self.body) if isinstance(more, str) else (self.path, {**(self.body or {}), **more}) for more in self.names]
        if "{run}" in self.path:
            spelt.append((self.path.replace("{run}", EXECUTION), self.body))
        return spelt


def rest_cases(rest):
    """What the router routes: every method of every route."""
    for route in rest.routes:
        path = "/" + "/".join(part if isinstance(part, str) else _placeholder(part, route.path) for part in route.path_components)
        if isinstance(route, WebSocketRoute):
            yield Case(SOCKET, "CONNECT", path, route.route_handler.opt["permission"], "", names=tuple(NAMED["streamRun"]))
            continue
        for handler in route.route_handlers:
            for method in sorted(handler.http_methods):
                if method == "OPTIONS":  # the framework adds it, without a permission: then nobody may
                    yield Case(HTTP, method, path, handler.opt.get("permission", NOBODYS), "options")
                    continue
                name = handler.operation_id
                yield Case(HTTP, method, path, handler.opt["permission"], name, BODIES.get(name), tuple(NAMED.get(name, ())))


FIXED = {"version": "1", "name": "transform"}  # nobody's names


def _placeholder(part, path):
    if part.name == "execution":
        return "{run}"
    if part.name in FIXED:
        return FIXED[part.name]
    if "/environments/" in path and part.name == "key":
        return "{variable}"
    if part.name != "key":
        return f"{{{part.name}}}"
    if part.type is not Path:
        return "{access_key}"
    return "{secret}" if "/secrets/" in path else "{structured}"


def aws_cases():
    """Every operation of the service model, also those that this version does not have."""
    for name, operation in OPERATIONS.items():
        known = operation.request.members
        body = {member: MEMBERS[member] for member in known if member in MEMBERS and (member in operation.request.required or member == "stateMachineArn")}
        if "name" in operation.request.required:
            body["name"] = NAMES.get(name, "n")
        if name == "UpdateStateMachine":  # needs something to change
            body["definition"] = PASS
        pages = ({"nextToken": f"{{page of {name}}}"},) if "nextToken" in known and name in HANDLERS else ()
        resources = ({"resourceArn": ACTIVITY},) if "resourceArn" in known else ()
        yield Case(AWS, "POST", "/", operation.permission, name, body, pages + resources)


def fill(template, values):
    """A template with names put in, at any depth; the JSON of definitions is no template."""
    if isinstance(template, str):
        return template if template == PASS else template.format_map(values)
    if isinstance(template, dict):
        return {name: fill(part, values) for name, part in template.items()}
    return [fill(part, values) for part in template] if isinstance(template, list) else template


def used(template):
    """The names that a template uses."""

    class Names(dict):
        def __missing__(self, name):
            self[name] = ""
            return ""

    found = Names()
    fill(template, found)
    return set(found)


def absent(values):
    """As `values`, but for things that are not there: each name ends otherwise, and is no longer or shorter."""
    mine = {name: _changed(name, value) for name, value in values.items() if not name.startswith("page of ")}
    for name, value in values.items():
        if name.startswith("page of "):
            text = base64.urlsafe_b64decode(value).decode()
            for other, changed in mine.items():
                text = text.replace(values[other], changed)
            mine[name] = base64.urlsafe_b64encode(text.encode()).decode()
    return {**mine, "account": values["account"]}


def _changed(name, value):
    if name == "cursor":
        return "B" + value[1:] if value[0] != "B" else "C" + value[1:]
    if name == "task":  # the mark at the end is a digest: another one in the middle as well
        value = value[:20] + ("a" if value[20] != "a" else "b") + value[21:]
    last = value[-1]
    return value[:-1] + (("b" if last != "b" else "c") if not last.isupper() else ("B" if last != "B" else "C"))


# --- judging


def verdict(case, caller, answer):
    """What is wrong with the answer by the declared permission, or None; the things asked for are the caller's own."""
    status = answer.status
    if status == 0 or status >= 500:
        return f"fails with {status}"
    if case.permission == PUBLIC:
        return f"is public, but answers {status}" if status in (401, 403) else None
    if not caller.known(case.surface):
        right = status in (400, 403) and answer.code in UNKNOWN if case.surface is AWS else status == 401
        return None if right else f"lets nobody in: {status} {answer.code}"
    denied = (status == 400 and answer.code == "AccessDeniedException") if case.surface is AWS else status == 403
    allowed = case.permission in caller.permissions and BEYOND.get(case.operation, lambda _caller: True)(caller)
    if not allowed:
        return None if denied else f"needs {case.permission}, but answers {status} {answer.code}"
    refused = denied or status in (401, 403) or answer.code in UNKNOWN
    return f"has {case.permission}, but gets {status} {answer.code}" if refused else None


def leak(world, answer, sent):
    """What of account one is in an answer, beside what the request named."""
    said = repr((answer.headers, answer.body.decode()))
    return next((trace for trace in world.traces if trace in said and trace not in json.dumps(sent)), None)


async def permissions(world, cases):
    """(how many were asked, what is wrong) when everybody asks for everything of their own account."""
    asked, wrong = 0, []
    for case in cases:
        for caller in world.callers:
            values = world.things[caller.account or ONE]
            sent = (fill(case.path, values), fill(case.body, values))
            answer = await world.ask(caller, case.surface, case.method, *sent, target=case.operation if case.surface is AWS else None)
            asked += 1
            found = verdict(case, caller, answer)
            everything = case.operation == "listAccounts" and Permission.ACCOUNTS_READ in caller.permissions
            if found is None and (not caller.known(case.surface) or caller.account != ONE) and not everything:
                shown = leak(world, answer, sent)
                found = shown and f"shows {shown}"
            if found:
                wrong.append(f"{case} by {caller.name}: {found}")
            _after(world, case, answer)
    return asked, wrong


def _after(world, case, answer):
    if case.operation in ("rotateDataKey", "rotateKeys"):
        world.save()  # keys that were retired do not come back
    elif answer.status < 300 and case.surface is HTTP and case.method not in ("GET", "OPTIONS"):
        world.restore()


async def isolation(world, cases):
    """(how many were asked, what is wrong) when strangers ask for the things of account one, and for things that do not exist."""
    asked, wrong = 0, []
    before = await world.of_one()
    strangers = [caller for caller in world.callers if caller.permissions and caller.account != ONE]
    for case in cases:
        for path, body in case.templates:
            names = used([path, body])
            for caller in (caller for caller in strangers if names and caller.known(case.surface)):
                real = world.things[ONE]
                here = {"account": world.things[caller.account]["account"]}
                for place, variants in (("of account one", ({}, {"account": NOWHERE})), ("under its own account", (here,))):
                    if place == "of account one" and OVER_ALL.get(case.operation) in caller.permissions:
                        continue
                    if place == "under its own account" and names <= {"account"}:
                        continue
                    first = {**real, **variants[0]}
                    tries = [first, *({**absent(real), **variant} for variant in variants)]
                    answers = []
                    for values in tries:
                        sent = (fill(path, values), fill(body, values))
                        answer = await world.ask(caller, case.surface, case.method, *sent, target=case.operation if case.surface is AWS else None)
                        asked += 1
                        answers.append(answer.without({name: values[name] for name in names}))
                        if shown := leak(world, answer, sent):
                            wrong.append(f"{case} {place} by {caller.name}: shows {shown}")
                        if answer.status == 0 or answer.status >= 500:
                            wrong.append(f"{case} {place} by {caller.name}: fails with {answer.status}")
                        if values is first and place == "of account one" and not denies(case, names, answer):
                            wrong.append(f"{case} {place} by {caller.name}: answers {answer.status} {answer.code}")
                        _after(world, case, answer)
                    if len(set(answers)) > 1:
                        wrong.append(f"{case} {place} by {caller.name}: tells what is there: {answers}")
                    if await world.of_one() != before:
                        wrong.append(f"{case} {place} by {caller.name}: changes account one")
                        world.restore()
    return asked, wrong


def denies(case, names, answer):
    """Whether a stranger was sent away. A list begins after any name, and whoever makes something may call it as others call theirs."""
    if case.surface is AWS:
        if case.operation not in HANDLERS:
            return answer.code in ("UnsupportedOperation", "AccessDeniedException")
        if case.operation in NAMES:
            return True
        refusal = "InvalidToken" if "task" in names else "AccessDeniedException"
        return answer.code in (refusal, "AccessDeniedException") or names == {f"page of {case.operation}"}
    return answer.status in (403, 404) or case.operation in ("listRuns", "listAccounts", "listUsers")
