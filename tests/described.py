"""Messages beside the AsyncAPI document: what is said must be described there, member by member."""

import json

import jsonschema_rs


def _strict(schema):
    """The schema with nothing let through that it does not name; the document itself lets clients expect more to come."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _strict(part) for name, part in schema.items()}
    return {**made, "additionalProperties": False} if made.get("type") == "object" and "properties" in made else made


class Described:
    """The messages of a document, by side (`run`, `executions`, `client`) and type."""

    def __init__(self, document):
        whole = _strict(document["components"])
        self._validators = {
            key: jsonschema_rs.validator_for({**message["payload"], "components": {"schemas": whole["schemas"]}}) for key, message in whole["messages"].items()
        }
        self.seen = set()

    @property
    def keys(self):
        return set(self._validators)

    def check(self, side, message):
        """Fail unless the message is as described."""
        key = f"{side}.{message['type']}"
        assert key in self._validators, f"{key} is not described"
        self.seen.add(key)
        faults = [f"{error.instance_path}: {error.message}" for error in self._validators[key].iter_errors(message)]
        assert not faults, (faults, json.dumps(message))
