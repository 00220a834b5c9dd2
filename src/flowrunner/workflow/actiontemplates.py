"""Whether an action template could become a step: what can be told before a step gives it the rest of its config."""

from __future__ import annotations

from collections.abc import Mapping

from flowrunner.core.diagnostics import Diagnostic
from flowrunner.jsonvalue import JSONObject
from flowrunner.kinds.check import findings as parameter_findings
from flowrunner.kinds.check import place_in
from flowrunner.kinds.info import KindInfo
from flowrunner.reading.findings import Findings
from flowrunner.reading.wording import meant
from flowrunner.workflow.compiling import Compiling, Step
from flowrunner.workflow.fields import DUPLICATE_ID, EXTENSION, INVALID_VALUE, NOT_IN_WORKFLOWS, UNKNOWN_FIELD
from flowrunner.workflow.members import MORE, check_step
from flowrunner.workflow.parse import LOWERS
from flowrunner.workflow.secrets import with_references
from flowrunner.workflow.steps import UNKNOWN_KIND, read_outputs
from flowrunner.workflow.tasks import scripts_of

GIVEN_BY_STEPS = ("required", "anyOf")  # of a kind's parameters: what is missing here may come from the step


def check_template(template: JSONObject, kinds: Mapping[str, KindInfo]) -> tuple[Diagnostic, ...]:
    """Everything that is wrong or doubtful, by ``{type, config, parameters, outputs}``, with JSON pointers into it and without lines."""
    found = Findings()
    compiling = Compiling(found=found, kinds=kinds, templates={}, lowers=LOWERS)
    step = Step("template", (), {}, template["type"], template["config"])
    info = kinds.get(step.type)
    if info is None:
        found.error(("type",), f"There is no kind of step '{step.type}'.", UNKNOWN_KIND, hint=meant(step.type, kinds))
    elif info.name in NOT_IN_WORKFLOWS:
        said = f"The kind '{info.name}' belongs to flows; a workflow has no step of it."
        found.error(("type",), said, UNKNOWN_KIND, hint=NOT_IN_WORKFLOWS[info.name])
    else:
        _check_config(compiling, step, info)
    read_outputs(compiling, template["outputs"], ("outputs",))
    names: set[str] = set()
    for index, parameter in enumerate(template["parameters"]):
        name = parameter["name"]
        if not name or "." in name or name.startswith("$"):
            said = f"The name of a parameter has no dots, does not begin with $ and is not empty: '{name}'."
            found.error(("parameters", index, "name"), said, INVALID_VALUE)
        elif name in names:
            found.error(("parameters", index, "name"), f"There is a parameter '{name}' already.", DUPLICATE_ID)
        names.add(name)
    return found.diagnostics(authored=True)


def _check_config(compiling: Compiling, step: Step, info: KindInfo) -> None:
    found = compiling.found
    scripts = scripts_of(compiling, step, info)
    config = with_references(found, {name: value for name, value in step.config.items() if name not in scripts}, ("config",))
    compiling.template(config, ("config",))
    if found.failed:
        return
    if info.structural and info.name in MORE:  # such a kind's config has more than its parameters
        check_step(compiling, step)
        return
    schema = {name: part for name, part in info.parameters.items() if name not in GIVEN_BY_STEPS}
    given = {**step.config, **config}
    for finding in parameter_findings(schema, given):
        place = ("config", *place_in(given, finding.pointer))
        if finding.code != UNKNOWN_FIELD or not str(place[-1]).startswith(EXTENSION):
            say = found.error if finding.severe else found.warning
            say(place, f"'{place[-1]}' {finding.message}.", finding.code, hint=finding.hint)
