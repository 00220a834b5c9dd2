"""GetExecutionHistory: a page of an execution's log.

Records are stored as the JSON this operation answers with, so whole chunks go out as they are, without being decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from flowrunner.api.aws.faults import invalid_page_token
from flowrunner.api.aws.pages import page_position, page_token
from flowrunner.api.aws.service import DEFAULT_PAGE, Answer, Request, Service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowrunner.identity.principal import Principal
    from flowrunner.ports.executions import Chunk

DATA = frozenset({"input", "output", "parameters"})  # what includeExecutionData=false leaves out of an event's details


async def get_execution_history(service: Service, caller: Principal, request: Request) -> Answer:
    """GetExecutionHistory, oldest event first, or newest first with reverseOrder."""
    head = await service.execution(caller, request["executionArn"], "GetExecutionHistory")
    limit = request.get("maxResults") or DEFAULT_PAGE
    reverse = bool(request.get("reverseOrder"))
    listing = f"{'reversed' if reverse else 'history'}:{head.id}"
    position = page_position(request.get("nextToken"), listing, int)
    start: int = position[0] if position else (head.last_seq + 1 if reverse else 0)
    if not 0 <= start <= head.last_seq + 1:
        raise invalid_page_token()
    low, high = (max(1, start - limit), start - 1) if reverse else (start + 1, min(start + limit, head.last_seq))
    chunks = await service.store.executions.log(head.id, after=start, limit=limit, reverse=reverse) if low <= high else ()
    chunks = [chunk for chunk in chunks if chunk.first_seq <= high and chunk.first_seq + chunk.count > low]
    if reverse or request.get("includeExecutionData") is False:
        events = _decoded(chunks, low, high, reverse=reverse, data=request.get("includeExecutionData") is not False)
    else:
        events = _joined(chunks, low, high)
    more = low > 1 if reverse else high < head.last_seq
    token = b',"nextToken":"' + page_token(listing, low if reverse else high).encode() + b'"}' if more else b"}"
    return b'{"events":' + events + token


def _joined(chunks: Sequence[Chunk], low: int, high: int) -> bytes:
    """Chunks within the page as they are; those at its edges cut.

    Records that Step Functions does not know have no id. When the page's last record has its sequence number as id, there
    is none of them up to there, and nothing needs to be looked for.
    """
    if not chunks:
        return b"[]"
    newest = chunks[-1]
    plain = orjson.loads(newest.body)[-1].get("id") == newest.first_seq + newest.count - 1
    parts = []
    for chunk in chunks:
        whole = chunk.first_seq >= low and chunk.first_seq + chunk.count - 1 <= high
        parts.append(chunk.body if plain and whole else orjson.dumps(_within(chunk, low, high)))
    return parts[0] if len(parts) == 1 else b"[" + b",".join(part[1:-1] for part in parts if len(part) > 2) + b"]"


def _within(chunk: Chunk, low: int, high: int) -> list[dict[str, Any]]:
    return [record for seq, record in enumerate(orjson.loads(chunk.body), chunk.first_seq) if low <= seq <= high and "id" in record]


def _decoded(chunks: Sequence[Chunk], low: int, high: int, *, reverse: bool, data: bool) -> bytes:
    records = [record for chunk in sorted(chunks, key=lambda chunk: chunk.first_seq) for record in _within(chunk, low, high)]
    if not data:
        for record in records:
            for details in record.values():
                if isinstance(details, dict):
                    for name in DATA & details.keys():
                        del details[name]
    return orjson.dumps(records[::-1] if reverse else records)
