"""The baseline: what `record` does for image events, written with boto3 as a Python Lambda function.

It performs the same steps in the same order, writes the same items, and makes one call to DynamoDB for each step; the
benchmark checks that both functions leave the same table behind. It does less than `record`: it cannot read CloudTrail
records, and validates only the fields that it needs.
"""

import json
import os
import re
from datetime import datetime, timedelta, timezone

import boto3
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.config import Config
from botocore.exceptions import ClientError

TABLE = os.environ["TABLE_NAME"]
DYNAMODB = boto3.client("dynamodb", config=Config(retries={"mode": "standard", "max_attempts": 4}))
ATTRIBUTES = ("pushed", "replicated", "seen", "removed", "archived", "moved")
TO_ITEM = TypeSerializer().serialize
FROM_ITEM = TypeDeserializer().deserialize
REGISTRY = re.compile(r"[0-9]{12}/[a-z]+(-[a-z]+)+-[0-9]+")
REPOSITORY = re.compile(r"[a-z0-9][a-z0-9._/-]{1,255}")
DIGEST = re.compile(r"[a-z0-9+._-]+:[A-Za-z0-9=_-]+")
TAG = re.compile(r"[A-Za-z0-9._-]{1,300}")
LISTED = set()
REMEMBERED = {}
DUE_IMMEDIATELY = "1970-01-01T00:00:00Z"


def matching(pattern, text):
    if not pattern.fullmatch(text):
        raise ValueError(f"{text!r} does not match {pattern.pattern}")
    return text


def read(body):
    event = json.loads(json.loads(body)["Message"])
    if event["source"] != "aws.ecr":
        raise ValueError("not an ECR event")
    detail = event["detail"]
    time = datetime.fromisoformat(event["time"].replace("Z", "+00:00")).astimezone(timezone.utc)
    fact = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "registry": matching(REGISTRY, f"{event['account']}/{event['region']}"),
        "event_id": event["id"],
    }
    repository = matching(REPOSITORY, detail["repository-name"])
    digest = matching(DIGEST, detail["image-digest"])
    tag = detail.get("image-tag") or None
    if tag:
        matching(TAG, tag)
    if detail["result"] != "SUCCESS":
        raise ValueError("the baseline knows successes only")
    action = detail["action-type"]
    if action == "PUSH":
        fact["what"] = "pushed"
        if detail.get("artifact-media-type"):
            fact["artifact_media_type"] = detail["artifact-media-type"]
    elif action == "REPLICATE":
        fact["what"] = "replicated"
        fact["source"] = matching(REGISTRY, f"{detail['source-account']}/{detail['source-region']}")
    elif action == "DELETE":
        fact |= {"what": "tags_deleted", "tags": [tag]} if tag else {"what": "image_deleted"}
        fact["cause"] = "unknown"
    else:
        raise ValueError(f"the baseline does not know {action}")
    if tag and action != "DELETE":
        fact["tag"] = tag
    return repository, digest, tag, fact


def put(item, condition=None, names=None, values=None):
    request = {"TableName": TABLE, "Item": item, "ReturnConsumedCapacity": "TOTAL"}
    if condition:
        request["ConditionExpression"] = condition
    if names:
        request["ExpressionAttributeNames"] = names
    if values:
        request["ExpressionAttributeValues"] = values
    try:
        DYNAMODB.put_item(**request)
        return True
    except ClientError as error:
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            return False
        raise


def key(pk, sk):
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def due(queue, time):
    return {"queue": {"S": queue}, "due": {"S": time}}


def list_registry(registry):
    if registry not in LISTED:
        put(key("registries", registry) | due("watch#0", DUE_IMMEDIATELY), "attribute_not_exists(pk)")
        LISTED.add(registry)


def nearest(pk, low, high, forward):
    found, start = [], {}
    while True:
        page = DYNAMODB.query(
            TableName=TABLE,
            ConsistentRead=True,
            KeyConditionExpression="pk = :pk AND sk BETWEEN :from AND :to",
            ExpressionAttributeValues={":pk": {"S": pk}, ":from": {"S": low}, ":to": {"S": high}},
            ScanIndexForward=forward,
            Limit=4,
            ReturnConsumedCapacity="TOTAL",
            **start,
        )
        for item in page["Items"]:
            _, _, time, digest = item["sk"]["S"].split("#", 3)
            if found and found[0][0] != time:
                return found
            found.append((time, digest))
        if "LastEvaluatedKey" not in page:
            return found
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def newest(a, b):
    return max(filter(None, (a, b)), default=None)


def set_at(evidence):
    return max(filter(None, [evidence.get("pushed"), *evidence.get("replicated", {}).values()]), default=None)


