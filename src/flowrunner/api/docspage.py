"""The OpenAPI document as one page of plain HTML: no script, nothing loaded from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Any

import orjson

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d2733;background:#fff}
h2{border-bottom:1px solid #d5dbe1;margin-top:2.5rem}
details{border:1px solid #d5dbe1;border-radius:6px;margin:.4rem 0;padding:.4rem .8rem}
summary{cursor:pointer}code,pre{font:13px/1.45 ui-monospace,monospace}
pre{background:#f4f6f8;padding:.8rem;border-radius:6px;overflow:auto}
.m{display:inline-block;min-width:4rem;font-weight:600}
table{border-collapse:collapse}td,th{border:1px solid #d5dbe1;padding:.2rem .6rem;text-align:left}
@media(prefers-color-scheme:dark){body{background:#12171d;color:#dfe6ee}pre{background:#1b222b}details,td,th,h2{border-color:#33404d}}
"""


def page(document: dict[str, Any]) -> str:
    """The page of a document."""
    sections: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            sections.setdefault(operation["tags"][0], []).append(_operation(path, method, operation))
    links = " · ".join(f'<a href="#{escape(_anchor(tag))}">{escape(tag)}</a>' for tag in sections)
    body = "".join(f'<h2 id="{escape(_anchor(tag))}">{escape(tag)}</h2>{"".join(parts)}' for tag, parts in sections.items())
    schemas = "".join(
        f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code></summary>{_json(schema)}</details>'
        for name, schema in sorted(document["components"]["schemas"].items())
    )
    title = f"{document['info']['title']} {document['info']['version']}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1><p>{escape(document['info']['description'])}</p>"
        f'<p><a href="/openapi.json">openapi.json</a> · <a href="/asyncapi.json">asyncapi.json</a> · {links} · <a href="#schemas">schemas</a></p>{body}<h2 id="schemas">schemas</h2>{schemas}</body></html>'
    )


def _anchor(tag: str) -> str:
    return tag.replace(" ", "-")


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [f"<p>Permission: <code>{escape(operation.get('x-permission', 'none'))}</code></p>"]
    if operation["parameters"]:
        rows = "".join(
            f"<tr><td><code>{escape(one['name'])}</code></td><td>{one['in']}</td><td>{escape(one['schema']['type'])}</td>"
            f"<td>{escape(one.get('description', ''))}</td></tr>"
            for one in operation["parameters"]
        )
        parts.append(f"<table><tr><th>Parameter</th><th>In</th><th>Type</th><th>Meaning</th></tr>{rows}</table>")
    if "requestBody" in operation:
        parts.append(f"<p>Body</p>{_json(next(iter(operation['requestBody']['content'].values()))['schema'])}")
    answers = "".join(
        f"<tr><td>{status}</td><td>{escape(told['description'])}</td><td>{_kind(told)}</td></tr>" for status, told in operation["responses"].items()
    )
    parts.append(f"<table><tr><th>Status</th><th></th><th>Body</th></tr>{answers}</table>")
    head = f'<span class="m">{method.upper()}</span> <code>{escape(path)}</code> {escape(operation["summary"])}'
    return f"<details><summary>{head}</summary>{''.join(parts)}</details>"


def _kind(told: dict[str, Any]) -> str:
    for media, content in told.get("content", {}).items():
        schema = content["schema"]
        name = (schema.get("$ref") or schema.get("items", {}).get("$ref") or "").rpartition("/")[2]
        shown = f'<a href="#schema-{escape(name)}">{escape(name)}</a>{"[]" if "items" in schema else ""}' if name else escape(str(schema.get("type", "any")))
        return f"{shown} <small>{escape(media)}</small>"
    return ""


def _json(value: Any) -> str:
    return f"<pre>{escape(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())}</pre>"
