"""The stand-in for DynamoDB: moto, made quicker for long tests, answers as moto's own server does."""

import json
import os
import subprocess
import sys

import httpx
import pytest

from flowrunner.stores.dynamodb.settings import read_settings

# moto's own server, as it comes: in a process of its own, so that nothing of ours touches it.
UNCHANGED = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""
AUTHORIZATION = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=none"
ONCE = {"CreationDateTime", "TableId", "LatestStreamLabel", "LatestStreamArn"}  # another one for each table
TABLE = f"stand-in-{os.getpid()}"


def at(pk, sk):
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def key(pk, sk, **more):
    return {"TableName": TABLE, "Key": at(pk, sk), **more}


def put(pk, sk, item=None, **more):
    return {"TableName": TABLE, "Item": {**at(pk, sk), **(item or {})}, **more}


def update(pk, sk, expression, values=None, **more):
    given = {"ExpressionAttributeValues": values} if values else {}
    return key(pk, sk, UpdateExpression=expression, **given, **more)


def query(condition, values, **more):
    return {"TableName": TABLE, "KeyConditionExpression": condition, "ExpressionAttributeValues": values, **more}


NAMED = {"IndexName": "by_name", "KeySchema": [{"AttributeName": "name", "KeyType": "HASH"}, {"AttributeName": "when", "KeyType": "RANGE"}]}
CREATE = {
    "TableName": TABLE,
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind in (("pk", "S"), ("sk", "S"), ("name", "S"), ("when", "N"))],
    "GlobalSecondaryIndexes": [{**NAMED, "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["text"]}}],
    "BillingMode": "PAY_PER_REQUEST",
}
EVERY_TYPE = {
    "text": {"S": "zwölf Boxkämpfer 𝄞"}, "empty": {"S": ""}, "number": {"N": "1.50"}, "large": {"N": "12345678901234567890123456789012345678"},
    "small": {"N": "-1E-7"}, "bytes": {"B": "AAECAw=="}, "yes": {"BOOL": True}, "no": {"BOOL": False}, "nothing": {"NULL": True},
    "texts": {"SS": ["b", "a"]}, "numbers": {"NS": ["2", "1"]}, "some": {"BS": ["AA==", "AQ=="]},
    "list": {"L": [{"S": "a"}, {"N": "1"}, {"L": []}, {"M": {}}]}, "map": {"M": {"S": {"S": "a"}, "in": {"M": {"deep": {"L": [{"NULL": True}]}}}, "N": {"N": "1"}}},
}  # fmt: skip
MANY = [
    put("many", f"{number:03}", {"name": {"S": "n" if number % 2 else "m"}, "when": {"N": str(3 * number)}, "text": {"S": "x" * number}})
    for number in range(12)
]
PAGE = query("pk = :p AND sk > :s", {":p": {"S": "many"}, ":s": {"S": "002"}}, Limit=4)
OF_INDEX = query("#n = :n AND #w BETWEEN :a AND :b", {":n": {"S": "n"}, ":a": {"N": "2"}, ":b": {"N": "30"}})
OF_INDEX |= {"IndexName": "by_name", "ExpressionAttributeNames": {"#n": "name", "#w": "when"}}
COUNT = {":one": {"N": "1"}}
IS_NEW = "attribute_not_exists(pk)"
OLD = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
WRITTEN = [
    {"Put": put("t", "1", {"count": {"N": "1"}}, ConditionExpression=IS_NEW)},
    {"Update": update("t", "2", "SET #c = :one", COUNT, ExpressionAttributeNames={"#c": "count"})},
    {"Delete": key("many", "011")},
    {"ConditionCheck": key("every", "type", ConditionExpression="attribute_exists(pk)")},
]
MORE = {"Update": update("t", "2", "SET #c = #c + :one", COUNT, ExpressionAttributeNames={"#c": "count"})}
# In this order: each finds what those before it have left.
REQUESTS = [
    ("DescribeTable", {"TableName": TABLE}),
    ("PutItem", put("a", "b")),
    ("CreateTable", CREATE),
    ("CreateTable", CREATE),
    ("DescribeTable", {"TableName": TABLE}),
    ("UpdateTimeToLive", {"TableName": TABLE, "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "expires"}}),
    ("DescribeTimeToLive", {"TableName": TABLE}),
    ("GetItem", key("every", "type")),
    ("PutItem", put("every", "type", EVERY_TYPE)),
    ("PutItem", put("every", "type", EVERY_TYPE, ReturnValues="ALL_OLD")),
    ("GetItem", key("every", "type", ConsistentRead=True)),
    ("GetItem", key("every", "type", ProjectionExpression="#m.#i, texts, #l[1], absent", ExpressionAttributeNames={"#m": "map", "#i": "in", "#l": "list"})),
    ("GetItem", key("every", "type", ReturnConsumedCapacity="TOTAL")),
    ("PutItem", put("every", "type", ConditionExpression=IS_NEW)),
    ("PutItem", put("every", "type", ConditionExpression=IS_NEW, **OLD)),
    ("PutItem", {"TableName": TABLE, "Item": {"pk": {"S": "a"}}}),
    ("PutItem", put("a", "b", {"pk": {"N": "1"}})),
    ("PutItem", {**put("a", "b"), "TableName": "nothing"}),
    ("UpdateItem", update("counter", "1", "SET #c = :one, made = :one", COUNT, ExpressionAttributeNames={"#c": "count"}, ReturnValues="ALL_NEW")),
    ("UpdateItem", update("counter", "1", "SET #c = #c + :one", COUNT, ExpressionAttributeNames={"#c": "count"}, ReturnValues="UPDATED_OLD")),
    ("UpdateItem", update("counter", "1", "ADD #c :one REMOVE made", COUNT, ExpressionAttributeNames={"#c": "count"}, ReturnValues="UPDATED_NEW")),
    ("UpdateItem", update("counter", "1", "SET made = if_not_exists(made, :t)", {":t": {"S": "now"}}, ReturnValues="ALL_OLD")),
    ("UpdateItem", update("counter", "1", "SET made = :one", COUNT | {":x": {"S": "other"}}, ConditionExpression="made = :x")),
    ("UpdateItem", update("counter", "1", "SET made = :one", COUNT | {":x": {"S": "other"}}, ConditionExpression="made = :x", **OLD)),
    ("UpdateItem", update("counter", "1", "SET made = :absent", COUNT)),
    ("UpdateItem", update("counter", "1", "SET pk = :one", COUNT)),
    ("UpdateItem", update("counter", "1", "MAKE IT SO", COUNT)),
    ("UpdateItem", update("every", "type", "ADD numbers :n DELETE texts :s SET #l = list_append(#l, :l)",
        {":n": {"NS": ["3"]}, ":s": {"SS": ["a"]}, ":l": {"L": [{"S": "end"}]}}, ExpressionAttributeNames={"#l": "list"}, ReturnValues="ALL_NEW")),
    *(("PutItem", one) for one in MANY),
    ("Query", query("pk = :p", {":p": {"S": "many"}})),
    ("Query", query("pk = :p", {":p": {"S": "many"}}, ScanIndexForward=False, ProjectionExpression="sk")),
    ("Query", query("pk = :p AND begins_with(sk, :s)", {":p": {"S": "many"}, ":s": {"S": "00"}}, Select="COUNT")),
    ("Query", query("pk = :p AND sk BETWEEN :a AND :b", {":p": {"S": "many"}, ":a": {"S": "003"}, ":b": {"S": "005"}}, ConsistentRead=True)),
    ("Query", query("pk = :p", {":p": {"S": "many"}, ":t": {"S": "xxx"}}, FilterExpression="#t < :t", ExpressionAttributeNames={"#t": "text"}, Limit=5)),
    ("Query", PAGE),
    ("Query", {**PAGE, "ExclusiveStartKey": at("many", "006")}),
    ("Query", {**PAGE, "ExclusiveStartKey": at("many", "010"), "ScanIndexForward": True}),
    ("Query", query("pk = :p", {":p": {"S": "nobody"}})),
    ("Query", query("sk = :p", {":p": {"S": "many"}})),
    ("Query", query("pk = :absent", {":p": {"S": "many"}})),
    ("Query", OF_INDEX),
    ("Query", {**OF_INDEX, "ScanIndexForward": False, "Limit": 2}),
    ("Query", {**OF_INDEX, "IndexName": "nothing"}),
    ("Scan", {"TableName": TABLE}),
    ("Scan", {"TableName": TABLE, "Limit": 5}),
    ("Scan", {"TableName": TABLE, "Limit": 5, "ExclusiveStartKey": at("many", "004"), "ProjectionExpression": "pk, sk"}),
    ("Scan", {"TableName": TABLE, "FilterExpression": "attribute_exists(made)"}),
    ("DeleteItem", key("many", "000", ReturnValues="ALL_OLD")),
    ("DeleteItem", key("many", "000", ReturnValues="ALL_OLD")),
    ("DeleteItem", key("many", "001", ConditionExpression="attribute_exists(absent)", **OLD)),
    ("BatchWriteItem", {"RequestItems": {TABLE: [{"PutRequest": {"Item": at("batch", name)}} for name in "abc"] + [{"DeleteRequest": {"Key": at("many", "002")}}]}}),
    ("BatchWriteItem", {"RequestItems": {TABLE: [{"PutRequest": {"Item": at("batch", "twice")}}] * 2}}),
    ("BatchGetItem", {"RequestItems": {TABLE: {"Keys": [at("batch", name) for name in ("c", "a", "absent")], "ConsistentRead": True}}}),
    ("BatchGetItem", {"RequestItems": {TABLE: {"Keys": [at("batch", "a"), at("many", "003")], "ProjectionExpression": "sk"}}}),
    ("TransactWriteItems", {"TransactItems": WRITTEN, "ClientRequestToken": "one"}),
    ("GetItem", key("t", "2")),
    ("TransactWriteItems", {"TransactItems": [MORE, {"Put": put("t", "1", ConditionExpression=IS_NEW, **OLD)}, *WRITTEN[3:]]}),
    ("TransactWriteItems", {"TransactItems": [{"Put": put("t", "3")}, {"ConditionCheck": key("t", "4", ConditionExpression="attribute_exists(pk)")}]}),
    ("TransactWriteItems", {"TransactItems": [{"Put": put("t", "5")}, {"Delete": key("t", "5")}]}),
    ("TransactWriteItems", {"TransactItems": [MORE]}),
    ("TransactWriteItems", {"TransactItems": [{"Update": update("t", "2", "SET #c = :absent", COUNT, ExpressionAttributeNames={"#c": "count"})}]}),
    ("TransactWriteItems", {"TransactItems": [{"Put": {**put("t", "6"), "TableName": "nothing"}}]}),
    ("Query", query("pk = :p", {":p": {"S": "t"}})),
    ("Scan", {"TableName": TABLE, "Select": "COUNT"}),
    ("DescribeTable", {"TableName": TABLE}),
    ("DeleteTable", {"TableName": TABLE}),
    ("DescribeTable", {"TableName": TABLE}),
]  # fmt: skip


@pytest.fixture(scope="module")
def unchanged():
    """The address of moto's own server."""
    pytest.importorskip("moto")
    with subprocess.Popen([sys.executable, "-c", UNCHANGED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.stdin.close()


@pytest.fixture
def changed(dynamodb):
    """The address of the stand-in that all tests use."""
    if "FLOWRUNNER_TEST_DYNAMODB_URL" in os.environ:
        pytest.skip("the tests have another DynamoDB than ours")
    return read_settings(dynamodb).endpoint


def lasting(value):
    """The value without what is another one each time."""
    if isinstance(value, dict):
        return {name: lasting(part) for name, part in value.items() if name not in ONCE}
    return [lasting(part) for part in value] if isinstance(value, list) else value


def ask(client, operation, given):
    headers = {"x-amz-target": f"DynamoDB_20120810.{operation}", "content-type": "application/x-amz-json-1.0", "authorization": AUTHORIZATION}
    answer = client.post("/", content=json.dumps(given), headers=headers)
    return answer.status_code, answer.headers.get("content-type"), lasting(answer.json())


def test_it_answers_as_moto_does(unchanged, changed):
    """Each request in turn: the same status and the same body, also of what is refused; so a transaction that is cancelled leaves the same behind."""
    told = []
    with httpx.Client(base_url=unchanged, trust_env=False, timeout=30) as plain, httpx.Client(base_url=changed, trust_env=False, timeout=30) as quick:
        for operation, given in REQUESTS:
            told.append(ask(plain, operation, given))
            assert ask(quick, operation, given) == told[-1], (operation, given)
    statuses = [status for status, *_ in told]
    assert set(statuses) == {200, 400}
    assert min(statuses.count(200), statuses.count(400)) >= 15
