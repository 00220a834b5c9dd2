"""Kinds that speak HTTP: http.request, webhook."""

from __future__ import annotations

from flowrunner.kinds.checks import OF_ANSWER
from flowrunner.kinds.formats import METHOD, STATUS
from flowrunner.kinds.info import KindInfo, address, anything, boolean, duration, fields, integer, listed, mapping, number, text

EGRESS = ("FlowRunner.EgressRefused", "the address is not public, and the operator has not allowed it (`[http] allow`)")
UNREACHABLE = ("States.Http.Socket", "the server could not be reached, closed the connection, or gave an answer that is not sound HTTP")
TOO_LARGE = ("States.DataLimitExceeded", "the response is larger than the limit profile allows")
BAD_PARAMETERS = ("FlowRunner.InvalidParameters", "a parameter cannot be used; the cause names it")

_AUTH = fields(
    {
        "type": text("`basic`, `bearer` or `api_key`; otherwise told by the fields that are there."),
        "username": text("For basic authentication."),
        "password": text("For basic authentication."),
        "token": text("Sent as `Authorization: Bearer TOKEN`."),
        "api_key": text("Sent as the header `key_name`."),
        "key_name": text("The header of `api_key`.", default="X-API-Key"),
    },
    description="The credential.",
)
_FILE = fields(
    {
        "name": text("The field's name in the form.", default="file"),
        "filename": text("The file's name.", default="file"),
        "content": text("The content, as text."),
        "content_base64": text("The content, in base64, when it is no text."),
        "content_type": text("Its media type.", default="application/octet-stream"),
    },
    description="A file to upload as `multipart/form-data`, beside the fields of `form_data`.",
)
HTTP_REQUEST = KindInfo(
    name="http.request",
    title="HTTP request",
    aliases=("http",),
    description=(
        "Sends a request. In a flow every answer is a result, and its status picks the edge; one of 500 to 599 is tried again first where the node has `retry`. When the server dies while a GET, HEAD or OPTIONS is under way, it is sent again; any other ends in `FlowRunner.OutcomeUnknown`. In a workflow the body's own keys stand in the output "
        "beside `status` and `response`, and a status outside 200-299 fails the step unless `expectedStatus` or `assertions` say otherwise. "
        "A body is read as JSON when its media type is `application/json` or ends in `+json`."
    ),
    parameters=fields(
        {
            "url": address("Where to, `http://` or `https://`."),
            "path": text("Instead of `url`: added to the variable `baseUrl`."),
            "method": text("GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS.", default="GET", format=METHOD),
            "headers": mapping("Headers, name to value or list of values."),
            "query": mapping("Query parameters, name to value or list of values."),
            "body": anything("The body: a text as it is, anything else as JSON."),
            "form_data": mapping("The fields of a form, sent URL encoded (with `file`: as `multipart/form-data`)."),
            "file": {**_FILE, "type": ["object", "array"], "items": _FILE},
            "auth": _AUTH,
            "bearer_token": text("Short for `auth.token`."),
            "api_key": text("Short for `auth.api_key`."),
            "key_name": text("Short for `auth.key_name`.", default="X-API-Key"),
            "username": text("Short for `auth.username`."),
            "password": text("Short for `auth.password`."),
            "follow_redirects": boolean("Whether redirects are followed; each is checked like the first address.", default=True),
            "timeout": duration("The longest the request may take, redirects and all.", "60s", limit=True),
            "expectedStatus": {"type": ["integer", "array"], "items": {"type": "integer", "format": STATUS}, "format": STATUS, "description": "In a workflow: the statuses that are a success."},
            "assertions": listed("In a workflow: checks of the answer. `{type: status_code, expected}` or `in: [...]`, `{type: json_path, path, equals}` or `exists` with a path into the body, or those of the kind assert with a path into the output.", OF_ANSWER),
        },
        any_of=("url", "path"),
    ),
    outputs=fields(
        {
            "status_code": integer("The status."),
            "headers": mapping("The response's headers, names such as `Content-Type`; repeated ones joined by a comma."),
            "body": anything("The body: JSON as a value, anything else as text."),
            "raw_body": text("The body as text."),
            "body_base64": text("The body, when it is no text."),
            "metadata": fields({"url": text("The last address."), "method": text("The method that it was asked with."), "redirects": integer("How many were followed."), "size": integer("Bytes of the body.")}),
            "success": boolean("Whether the status is 200-299. One of 300-399 that is not followed takes the action `success`, too."),
            "timing_ms": number("How long it took, in milliseconds."),
        },
        closed=False,
    ),
    actions=("success", "client_error", "server_error"),
    retried=("server_error",),
    errors=(
        EGRESS,
        UNREACHABLE,
        TOO_LARGE,
        BAD_PARAMETERS,
        ("FlowRunner.HttpStatus", "in a workflow: the status is not one of those expected; the cause has it and the begin of the body"),
        ("FlowRunner.AssertionFailed", "in a workflow: one of `assertions` does not hold"),
    ),
)  # fmt: skip
WEBHOOK = KindInfo(
    name="webhook",
    title="Webhook",
    description=(
        "Posts an event as JSON, signed as Standard Webhooks are: `webhook-id` (`id`, or else the attempt's idempotency key: each retry has another one), `webhook-timestamp` and "
        "`webhook-signature: v1,BASE64` over `ID.TIMESTAMP.BODY` with HMAC-SHA256. A status outside 200-299 fails the node, whose `retry` tries again."
    ),
    parameters=fields(
        {
            "url": address("Where to, `http://` or `https://`."),
            "payload": anything("The event's data. Default: the node's input."),
            "event": text("The event's type.", default="flow.node"),
            "id": text("The event's id, `webhook-id`, the same however often it is sent: after a crash it is sent again. Default: the attempt's own."),
            "whole": boolean("The payload is the whole body; else it is the member `data` of an event."),
            "secret": text("The signing key: `whsec_` and base64, or any text. Without one nothing is signed."),
            "headers": mapping("More headers."),
            "timeout": duration("The longest the request may take.", "30s", limit=True),
        },
        "url",
    ),
    outputs=fields({"status": text("`sent`."), "status_code": integer("The receiver's answer."), "id": text("The event's id."), "signed": boolean("Whether it was signed.")}),
    errors=(EGRESS, UNREACHABLE, BAD_PARAMETERS, ("FlowRunner.WebhookRefused", "the receiver answered with a status outside 200-299")),
)  # fmt: skip
KINDS = (HTTP_REQUEST, WEBHOOK)
