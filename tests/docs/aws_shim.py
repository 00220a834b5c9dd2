"""`aws stepfunctions ...` as far as the documentation uses it, on the service model of botocore: the AWS CLI itself is not a dependency."""

import sys
from pathlib import Path

import boto3
import jmespath
import orjson
from botocore import xform_name


def main(arguments):
    service, operation, *rest = arguments
    client = boto3.client(service)
    method = operation.replace("-", "_")
    members = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[method]).input_shape.members
    options = {xform_name(name, "-"): (name, shape) for name, shape in members.items()}
    given, query, form = {}, None, "json"
    while rest:
        option = rest.pop(0).removeprefix("--")
        if option == "query":
            query = rest.pop(0)
        elif option == "output":
            form = rest.pop(0)
        else:
            name, shape = options[option.removeprefix("no-")]
            if shape.type_name == "boolean":
                given[name] = not option.startswith("no-")
            else:
                value = rest.pop(0)
                value = Path(value.removeprefix("file://")).read_text() if value.startswith("file://") else value
                given[name] = int(value) if shape.type_name == "integer" else value
    answer = getattr(client, method)(**given)
    del answer["ResponseMetadata"]
    shown = jmespath.search(query, answer) if query else answer
    sys.stdout.write((shown if form == "text" else orjson.dumps(shown, default=str, option=orjson.OPT_INDENT_2).decode()) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
