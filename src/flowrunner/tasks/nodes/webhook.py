"""The kind ``webhook``: events signed as https://www.standardwebhooks.com has it (checked 2026-11)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from datetime import UTC, datetime

from flowrunner.clock import Clock
from flowrunner.jsonvalue import dumps
from flowrunner.kinds.http import WEBHOOK
from flowrunner.tasks.client import GuardedClient
from flowrunner.tasks.nodes.kind import NodeCall, NodeFailed, NodeKind, NodeResult
from flowrunner.tasks.nodes.reading import bad, flag, optional_text, seconds, text
from flowrunner.tasks.nodes.sending import Request, headers_of, send
from flowrunner.tasks.secrecy import expose, hidden

REFUSED = "FlowRunner.WebhookRefused"
_PREFIX = "whsec_"
_SHOWN_CHARACTERS = 500
_ID = re.compile(r"[!-~]{1,255}")


class Webhook(NodeKind):
    """Posts an event; a receiver tells a repeated one by its id."""

    info = WEBHOOK

    def __init__(self, client: GuardedClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    def idempotent(self, call: NodeCall) -> bool:
        """An event whose author names it may be sent twice: its receiver tells it by the name."""
        return "id" in call.params

    async def run(self, call: NodeCall) -> NodeResult:
        """``{status, status_code, id, signed}``. Raises NodeFailed ``FlowRunner.WebhookRefused`` for a status outside 200-299."""
        now = self._clock.now()
        key = optional_text(call.params, "id") or f"msg_{hashlib.sha256(call.key.encode()).hexdigest()[:32]}"
        if not _ID.fullmatch(key):
            raise bad("The parameter 'id' has 1 to 255 visible ASCII characters.")
        payload = call.params.get("payload", call.input)
        event = {
            "type": text(call.params, "event", default="flow.node"),
            "timestamp": datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "execution_id": call.execution,
            "node_id": call.state,
            "data": payload,
        }
        body = dumps(payload if flag(call.params, "whole", default=False) else event).encode()
        headers = headers_of(call.params) | {"Content-Type": "application/json", "webhook-id": key, "webhook-timestamp": str(now // 1000)}
        secret = optional_text(call.params, "secret")
        if secret:
            headers["webhook-signature"] = signature(secret, key, now // 1000, body)
        request = Request("POST", text(call.params, "url"), headers, body, seconds(call.params, "timeout", default=30.0, high=300.0), 0)
        answer = await send(self._client, request)
        if not 200 <= answer.status <= 299:
            said = hidden(answer.body.decode("utf-8", "replace"))[:_SHOWN_CHARACTERS]
            raise NodeFailed(f"The receiver answered {answer.status} {answer.reason}: {said}", error=REFUSED)
        return NodeResult({"status": "sent", "status_code": answer.status, "id": key, "signed": bool(secret)})


def signature(secret: str, key: str, timestamp: int, body: bytes) -> str:
    """``v1,BASE64`` of the HMAC-SHA256 over ``ID.TIMESTAMP.BODY``; a secret that begins with ``whsec_`` is base64. Raises NodeFailed."""
    if secret.startswith(_PREFIX):
        try:
            signing = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raise bad("The parameter 'secret' begins with whsec_ but is no base64.") from None
    else:
        signing = secret.encode()
    made = base64.b64encode(hmac.digest(signing, f"{key}.{timestamp}.".encode() + body, "sha256")).decode()
    expose([secret])
    return f"v1,{made}"
