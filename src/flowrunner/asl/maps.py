"""What only a Map has: its processor's configuration, reader, batcher, writer and label.

Source: Step Functions Developer Guide, "Map workflow state", "Distributed mode" and its field pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from flowrunner.asl import fields as table
from flowrunner.asl.expressions import Scope, field_of, optional_template
from flowrunner.asl.fields import checked
from flowrunner.asl.integrations import READERS, WRITERS
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.reading.findings import SCHEMA, Place

MAX_LABEL_LENGTH = 40  # characters; Developer Guide, "Label"
_LABEL_REFUSED = frozenset('?*<>{}[]:;,\\|^~$#%&`"')  # Developer Guide, "Label"; white space and control characters too
_DISTRIBUTED_ONLY = ("ItemReader", "ItemBatcher", "ResultWriter")
_IDLE_INLINE = (  # accepted by AWS in an inline Map, as far as is known, and without effect there
    *("ToleratedFailureCount", "ToleratedFailureCountPath", "ToleratedFailurePercentage", "ToleratedFailurePercentagePath"),
    "Label",
)
WITHOUT_EFFECT = "FIELD_WITHOUT_EFFECT"


class MapParts(NamedTuple):
    """A Map's own fields. `processor` has passed its table; its place is that of ItemProcessor or Iterator."""

    processor: JSONObject
    place: Place
    distributed: bool
    execution_type: str
    reader: Mapping[str, JSONValue] | None
    batcher: Mapping[str, JSONValue] | None
    writer: Mapping[str, JSONValue] | None


def map_parts(scope: Scope, fields: JSONObject, *, express: bool) -> MapParts | None:
    """Check and compile them; None when there is no processor."""
    reader, batcher, writer = _reader(scope, fields), _batcher(scope, fields), _writer(scope, fields)
    _check_label(scope, fields.get("Label"))
    name = "Iterator" if "Iterator" in fields and "ItemProcessor" not in fields else "ItemProcessor"
    if name not in fields:
        return None  # told
    inner = scope.at(name)
    processor = checked(scope.found, fields[name], inner.place, table.PROCESSOR, scope.language)
    if processor is None:
        return None
    raw = processor.get("ProcessorConfig", {})
    config = checked(scope.found, raw, inner.at("ProcessorConfig").place, table.PROCESSOR_CONFIG, scope.language) or {}
    mode = config.get("Mode")
    distributed = mode == "DISTRIBUTED"
    if distributed and express:
        inner.error("The field 'Mode' with value 'DISTRIBUTED' is not supported inside 'EXPRESS' state machines", "ProcessorConfig", "Mode")
    for field in _DISTRIBUTED_ONLY:
        message = f"Field '{field}' is not supported unless the mode is 'DISTRIBUTED'"
        if field in fields and mode == "INLINE":
            scope.error(message)
        elif field in fields and mode is None:  # other validators let it pass; it has no effect
            scope.found.warning((*scope.place, field), message, WITHOUT_EFFECT)
    _check_mode(scope, fields, inner, config, distributed=distributed, typed=isinstance(raw, dict) and "ExecutionType" in raw)
    return MapParts(processor, inner.place, distributed, config.get("ExecutionType", "STANDARD"), reader, batcher, writer)


def _check_mode(scope: Scope, fields: JSONObject, processor: Scope, config: JSONObject, *, distributed: bool, typed: bool) -> None:
    """Tell what the mode makes of no use, and what a distributed Map must have at AWS."""
    if distributed:
        if not typed:
            scope.found.refuse(processor.at("ProcessorConfig").place, "These fields are required: [ExecutionType]", SCHEMA)
        return
    if isinstance(fields.get("Items"), dict):
        message = "Only a distributed Map iterates over the members of an object; here the state fails"
        scope.found.warning((*scope.place, "Items"), message, "ITEMS_NOT_AN_ARRAY")
    for field in _IDLE_INLINE:
        if field in fields:
            scope.found.warning((*scope.place, field), f"Field '{field}' has no effect unless the mode is 'DISTRIBUTED'", WITHOUT_EFFECT)
    if "ExecutionType" in config and config.get("Mode") == "INLINE":
        scope.found.refuse(processor.at("ProcessorConfig").place, "Field 'ExecutionType' is not supported", SCHEMA)
    elif "ExecutionType" in config:
        place = processor.at("ProcessorConfig", "ExecutionType").place
        scope.found.warning(place, "Field 'ExecutionType' has no effect unless the mode is 'DISTRIBUTED'", WITHOUT_EFFECT)


