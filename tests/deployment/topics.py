"""The way from a registry to the hub: a rule on the default bus, a topic, and the hub's queue."""

import contextlib
import json
import time

HUB_STACK = "ecr-lineage"


def topic(account, region, name=f"{HUB_STACK}-events"):
    """The ARN of the topic in a registry's stack."""
    return f"arn:aws:sns:{region}:{account}:{name}"


def publish(cloud, account, region, event, hub_stack=HUB_STACK):
    """Publishes an event to a registry's topic, as the registry's rule does."""
    arn = topic(account, region, f"{hub_stack}-events")
    cloud.client("sns", account, region).publish(TopicArn=arn, Message=json.dumps(event))


def rule(cloud, account, region, hub_stack=HUB_STACK):
    """The deployed rule that publishes to a registry's topic."""
    events, target = cloud.client("events", account, region), topic(account, region, f"{hub_stack}-events")
    [name] = events.list_rule_names_by_target(TargetArn=target)["RuleNames"]
    return events.describe_rule(Name=name)


def is_published(cloud, account, region, event, hub_stack=HUB_STACK):
    """Whether the deployed rule of a registry matches an event."""
    pattern = rule(cloud, account, region, hub_stack)["EventPattern"]
    return cloud.client("events", account, region).test_event_pattern(EventPattern=pattern, Event=json.dumps(event))["Result"]


@contextlib.contextmanager
def enabled(cloud, account, region, *alternatives):
    """The registry's rule in the state ENABLED, also for events of other patterns. To a rule in the state
    ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS, ministack sends nothing at all."""
    events, found = cloud.client("events", account, region), rule(cloud, account, region)
    pattern = json.loads(found["EventPattern"])
    also = {"$or": pattern["$or"] + list(alternatives)}
    events.put_rule(Name=found["Name"], EventPattern=json.dumps(also), State="ENABLED")
    try:
        yield
    finally:
        events.put_rule(Name=found["Name"], EventPattern=found["EventPattern"], State=found["State"])


def put(cloud, account, region, source, kind, detail="{}"):
    """Puts an event onto a registry's default bus; returns its id."""
    entry = {"Source": source, "DetailType": kind, "Detail": detail}
    [answer] = cloud.client("events", account, region).put_events(Entries=[entry])["Entries"]
    return answer["EventId"]


def beat(cloud, stack, account, region):
    """Sends a heartbeat as the schedule of a registry's stack does; returns its time in whole seconds. ministack's
    schedules always send the same event, whatever their target says."""
    target = cloud.client("scheduler", account, region).get_schedule(Name=stack.ids["Heartbeat"])["Target"]
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    sent = target["EventBridgeParameters"]
    with enabled(cloud, account, region):
        put(cloud, account, region, sent["Source"], sent["DetailType"], target["Input"])
    return now