def join(one, other):
    joined = {name: newest(one.get(name), other.get(name)) for name in ("pushed", "seen", "removed", "archived")}
    joined["replicated"] = dict(one.get("replicated", {}))
    for source, time in other.get("replicated", {}).items():
        joined["replicated"][source] = newest(joined["replicated"].get(source), time)
    ends = [end["moved"] for end in (one, other) if end.get("moved")]
    if ends:
        since = max(end["since"] for end in ends)
        joined["moved"] = min((end for end in ends if end["since"] == since), key=lambda end: (end["at"], end["to"]))
        if (set_at(joined) or "") > since:
            del joined["moved"]
    return {name: value for name, value in joined.items() if value}


def join_stored(name, evidence):
    repository, digest, registry, tag = name
    pk, sk = f"image#{repository}@{digest}", f"placement#{registry}#{tag or ''}"
    for _ in range(16):
        output = DYNAMODB.get_item(
            TableName=TABLE, Key=key(pk, sk), ConsistentRead=True, ReturnConsumedCapacity="TOTAL"
        )
        item = output.get("Item", {})
        stored = {name: FROM_ITEM(item[name]) for name in ATTRIBUTES if name in item}
        joined = join(stored, evidence)
        if joined == stored:
            return joined
        if stored:
            condition = " AND ".join(
                f"#{name} = :{name}" if name in item else f"attribute_not_exists(#{name})" for name in ATTRIBUTES
            )
            names = {f"#{name}": name for name in ATTRIBUTES}
            values = {f":{name}": item[name] for name in ATTRIBUTES if name in item}
        else:
            condition, names, values = "attribute_not_exists(pk)", None, None
        new = key(pk, sk) | {name: TO_ITEM(value) for name, value in joined.items()}
        new |= {"registry": {"S": registry}, "name": {"S": f"{repository}@{digest}#{tag or ''}"}}
        if put(new, condition, names, values):
            return joined
    raise RuntimeError("contended")


def put_loss(repository, digest, source):
    name = f"{repository}@{digest}"
    put(key(f"image#{name}", f"loss#{source}") | due(f"mirror#{shard(digest)}", DUE_IMMEDIATELY))


def shard(digest):
    return sum(digest.encode()) % 4


def later(time, seconds):
    return (datetime.fromisoformat(time.replace("Z", "+00:00")) + timedelta(seconds=seconds)).strftime(
        "%Y-%m-%dT%H:%M:%SZ"
    )


def settings(time):
    """The replication settings of the registries, at most five minutes older than `time`. Empty for a registry whose
    settings were never read, as in this benchmark."""
    if not REMEMBERED or REMEMBERED["time"] <= later(time, -300):
        page = DYNAMODB.query(
            TableName=TABLE,
            ConsistentRead=True,
            KeyConditionExpression="pk = :pk AND sk BETWEEN :from AND :to",
            ExpressionAttributeValues={":pk": {"S": "registries"}, ":from": {"S": " "}, ":to": {"S": "~"}},
            ReturnConsumedCapacity="TOTAL",
        )
        REMEMBERED.update(time=time, routes=[item["routes"] for item in page["Items"] if "routes" in item])
    return REMEMBERED["routes"]