def _reader(scope: Scope, fields: JSONObject) -> Mapping[str, JSONValue] | None:
    """``Resource``; ``Arguments`` (compiled, Parameters too); ``ReaderConfig`` as written; ``MaxItems`` as a Field."""
    if "ItemReader" not in fields:
        return None
    inner = scope.at("ItemReader")
    reader = checked(scope.found, fields["ItemReader"], inner.place, table.READER, scope.language) or {}
    resource = reader.get("Resource")
    if resource is not None and not READERS.fullmatch(resource):
        allowed = "[arn:<partition>:states:::s3:getObject, arn:<partition>:states:::s3:listObjectsV2]"
        inner.error(f"The field 'Resource' does not match any of the allowed values. Examples: {allowed}", "Resource")
    below = inner.at("ReaderConfig")
    config = checked(scope.found, reader.get("ReaderConfig", {}), below.place, table.READER_CONFIG, scope.language) or {}
    return {
        "Resource": resource,
        "Arguments": optional_template(inner, reader, "Parameters", "Arguments"),
        "ReaderConfig": config,
        "MaxItems": field_of(below, config, "MaxItems"),
    }


def _batcher(scope: Scope, fields: JSONObject) -> Mapping[str, JSONValue] | None:
    """``MaxItemsPerBatch`` and ``MaxInputBytesPerBatch`` as Fields, ``BatchInput`` compiled."""
    if "ItemBatcher" not in fields:
        return None
    inner = scope.at("ItemBatcher")
    batcher = checked(scope.found, fields["ItemBatcher"], inner.place, table.BATCHER, scope.language)
    if batcher is None:
        return None
    limits = {name: field_of(inner, batcher, name) for name in ("MaxItemsPerBatch", "MaxInputBytesPerBatch")}
    if not any(name.startswith("Max") for name in fields["ItemBatcher"]):
        inner.error("At least one of these fields is required: [MaxItemsPerBatch, MaxInputBytesPerBatch]")
    return {**limits, "BatchInput": optional_template(inner, batcher, "BatchInput")}


def _writer(scope: Scope, fields: JSONObject) -> Mapping[str, JSONValue] | None:
    """``Resource``; ``Arguments`` (compiled, Parameters too); ``WriterConfig`` as written."""
    if "ResultWriter" not in fields:
        return None
    inner = scope.at("ResultWriter")
    writer = checked(scope.found, fields["ResultWriter"], inner.place, table.WRITER, scope.language) or {}
    resource = writer.get("Resource")
    if resource is not None and not WRITERS.fullmatch(resource):
        inner.error("The field 'Resource' does not match any of the allowed values. Examples: [arn:<partition>:states:::s3:putObject]", "Resource")
    config = checked(scope.found, writer.get("WriterConfig", {}), inner.at("WriterConfig").place, table.WRITER_CONFIG, scope.language)
    return {"Resource": resource, "Arguments": optional_template(inner, writer, "Parameters", "Arguments"), "WriterConfig": config or {}}


def _check_label(scope: Scope, label: str | None) -> None:
    if label is None:
        return
    if len(label) > MAX_LABEL_LENGTH:
        scope.found.error((*scope.place, "Label"), f"Label has more than {MAX_LABEL_LENGTH} characters", "INVALID_LABEL_NAME")
    refused = next((c for c in label if c in _LABEL_REFUSED or c.isspace() or not c.isprintable()), None)
    if refused is not None:
        scope.found.error((*scope.place, "Label"), f"Label contains invalid character: {refused!r}", "INVALID_LABEL_NAME")
