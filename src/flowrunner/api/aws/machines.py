"""Operations on state machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowrunner.api.aws.faults import AwsFault, invalid_arn, invalid_name, no_machine, unsupported, validation
from flowrunner.api.aws.pages import page_position, page_token
from flowrunner.api.aws.service import DEFAULT_PAGE, MILLISECONDS, Answer, Request, Service
from flowrunner.api.aws.tagging import tags_of
from flowrunner.definitions.entries import is_ours
from flowrunner.ids import is_name, machine_arn
from flowrunner.ports.definitions import Machine, MachineType, Revision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowrunner.identity.principal import Principal

NO_LOGGING = {"level": "OFF", "includeExecutionData": False}
NO_TRACING = {"enabled": False}
AWS_KEY = {"type": "AWS_OWNED_KEY"}
WITHHELD = "{}"  # the definition that METADATA_ONLY answers with (API reference, DescribeStateMachine)
# The first revision of a machine has no id on the wire ("INITIAL" in AWS's documentation); this setting marks it.
INITIAL = "initial"
AFTER = "\U0010ffff"  # sorts after every character
NOTHING_TO_UPDATE = "Either the definition, the role ARN, the LoggingConfiguration, or the TracingConfiguration must be specified"


async def create_state_machine(service: Service, caller: Principal, request: Request) -> Answer:
    """CreateStateMachine: creating the same again answers like the first time, whatever the role and the tags."""
    name, definition, role = request["name"], request["definition"], request["roleArn"]
    kind: MachineType = request.get("type") or "STANDARD"
    if not is_name(name):
        raise invalid_name(name)
    _check_role(role)
    settings = _settings(request, {})
    _refuse_versions(request)
    tags = tags_of(request.get("tags"))
    now, revision_id = service.clock.now(), service.new_id()
    await service.accept_definition(definition, kind, revision_id)
    revision = Revision(
        id=revision_id, account=caller.account, machine=name, definition=definition, role_arn=role, created_at=now, settings={**settings, INITIAL: True}
    )
    wanted = Machine(account=caller.account, name=name, type=kind, created_at=now, revision=revision, tags=tags)
    machine = await service.store.definitions.create_machine(wanted)
    arn = machine_arn(service.region, caller.account, name)
    if machine.revision.id != revision_id and not _same(machine, definition, kind, settings):
        raise AwsFault("StateMachineAlreadyExists", f"State Machine Already Exists: '{arn}'")
    return {"stateMachineArn": arn, "creationDate": machine.created_at / MILLISECONDS}


def _same(machine: Machine, definition: str, kind: MachineType, settings: Mapping[str, Any]) -> bool:
    """Whether creating the machine again would give it (API reference: role and tags do not count)."""
    revision = machine.revision
    return revision.definition == definition and machine.type == kind and _without_mark(revision.settings) == settings


def _without_mark(settings: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in settings.items() if name != INITIAL}


def _check_role(role: str) -> None:
    if not role.startswith("arn:") or role.count(":") < 5:
        raise AwsFault("InvalidArn", f"Invalid Role Arn: '{role}'")


def _refuse_versions(request: Request) -> None:
    if request.get("publish"):
        raise unsupported("versions of state machines (publish)")
    if request.get("versionDescription"):
        raise validation("Version description can only be set when publish is true")


def _settings(request: Request, before: Mapping[str, Any]) -> dict[str, Any]:
    """The three configurations after a create or update call, each complete."""
    logging = request.get("loggingConfiguration")
    tracing = request.get("tracingConfiguration")
    encryption = request.get("encryptionConfiguration")
    if encryption is not None and encryption["type"] != "AWS_OWNED_KEY":
        raise AwsFault("InvalidEncryptionConfiguration", "Invalid Encryption Configuration: customer managed keys are not supported.")
    return {
        "loggingConfiguration": _logging(logging) if logging is not None else before.get("loggingConfiguration", NO_LOGGING),
        "tracingConfiguration": {**NO_TRACING, **_present(tracing)} if tracing is not None else before.get("tracingConfiguration", NO_TRACING),
        "encryptionConfiguration": _present(encryption) if encryption is not None else before.get("encryptionConfiguration", AWS_KEY),
    }


def _logging(given: Mapping[str, Any]) -> dict[str, Any]:
    wanted = {**NO_LOGGING, **_present(given)}
    destinations = wanted.get("destinations") or []
    if len(destinations) > 1 or (wanted["level"] != "OFF" and not destinations):
        raise AwsFault("InvalidLoggingConfiguration", "Invalid Logging Configuration: Must specify exactly one Log Destination.")
    return wanted


def _present(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


async def describe_state_machine(service: Service, caller: Principal, request: Request) -> Answer:
    """DescribeStateMachine."""
    arn = request["stateMachineArn"]
    machine = await service.machine(caller, arn, "DescribeStateMachine")
    answer = {
        "stateMachineArn": arn,
        "name": machine.name,
        "status": "ACTIVE",
        "type": machine.type,
        "creationDate": machine.created_at / MILLISECONDS,
    }
    return await _with_revision(service, answer, machine.revision, machine.type, request)


async def describe_state_machine_for_execution(service: Service, caller: Principal, request: Request) -> Answer:
    """DescribeStateMachineForExecution: the definition that the execution runs, whatever became of the machine since."""
    head = await service.execution(caller, request["executionArn"], "DescribeStateMachineForExecution")
    revision = await service.store.definitions.revision(head.revision)
    if revision is None:
        raise no_machine(machine_arn(service.region, head.account, head.machine))
    answer = {
        "stateMachineArn": machine_arn(service.region, head.account, head.machine),
        "name": head.machine,
        "updateDate": revision.created_at / MILLISECONDS,
    }
    return await _with_revision(service, answer, revision, "STANDARD", request)


async def _with_revision(service: Service, answer: dict[str, Any], revision: Revision, kind: MachineType, request: Request) -> Answer:
    withheld = request.get("includedData") == "METADATA_ONLY"
    answer["definition"] = WITHHELD if withheld else revision.definition
    answer["roleArn"] = revision.role_arn
    answer.update({name: value for name, value in revision.settings.items() if name.endswith("Configuration")})
    if not revision.settings.get(INITIAL):
        answer["revisionId"] = revision.id
    references = {} if withheld else await service.variable_references(revision, kind)
    if references:
        answer["variableReferences"] = references
    return answer


async def update_state_machine(service: Service, caller: Principal, request: Request) -> Answer:
    """UpdateStateMachine: a new revision if anything changed; running executions keep theirs."""
    arn = request["stateMachineArn"]
    given = [
        name for name in ("definition", "roleArn", "loggingConfiguration", "tracingConfiguration", "encryptionConfiguration") if request.get(name) is not None
    ]
    if not given:
        raise AwsFault("MissingRequiredParameter", NOTHING_TO_UPDATE)
    machine = await service.machine(caller, arn, "UpdateStateMachine")
    _refuse_versions(request)
    before = machine.revision
    definition = request.get("definition") or before.definition
    role = request.get("roleArn") or before.role_arn
    _check_role(role)
    settings = _settings(request, before.settings)
    if (definition, role, settings) == (before.definition, before.role_arn, _without_mark(before.settings)):
        return _updated(machine)
    revision_id = service.new_id()
    await service.accept_definition(definition, machine.type, revision_id, kept=definition == before.definition)
    revision = Revision(
        id=revision_id, account=machine.account, machine=machine.name, definition=definition, role_arn=role, created_at=service.clock.now(), settings=settings
    )
    return _updated(await service.store.definitions.update_machine(machine.account, machine.name, revision))


def _updated(machine: Machine) -> Answer:
    answer: dict[str, Any] = {"updateDate": (machine.updated_at or machine.created_at) / MILLISECONDS}
    if not machine.revision.settings.get(INITIAL):
        answer["revisionId"] = machine.revision.id
    return answer


async def delete_state_machine(service: Service, caller: Principal, request: Request) -> Answer:
    """DeleteStateMachine: deleting what is not there is no error."""
    arn = service.own_arn(caller, request["stateMachineArn"], ("stateMachine",), "DeleteStateMachine", no_machine)
    if arn.qualifier is not None:
        raise invalid_arn("Resource type not valid in this context: stateMachineVersion")
    await service.store.definitions.delete_machine(arn.account, arn.name)
    return {}


async def list_state_machines(service: Service, caller: Principal, request: Request) -> Answer:
    """ListStateMachines, by name."""
    limit = request.get("maxResults") or DEFAULT_PAGE
    position = page_position(request.get("nextToken"), "stateMachines", str)
    machines = await _page(service, caller.account, limit + 1, position[0] if position else None)
    answer: dict[str, Any] = {
        "stateMachines": [
            {
                "stateMachineArn": machine_arn(service.region, machine.account, machine.name),
                "name": machine.name,
                "type": machine.type,
                "creationDate": machine.created_at / MILLISECONDS,
            }
            for machine in machines[:limit]
        ]
    }
    if len(machines) > limit:
        answer["nextToken"] = page_token("stateMachines", machines[limit - 1].name)
    return answer


async def _page(service: Service, account: str, limit: int, after: str | None) -> list[Machine]:
    """State machines by name; flows and workflows, which stand together, are passed by."""
    found: list[Machine] = []
    while len(found) < limit and (page := await service.store.definitions.machines(account, limit=limit, after=after)):
        found += [machine for machine in page if not is_ours(machine.name)]
        last = page[-1].name
        after = last.partition("/")[0] + "/" + AFTER if is_ours(last) else last
    return found[:limit]
