"""What would mend a finding of flows and workflows, by its code, where the finding itself tells nothing nearer."""

from __future__ import annotations

from collections.abc import Mapping

HINTS: Mapping[str, str] = {
    "INVALID_JSON_DESCRIPTION": "Mend the text at this place; it is read again from its beginning.",
    "UNKNOWN_FIELD": "Take it out, or give it a name that begins with x- where the format allows members of your own.",
    "MISSING_FIELD": "Add it.",
    "INVALID_VALUE": "Write a value of the kind that the message names.",
    "INVALID_PARAMETER": "Write a value of the kind that the message names, or an expression that gives one.",
    "INVALID_EXPRESSION": 'Mend the expression. To have the characters of its opening themselves, write {{"{{"}} in a workflow, \\${ in a flow.',
    "UNKNOWN_KIND": "The kinds are listed in the reference, and by GET /api/v1/plugins.",
    "MISSING_NODE": "Name a node of the flow, or take the edge out.",
    "NO_START_NODE": "Name the node to start with: start: NAME.",
    "MULTIPLE_START_NODES": "Name the node to start with (start: NAME), or lead an edge to all but one.",
    "UNREACHABLE_NODE": "Lead an edge to it, or take it out.",
    "CANNOT_CONVERT": "Keep it as it is, or write this part in another way.",
    "NUMBERS_IN_TEXTS": "Where that matters, let a step or a script make the text.",
    "ACTION_WITHOUT_EDGE": "Add an edge for it, or 'default' for all others.",
    "HAS_NO_EFFECT": "Take it out.",
    "IGNORED_FIELD": "Take it out, or put it where it has an effect.",
    "CONTRADICTING_FIELDS": "Keep one of the two.",
    "NEVER_RUNS": "Put it where it can run, or take it out.",
    "HIDDEN_VARIABLE": "Call one of them otherwise.",
    "DUPLICATE_ID": "Give one of them another id.",
    "MISSING_DEPENDENCY": "Name a step of the same level.",
    "CYCLIC_DEPENDENCY": "Take one of these dependencies out.",
    "SECRET_IN_EXPRESSION": "Give the secret a member of its own.",
    "SECRET_NOT_READ": "Name the secret in the config of the step that sends it.",
    "SCRIPT_IS_NOT_FILLED": "Read the variable by its name in the script.",
}
