"""Where everything lies: one table, `pk` and `sk`, and three indexes that only lists read.

    pk                   sk                            what
    x#ID                 h                             the head of an execution
    x#ID                 c#FIRST                       a chunk of its log
    x#ID                 f#EPOCH#NUMBER                facts, by the epoch that wrote them
    x#ID                 s#EPOCH                       a snapshot
    x#ID                 i#DELIVERY                    a delivery in its inbox
    x#ID                 k#ATTEMPT                     where its open activity task waits
    x#ID                 r#EPOCH                       what is left to do of a step too large for one transaction
    x#ID                 b#TOKEN#PART                  part of a long value
    n#HASH               n                             (account, machine, name) -> ID
    due#SHARD            WAKE#ID                       a running execution without an owner that wakes
    own#SHARD            NODE#ID                       a running execution that a node owns
    dlv#SHARD            d#DELIVERY                    a delivery that nobody has consumed: makes its id unique
    redo                 ID                            executions that have an r# item
    act#ACTIVITY         SCHEDULED#ORDER#ID#ATTEMPT    an open activity task
    nodes                n#NODE                        a node's counter
    m#ACCOUNT            n#NAME                        a state machine
    a#ACCOUNT            n#NAME                        an activity
    v#REVISION           v                             a revision, b#... its parts
    d#ACCOUNT#KIND       d#ID                          a document, b#... its parts
    l#ALIAS              l                             whose an alias is; it counts if that document has it
    schema               schema                        version and shards of this table

Numbers in keys have 20 digits, so that they sort. What is needed to go on (f, h, i, k, r, s) sorts after the log and the
parts, so that one query reads it. Partitions that every execution writes to are sharded by the execution's id.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING
from zlib import crc32

from flowrunner.stores.dynamodb.values import Item

if TYPE_CHECKING:
    from flowrunner.ports.executions import ActivityTask, Head

Key = tuple[str, str]
HEAD = "h"
GOING_ON = "f"  # the first sort key of what is needed to go on
LEFT = "r#"  # what the sort keys of what is left to do begin with
AFTER = "\U0010ffff"  # sorts after every character
SCHEMA: Key = ("schema", "schema")
NODES = "nodes"
REDO = "redo"

# Index name -> its partition attribute; all sort by `gs`. `go` is absent from executions that have succeeded.
INDEXES = {"by_account": "ga", "by_machine": "gm", "by_status": "go"}


def wire(key: Key) -> Item:
    """A key as an item."""
    return {"pk": {"S": key[0]}, "sk": {"S": key[1]}}


def key_of(item: Item) -> Key:
    """The key of an item."""
    return item["pk"]["S"], item["sk"]["S"]


def number(value: int) -> str:
    """A number that sorts as text."""
    return f"{value:020}"


def digest(*texts: str) -> str:
    """A short name for texts of any length that may hold anything: 160 bits, so nobody finds two with the same."""
    made = blake2b(digest_size=20)
    for text in texts:
        data = text.encode()
        made.update(len(data).to_bytes(4, "big") + data)
    return made.hexdigest()


def partition(execution: str) -> str:
    """Where all that belongs to an execution lies."""
    return f"x#{execution}"


def head_key(execution: str) -> Key:
    """The head."""
    return partition(execution), HEAD


def name_key(account: str, machine: str, name: str) -> Key:
    """The item that makes a name unique."""
    return f"n#{digest(account, machine, name)}", "n"


def chunk_key(execution: str, first_seq: int) -> Key:
    """A chunk."""
    return partition(execution), f"c#{number(first_seq)}"


def facts_key(execution: str, epoch: int, fact_number: int) -> Key:
    """The facts that the step to this epoch brought."""
    return partition(execution), f"f#{number(epoch)}#{number(fact_number)}"


def epoch_of(sk: str) -> int:
    """The epoch in the key of facts or of a snapshot."""
    return int(sk.split("#")[1])


def number_of(sk: str) -> int:
    """The number in the key of facts."""
    return int(sk.split("#")[2])


def snapshot_key(execution: str, epoch: int) -> Key:
    """The snapshot that the step to this epoch brought."""
    return partition(execution), f"s#{number(epoch)}"


def redo_key(execution: str, epoch: int) -> Key:
    """What the step to this epoch has left to do."""
    return partition(execution), f"r#{number(epoch)}"


def inbox_key(execution: str, delivery: str) -> Key:
    """A delivery in its inbox."""
    return partition(execution), f"i#{delivery}"


def opened_key(execution: str, attempt: int) -> Key:
    """Which task of an activity an attempt is."""
    return partition(execution), f"k#{number(attempt)}"


def task_key(task: ActivityTask, order: int) -> Key:
    """Where an open task waits for a worker."""
    return f"act#{task.activity}", f"{number(task.scheduled_at)}#{number(order)}#{task.execution}#{task.attempt}"


def node_key(node: str) -> Key:
    """The counter of a node."""
    return NODES, f"n#{node}"


def document_key(account: str, kind: str, name: str) -> Key:
    """A document; `name` is its id."""
    return f"d#{account}#{kind}", f"d#{name}"


def alias_key(alias: str) -> Key:
    """Whose an alias is."""
    return f"l#{alias}", "l"


def node_prefix(node: str) -> str:
    """What the sort keys of a node's executions begin with: no two nodes share it, and none begins with another's."""
    return node.replace("%", "%25").replace("#", "%23") + "#"


class Shards:
    """The keys that are spread over `count` partitions."""

    def __init__(self, count: int) -> None:
        self.count = count

    def of(self, text: str) -> int:
        """Which one."""
        return crc32(text.encode()) % self.count

    def all(self, kind: str) -> list[str]:
        """All partitions of a kind."""
        return [f"{kind}#{shard}" for shard in range(self.count)]

    def due_key(self, head: Head) -> Key | None:
        """Where the execution waits to be looked at; None if it does not."""
        if head.status != "RUNNING" or head.owner is not None or head.wake_at is None:
            return None
        return f"due#{self.of(head.id)}", f"{number(head.wake_at)}#{head.id}"

    def owned_keys(self, head: Head) -> dict[Key, str]:
        """Under which nodes the execution is; the node of each key."""
        if head.status != "RUNNING" or head.owner is None:
            return {}
        return {(f"own#{self.of(head.id)}", node_prefix(node) + head.id): node for node in head.owner.split(",")}

    def delivery_key(self, delivery: str) -> Key:
        """The item that makes a delivery's id unique."""
        return f"dlv#{self.of(delivery)}", f"d#{delivery}"

    def index(self, head: Head) -> Mapping[str, str | None]:
        """The attributes of the indexes."""
        shard = self.of(head.id)
        return {
            "ga": f"{digest(head.account)}#{shard}",
            "gm": f"{digest(head.account, head.machine)}#{shard}",
            "go": None if head.status == "SUCCEEDED" else f"{digest(head.account, head.status)}#{shard}",
            "gs": f"{number(head.started_at)}#{head.id}",
        }
