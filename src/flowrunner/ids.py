"""Names of things: execution ids, ARNs and names as Step Functions forms them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

# AWS: 1-80 characters, no white space, brackets, wildcards, special or control characters
# (https://docs.aws.amazon.com/step-functions/latest/apireference/API_CreateStateMachine.html).
_NAME = re.compile(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,80}")
_ACCOUNT = re.compile(r"[0-9]{12}")
Kind = Literal["stateMachine", "execution", "express", "activity", "mapRun"]


def is_name(text: str) -> bool:
    """Whether Step Functions takes this as the name of a machine, an execution or an activity."""
    return _NAME.fullmatch(text) is not None


def is_account(text: str) -> bool:
    """Whether this is an account id: 12 digits."""
    return _ACCOUNT.fullmatch(text) is not None


def execution_id(at: int, entropy: bytes) -> str:
    """32 hex digits of a UUID version 7 (RFC 9562): `at` milliseconds since 1970 first, so ids sort by time; 10 bytes of `entropy`."""
    number = (at & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(entropy[:10], "big")
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return f"{number:032x}"


@dataclass(frozen=True, slots=True)
class Arn:
    """A parsed ARN of a Step Functions resource.

    `name` is the state machine's or activity's name; executions also have `execution`, express executions and map runs `run`.
    `qualifier` is what follows the name of a stateMachine ARN: a version number or an alias.
    """

    partition: str
    region: str
    account: str
    kind: str
    name: str
    execution: str | None = None
    run: str | None = None
    qualifier: str | None = None


def parse_arn(text: str) -> Arn | None:
    """Read ``arn:PARTITION:states:REGION:ACCOUNT:KIND:NAME...``; None for anything else."""
    parts = text.split(":")
    if len(parts) < 7 or parts[0] != "arn" or parts[2] != "states" or not parts[6]:
        return None
    _, partition, _, region, account, kind, name, *rest = parts
    if kind == "activity" and not rest:
        return Arn(partition, region, account, kind, name)
    if kind == "stateMachine" and len(rest) <= 1:
        return Arn(partition, region, account, kind, name, qualifier=rest[0] if rest else None)
    if kind == "execution" and len(rest) == 1:
        return Arn(partition, region, account, kind, name, execution=rest[0])
    if kind == "express" and len(rest) == 2:
        return Arn(partition, region, account, kind, name, execution=rest[0], run=rest[1])
    if kind == "mapRun" and len(rest) == 1:
        return Arn(partition, region, account, kind, name, run=rest[0])
    return None


def machine_arn(region: str, account: str, name: str) -> str:
    """The ARN of a state machine."""
    return f"arn:aws:states:{region}:{account}:stateMachine:{name}"


def activity_arn(region: str, account: str, name: str) -> str:
    """The ARN of an activity."""
    return f"arn:aws:states:{region}:{account}:activity:{name}"


def execution_arn(region: str, account: str, machine: str, name: str) -> str:
    """The ARN of a standard execution."""
    return f"arn:aws:states:{region}:{account}:execution:{machine}:{name}"


def express_arn(region: str, account: str, machine: str, name: str, run: str) -> str:
    """The ARN of an express execution."""
    return f"arn:aws:states:{region}:{account}:express:{machine}:{name}:{run}"