def expect(repository, digest, source, tag, since):
    if settings(since):
        raise RuntimeError("the baseline knows no replication rules")
    values = {":since": {"S": since}, ":queue": {"S": f"watch#{shard(digest)}"}, ":due": {"S": later(since, 1800)}}
    try:
        DYNAMODB.update_item(
            TableName=TABLE,
            Key=key(f"image#{repository}@{digest}", f"expect#{source}#{tag or ''}"),
            UpdateExpression="SET #due = :due, #queue = :queue, #since = :since",
            ConditionExpression="attribute_not_exists(#since) OR #since < :since",
            ExpressionAttributeNames={"#since": "since", "#queue": "queue", "#due": "due"},
            ExpressionAttributeValues=values,
            ReturnConsumedCapacity="TOTAL",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise


def has_loss(repository, digest, source):
    output = DYNAMODB.get_item(
        TableName=TABLE,
        Key=key(f"image#{repository}@{digest}", f"loss#{source}"),
        ProjectionExpression="pk",
        ConsistentRead=True,
        ReturnConsumedCapacity="TOTAL",
    )
    return "Item" in output


def record_image(repository, digest, facts):
    for registry in {fact["registry"] for fact in facts}:
        list_registry(registry)
    marks = sorted({(fact["tag"], fact["registry"], fact["time"]) for fact in facts if "tag" in fact})
    for tag, registry, time in marks:
        put(key(f"tag#{repository}:{tag}", f"{registry}#set#{time}#{digest}"))
    for fact in facts:
        for tag in fact.get("tags", ()):
            put(key(f"tag#{repository}:{tag}", f"{fact['registry']}#removed#{fact['time']}#{digest}"))
    proved = {}

    def prove(name, evidence):
        proved[name] = join(proved.get(name, {}), evidence)

    for fact in facts:
        if fact["what"] == "pushed":
            evidence = {"pushed": fact["time"]}
        elif fact["what"] == "replicated":
            evidence = {"replicated": {fact["source"]: fact["time"]}}
        else:
            evidence = {"removed": fact["time"]}
        for tag in fact.get("tags", [fact.get("tag")]):
            prove((repository, digest, fact["registry"], tag), evidence)
    for tag, registry, time in marks:
        pk, prefix = f"tag#{repository}:{tag}", f"{registry}#set#"
        for since, loser in nearest(pk, prefix, f"{prefix}{time}", False):
            if loser != digest:
                prove((repository, loser, registry, tag), {"moved": {"since": since, "at": time, "to": digest}})
        for at, winner in nearest(pk, f"{prefix}{time}~", f"{prefix}~", True):
            if winner != digest:
                prove((repository, digest, registry, tag), {"moved": {"since": time, "at": at, "to": winner}})
    known = {name: join_stored(name, evidence) for name, evidence in proved.items()}
    lost = {fact["registry"] for fact in facts if fact["what"] in ("tags_deleted", "image_deleted")}
    for source in lost:
        put_loss(repository, digest, source)
    # `mirror` must also check a replica that arrived after its source lost the image.
    for source in {fact["source"] for fact in facts if fact["what"] == "replicated"} - lost:
        if has_loss(repository, digest, source):
            put_loss(repository, digest, source)
    for fact in facts:
        if fact["what"] == "pushed":
            expect(repository, digest, fact["registry"], fact.get("tag"), fact["time"])
    metrics = []
    for fact in facts:
        sk = f"fact#{fact['time']}#{fact['registry']}#{fact['event_id']}"
        item = key(f"image#{repository}@{digest}", sk) | {name: TO_ITEM(value) for name, value in fact.items()}
        if put(item, "attribute_not_exists(pk)"):
            metrics.append(fact["what"])
            if fact["what"] == "replicated":
                metrics.append(lag(repository, digest, fact, known))
    return metrics


def lag(repository, digest, fact, known):
    name = (repository, digest, fact["source"], fact.get("tag"))
    source = known.get(name)
    if source is None:
        item = DYNAMODB.get_item(
            TableName=TABLE,
            Key=key(f"image#{repository}@{digest}", f"placement#{fact['source']}#{fact.get('tag') or ''}"),
            ConsistentRead=True,
            ReturnConsumedCapacity="TOTAL",
        ).get("Item", {})
        source = {name: FROM_ITEM(item[name]) for name in ATTRIBUTES if name in item}
    if not source.get("pushed"):
        return None
    seconds = lambda time: datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp()
    return fact["registry"], seconds(fact["time"]) - seconds(source["pushed"])


def handler(event, context):
    images, failed = {}, set()
    for message in event["Records"]:
        try:
            repository, digest, _, fact = read(message["body"])
            images.setdefault((repository, digest), []).append((message["messageId"], fact))
        except (ValueError, KeyError, TypeError) as error:
            print(json.dumps({"level": "ERROR", "message.id": message["messageId"], "error": str(error)}))
            failed.add(message["messageId"])
    metrics = []
    for (repository, digest), received in images.items():
        try:
            metrics += record_image(repository, digest, [fact for _, fact in received])
        except Exception as error:
            print(json.dumps({"level": "WARN", "error": str(error)}))
            failed.update(message for message, _ in received)
    emit(metrics, context.aws_request_id)
    return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}


def emit(metrics, request_id):
    timestamp = int(datetime.now().timestamp() * 1000)

    def line(dimension, name, unit, label, value):
        aws = {
            "Timestamp": timestamp,
            "CloudWatchMetrics": [
                {"Namespace": "baseline", "Dimensions": [[dimension]], "Metrics": [{"Name": name, "Unit": unit}]}
            ],
        }
        print(json.dumps({"_aws": aws, dimension: label, name: value, "RequestId": request_id}))

    for kind in ("pushed", "replicated", "tags_deleted", "image_deleted"):
        if count := metrics.count(kind):
            line("Kind", "Events", "Count", kind, count)
    lags = {}
    for metric in metrics:
        if isinstance(metric, tuple):
            lags.setdefault(metric[0], []).append(metric[1])
    for destination, values in lags.items():
        line("Destination", "ReplicationLag", "Seconds", destination, values)
