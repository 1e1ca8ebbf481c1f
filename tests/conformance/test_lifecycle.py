"""Lifecycle policies: what they choose, and how it is told."""

import json

import pytest

from manifests import digest, image
from sites import APP, DAY, MINUTE, refusal


def rule(priority=1, action=None, **selection):
    selection = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1, **selection}
    return {"rulePriority": priority, "description": "keep few", "selection": selection, "action": action or {"type": "expire"}}


def put(registry, *rules):
    return registry.ecr.put_lifecycle_policy(repositoryName=APP, lifecyclePolicyText=json.dumps({"rules": rules}))


def test_a_policy_is_told_as_it_was_put(ireland):
    with pytest.raises(ireland.ecr.exceptions.LifecyclePolicyNotFoundException):
        ireland.ecr.get_lifecycle_policy(repositoryName=APP)
    put(ireland, rule())
    answer = ireland.ecr.get_lifecycle_policy(repositoryName=APP)
    assert json.loads(answer["lifecyclePolicyText"]) == {"rules": [rule()]}
    assert "lastEvaluatedAt" in answer


def test_a_policy_that_makes_no_sense_is_refused(ireland):
    for rules in [
        [rule(countNumber=0)],
        [rule(action={"type": "forget"})],
    ]:
        assert refusal(put, ireland, *rules) == "InvalidParameterException", rules


@pytest.mark.moto_differs("accepts them", "https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html")
def test_rules_that_contradict_themselves_or_each_other_are_refused(ireland):
    for rules in [[rule(), rule()], [rule(tagStatus="tagged")], [rule(countType="sinceImagePushed")]]:
        assert refusal(put, ireland, *rules) == "InvalidParameterException", rules


@pytest.mark.only_simulator("moto does not run lifecycle policies")
def test_the_newest_are_kept_and_what_went_is_told(sites, ireland):
    for number in range(13):
        ireland.push(image(str(number)), f"v{number}")
        sites.step(MINUTE)
    put(ireland, rule(priority=7, tagStatus="tagged", tagPrefixList=["v"], countNumber=2))
    sites.step(DAY)
    assert ireland.images() == {digest(image("11")): ["v11"], digest(image("12")): ["v12"]}
    deleted = [event["detail"]["image-tag"] for event in sites.own_events() if event["detail"]["action-type"] == "DELETE"]
    assert sorted(deleted) == sorted(f"v{number}" for number in range(11))
    records = [event for event in sites.events() if event["detail"].get("eventName") == "PolicyExecutionEvent"]
    assert {record["detail-type"] for record in records} == {"AWS Service Event via CloudTrail"}
    actions = [action for record in records for action in record["detail"]["serviceEventDetails"]["lifecycleEventImageActions"]]
    assert {action["rulePriority"] for action in actions} == {7}
    assert {action["lifecycleEventImage"]["digest"] for action in actions} == {digest(image(str(number))) for number in range(11)}
    # Ten images and more are told in several records.
    assert len(records) == 2


@pytest.mark.only_simulator("moto does not run lifecycle policies")
def test_a_policy_can_archive(sites, ireland):
    ireland.push(image("a"), "v1")
    archive = {"type": "transition", "targetStorageClass": "archive"}
    put(ireland, rule(action=archive, countType="sinceImagePulled", countUnit="days", countNumber=2))
    sites.step(2 * DAY)
    assert ireland.images("ARCHIVED") == {digest(image("a")): ["v1"]}
