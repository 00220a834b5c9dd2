"""Operations on tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowrunner.api.aws.faults import AwsFault, no_resource, validation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowrunner.api.aws.service import Answer, Request, Service
    from flowrunner.identity.principal import Principal
    from flowrunner.ids import Arn
    from flowrunner.ports.definitions import Activity, Machine

MOST_TAGS = 50  # per resource; Step Functions Developer Guide, "Tagging"
_SYMBOLS = "_.:/=+-@"  # API reference, TagResource
RESERVED = "aws:"


def tags_of(given: Sequence[Mapping[str, Any]] | None) -> dict[str, str]:
    """Tags of a request as a mapping; of two with one key the last counts."""
    tags: dict[str, str] = {}
    for place, tag in enumerate(given or (), 1):
        if tag.get("key") is None:
            raise validation(f"1 validation error detected: Value null at 'tags.{place}.member.key' failed to satisfy constraint: Member must not be null")
        key, value = tag["key"], tag.get("value") or ""
        for text in (key, value):
            if not all(character.isalnum() or character.isspace() or character in _SYMBOLS for character in text):
                raise validation(f"Tags may only contain Unicode letters, digits, white space, or these symbols: {' '.join(_SYMBOLS)}: '{text}'")
        if key.lower().startswith(RESERVED):
            raise validation(f"The prefix '{RESERVED}' of the keys of tags is AWS's own: '{key}'")
        tags[key] = value
    _check_count(tags, "")
    return tags


def _check_count(tags: Mapping[str, str], arn: str) -> None:
    if len(tags) > MOST_TAGS:
        raise AwsFault("TooManyTags", f"A resource can have at most {MOST_TAGS} tags" + (f": '{arn}'" if arn else ""))


async def tag_resource(service: Service, caller: Principal, request: Request) -> Answer:
    """TagResource: adds tags, replacing those of the same keys."""
    added = tags_of(request["tags"])
    arn, tags = await _find(service, caller, request["resourceArn"], "TagResource")
    merged = {**tags, **added}
    _check_count(merged, request["resourceArn"])
    return await _store(service, arn, merged)


async def untag_resource(service: Service, caller: Principal, request: Request) -> Answer:
    """UntagResource: keys without a tag are no error."""
    arn, tags = await _find(service, caller, request["resourceArn"], "UntagResource")
    removed = set(request["tagKeys"])
    return await _store(service, arn, {key: value for key, value in tags.items() if key not in removed})


async def list_tags_for_resource(service: Service, caller: Principal, request: Request) -> Answer:
    """ListTagsForResource."""
    _, tags = await _find(service, caller, request["resourceArn"], "ListTagsForResource")
    return {"tags": [{"key": key, "value": value} for key, value in tags.items()]}


async def _find(service: Service, caller: Principal, text: str, action: str) -> tuple[Arn, Mapping[str, str]]:
    arn = service.own_arn(caller, text, ("stateMachine", "activity"), action, no_resource)
    definitions = service.store.definitions
    found: Activity | Machine | None = None
    if arn.kind == "activity":
        found = await definitions.activity(arn.account, arn.name)
    elif arn.qualifier is None:  # versions and aliases have no tags (recorded)
        found = await definitions.machine(arn.account, arn.name)
    if found is None:
        raise no_resource(text)
    return arn, found.tags


async def _store(service: Service, arn: Arn, tags: Mapping[str, str]) -> Answer:
    replace = service.store.definitions.tag_activity if arn.kind == "activity" else service.store.definitions.tag_machine
    await replace(arn.account, arn.name, tags)
    return {}
