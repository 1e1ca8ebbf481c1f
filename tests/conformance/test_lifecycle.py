"""Lifecycle policies: the images they select, and the records of their runs."""

import json

import pytest

from manifests import artifact, digest, image, index
from sites import APP, DAY, MINUTE, refusal

PUSHED = {"countType": "sinceImagePushed", "countUnit": "days"}
ARCHIVE = {"type": "transition", "targetStorageClass": "archive"}


def rule(priority=1, action=None, **selection):
    selection = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1, **selection}
    return {"rulePriority": priority, "description": "keep few", "selection": selection, "action": action or {"type": "expire"}}


def put(registry, *rules):
    return registry.ecr.put_lifecycle_policy(repositoryName=APP, lifecyclePolicyText=json.dumps({"rules": rules}))


def test_a_policy_is_returned_as_it_was_put(ireland):
    with pytest.raises(ireland.ecr.exceptions.LifecyclePolicyNotFoundException):
        ireland.ecr.get_lifecycle_policy(repositoryName=APP)
    put(ireland, rule())
    answer = ireland.ecr.get_lifecycle_policy(repositoryName=APP)
    assert json.loads(answer["lifecyclePolicyText"]) == {"rules": [rule()]}
    assert "lastEvaluatedAt" in answer


def test_an_invalid_policy_is_refused(ireland):
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
def test_the_newest_images_are_kept_and_expiries_are_recorded(sites, ireland):
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
    # A run with more than ten images is split into several records.
    assert len(records) == 2


@pytest.mark.only_simulator("moto does not run lifecycle policies")
def test_a_policy_can_archive(sites, ireland):
    ireland.push(image("a"), "v1")
    put(ireland, rule(action=ARCHIVE, countType="sinceImagePulled", countUnit="days", countNumber=2))
    sites.step(2 * DAY)
    assert ireland.images("ARCHIVED") == {digest(image("a")): ["v1"]}


def executions(sites):
    """The actions that CloudTrail reports for lifecycle policies: (digest, priority, failure) of each image."""
    records = [event["detail"]["serviceEventDetails"] for event in sites.events() if event["detail"].get("eventName") == "PolicyExecutionEvent"]
    actions = [action for record in records for action in record["lifecycleEventImageActions"]]
    return [(one["lifecycleEventImage"]["digest"], one["rulePriority"], one.get("failureCode")) for one in actions]


@pytest.mark.only_simulator("moto does not run lifecycle policies")
def test_age_counts_from_the_push(sites, ireland):
    ireland.push(image("old"), "v1")
    sites.step(3 * DAY)
    ireland.push(image("new"), "v2")
    put(ireland, rule(**PUSHED, countNumber=3))
    sites.step(DAY)
    assert ireland.images() == {digest(image("new")): ["v2"]}


@pytest.mark.only_simulator("moto does not run lifecycle policies")
def test_age_counts_again_from_a_restore(sites, ireland):
    ireland.push(image("a"), "v1")
    ireland.archive(image("a"))
    sites.step(5 * DAY)
    ireland.restore(image("a"))
    sites.step(20 * MINUTE)
    put(ireland, rule(**PUSHED, countNumber=3))
    sites.step(2 * DAY)
    assert ireland.images() == {digest(image("a")): ["v1"]}
    sites.step(2 * DAY)
    assert ireland.images() == {}


@pytest.mark.only_simulator("moto does not run lifecycle policies")
def test_untagged_images_expire_and_tagged_ones_are_kept(sites, ireland):
    ireland.push(image("a"), "latest")
    ireland.push(image("b"), "latest")
    put(ireland, rule(tagStatus="untagged", **PUSHED, countNumber=1))
    sites.step(2 * DAY)
    assert ireland.images() == {digest(image("b")): ["latest"]}


@pytest.mark.only_simulator("moto does not run lifecycle policies")
def test_an_image_is_acted_on_by_the_rule_with_the_lowest_number(sites, ireland):
    for tag in ["prod-1", "dev-1"]:
        ireland.push(image(tag), tag)
        sites.step(MINUTE)
    ireland.push(image("prod-2"), "prod-2")
    prod = rule(priority=1, tagStatus="tagged", tagPatternList=["prod*"], countNumber=1)
    put(ireland, rule(priority=9, **PUSHED, countNumber=1), prod)
    sites.step(MINUTE)
    # "within 24 hours": not at once.
    assert len(ireland.images()) == 3
    sites.step(2 * DAY)
    # What rule 1 is about, rule 9 never takes, although rule 1 keeps it.
    assert ireland.images() == {digest(image("prod-2")): ["prod-2"]}
    gone = {gone: priority for gone, priority, _ in executions(sites)}
    assert gone == {digest(image("prod-1")): 1, digest(image("dev-1")): 9}


