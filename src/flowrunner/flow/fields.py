"""The members of a flow, as data: the reader checks them, the JSON Schema is made of them, the reference page tells of them.

A type is the name of what a value must be: ``text``, ``object``, ``number``, ``count``, ``percent``, ``duration``, ``limit`` (a duration of more than nothing), ``flag``, ``script``,
``any``, ``edges``, or a tuple of words of which it must be one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flowrunner.jsonvalue import JSONValue


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object: its type, what it means, and what counts without it."""

    type: str | tuple[str, ...]
    meaning: str
    required: bool = False
    default: JSONValue = None
    least: int = 0


Members = Mapping[str, Member]

STRATEGIES = ("serial", "async", "parallel", "worker_pool")
BACKOFFS = ("fixed", "linear", "exponential")

FLOW: Members = {
    "metadata": Member("object", "What the flow is called, and more about it.", required=True),
    "start": Member("text", "The node to start with, where every node is pointed to by another."),
    "timeout": Member("limit", "The longest an execution may take; then it fails."),
    "variables": Member("object", "Constants that scripts read as `variables.NAME`."),
    "shared": Member("object", "What `shared` holds when an execution begins."),
    "nodes": Member("object", "The nodes by their names.", required=True),
}
METADATA: Members = {
    "name": Member("text", "The name of the flow.", required=True),
    "description": Member("text", "What the flow is for."),
    "version": Member("version", "The author's version.", default="1.0.0"),
    "author": Member("text", "Who wrote it."),
    "tags": Member("texts", "Words to find it by."),
    "category": Member("text", "A word to sort it by."),
    "custom": Member("object", "Anything else; shown with the flow."),
    "start": Member("text", "As `start` of the flow."),
    "timeout": Member("limit", "As `timeout` of the flow."),
}
NODE: Members = {
    "type": Member("text", "The kind of the node.", required=True),
    "description": Member("text", "What the node is for."),
    "params": Member("object", "What the kind asks for; texts may hold `${ javascript }`."),
    "next": Member("edges", "The node to go on with for each action; `default` for all other actions, `error` and `timeout` for failures."),
    "retry": Member("object", "When and how often a failed node is tried again."),
    "timeout": Member("limit", "The longest one attempt may take."),
    "batch": Member("object", "Run the node on each of many items."),
    "hooks": Member("object", "JavaScript that runs around the node's own work, within the same attempt."),
    "progress": Member("percent", "How far the flow has come when it enters the node, in percent."),
}
RETRY: Members = {
    "max_retries": Member("count", "Retries after the first attempt.", default=3),
    "wait": Member("duration", "Before the first retry.", default="1s"),
    "backoff": Member(BACKOFFS, "How the wait grows: not at all, by itself, or to its double with each retry.", default="fixed"),
    "jitter": Member("flag", "Whether a wait is a random part of what it would be.", default=False),
    "max_wait": Member("duration", "The longest wait."),
}
BATCH: Members = {
    "strategy": Member(
        STRATEGIES, "One batch after another (`serial`, `async`), several at once (`parallel`), or one item each (`worker_pool`).", default="serial"
    ),
    "max_parallel": Member("count", "How many at once.", least=1),
    "batch_size": Member("count", "Items of one batch.", default=1, least=1),
    "items": Member("any", "The items. Default: `input.items`."),
}
HOOKS: Members = {
    "prep": Member(
        "script",
        "Before the node (each batch, each look of a `wait`): what it returns, unless nothing, is the node's input. Names such as `item` and `attempt` stay.",
    ),
    "exec": Member("script", "After the node (for each batch), which it sees as `output`: what it returns, unless nothing, is the result."),
    "post": Member("script", "At last, once for all batches, with `output` and `action`: what it returns, unless nothing, is the action."),
}
EXTENSION = "x-"  # members of a flow with such names are the author's own: a place for YAML anchors