@pytest.mark.only_simulator("moto does not run lifecycle policies")
def test_all_of_several_prefixes_must_be_met(sites, ireland):
    for tag in ["alpha-1", "beta-1"]:
        ireland.push(image("both"), tag)
    ireland.push(image("one"), "alpha-2")
    put(ireland, rule(tagStatus="tagged", tagPrefixList=["alpha", "beta"], **PUSHED, countNumber=1))
    sites.step(2 * DAY)
    assert ireland.images() == {digest(image("one")): ["alpha-2"]}


@pytest.mark.only_simulator("moto does not run lifecycle policies")
def test_a_child_is_kept_with_its_index_and_the_record_says_why(sites, ireland):
    ireland.push(image("amd64"))
    ireland.push(index(image("amd64")), "v1")
    put(ireland, rule(tagStatus="untagged", **PUSHED, countNumber=1))
    sites.step(2 * DAY)
    assert set(ireland.images()) == {digest(image("amd64")), digest(index(image("amd64")))}
    assert set(executions(sites)) == {(digest(image("amd64")), 1, "ImageReferencedByManifestList")}
    ireland.delete({"imageTag": "v1"})
    sites.step(DAY)
    assert ireland.images() == {}


@pytest.mark.only_simulator("moto does not run lifecycle policies")
def test_artifacts_expire_after_their_subject(sites, ireland):
    ireland.push(image("a"), "v1")
    ireland.push(artifact(image("a"), "text/sbom+json"))
    ireland.push(image("b"), "v2")
    put(ireland, rule(tagStatus="tagged", tagPrefixList=["no-such"], countNumber=1))
    ireland.delete({"imageTag": "v1"})
    sites.step(DAY)
    assert ireland.images() == {digest(image("b")): ["v2"]}


@pytest.mark.only_simulator("moto does not run lifecycle policies")
def test_artifacts_are_archived_after_their_subject(sites, ireland):
    ireland.push(image("a"), "v1")
    sbom = artifact(image("a"), "text/sbom+json")
    ireland.push(sbom)
    put(ireland, rule(action=ARCHIVE, tagStatus="tagged", tagPrefixList=["v"], **PUSHED, countNumber=1))
    sites.step(3 * DAY)
    assert set(ireland.images("ARCHIVED")) == {digest(image("a")), digest(sbom)}


@pytest.mark.only_simulator("moto does not run lifecycle policies")
def test_an_archived_image_is_kept_for_ninety_days(sites, ireland):
    ireland.push(image("a"), "v1")
    ireland.archive(image("a"))
    put(ireland, rule(storageClass="archive", countType="sinceImageTransitioned", countUnit="days", countNumber=90))
    sites.step(80 * DAY)
    assert ireland.images() == {digest(image("a")): ["v1"]}
    sites.step(11 * DAY)
    assert ireland.images() == {}


@pytest.mark.only_simulator("moto does not run lifecycle policies")
def test_a_policy_applies_only_to_its_own_registry(sites, ireland, virginia):
    ireland.replicate(virginia)
    ireland.push(image("a"), "v1")
    sites.step(DAY)
    put(ireland, rule(**PUSHED, countNumber=1))
    sites.step(2 * DAY)
    assert (ireland.images(), virginia.images()) == ({}, {digest(image("a")): ["v1"]})
    assert refusal(virginia.ecr.get_lifecycle_policy, repositoryName=APP) == "LifecyclePolicyNotFoundException"


@pytest.mark.only_simulator("moto does not run lifecycle policies")
def test_delete_replication_replicates_expiries(sites, ireland, virginia):
    ireland.replicate(virginia, native=True)
    ireland.push(image("a"), "v1")
    sites.step(DAY)
    assert virginia.images() == {digest(image("a")): ["v1"]}
    put(ireland, rule(**PUSHED, countNumber=1))
    sites.step(2 * DAY)
    assert (ireland.images(), virginia.images()) == ({}, {})


def test_a_rule_that_expires_by_pull_time_and_an_invalid_text_are_refused(ireland):
    pulled = rule(countType="sinceImagePulled", countUnit="days", countNumber=1)
    assert refusal(put, ireland, pulled) == "InvalidParameterException"
    # boto3 itself requires at least 100 characters.
    nothing = {"repositoryName": APP, "lifecyclePolicyText": "no policy".ljust(100)}
    assert refusal(ireland.ecr.put_lifecycle_policy, **nothing) == "InvalidParameterException"
