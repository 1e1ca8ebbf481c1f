"""ECR's own backfill: copies of what was there before. https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication-backfill.html"""

import re

import pytest

from manifests import digest, image
from sites import APP, COPIED, DAY, refusal, rule

pytestmark = pytest.mark.only_simulator("moto has no backfills")

ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def start(ireland, registry):
    return ireland.ecr.start_replication_backfill(destination=registry.destination)["replicationBackfillId"]


def results(ireland, run, **more):
    return ireland.ecr.describe_replication_backfill_results(replicationBackfillId=run, **more)


def test_a_backfill_copies_images_older_than_the_rule(ireland, virginia):
    for tag in ["v1", "latest"]:
        ireland.push(image("a"), tag)
    destination = {"destination": virginia.destination}
    assert refusal(ireland.ecr.start_replication_backfill, **destination) == "ValidationException"
    ireland.replicate(virginia)
    run = ireland.ecr.start_replication_backfill(**destination)
    assert (run["status"], run["destination"]) == ("PREPARING", virginia.destination)
    with pytest.raises(ireland.ecr.exceptions.ReplicationBackfillInProgressException):
        ireland.ecr.start_replication_backfill(**destination)
    ireland.sites.step(COPIED)
    assert virginia.images() == {digest(image("a")): ["latest", "v1"]}
    results = ireland.ecr.describe_replication_backfill_results(replicationBackfillId=run["replicationBackfillId"])
    assert results["status"] == "COMPLETE" and results["endedAt"] > results["startedAt"]
    expected = {"totalReplicationCount": 2, "completedReplicationCount": 2, "failedReplicationCount": 0, "failureCodes": []}
    assert results["progress"] == expected
    assert {one["imageId"]["imageTag"] for one in results["results"]} == {"v1", "latest"}
    (listed,) = ireland.ecr.list_replication_backfills()["backfills"]
    assert listed["replicationBackfillId"] == run["replicationBackfillId"]
    with pytest.raises(ireland.ecr.exceptions.ReplicationBackfillInvalidStatusException):
        ireland.ecr.stop_replication_backfill(replicationBackfillId=run["replicationBackfillId"])
    with pytest.raises(ireland.ecr.exceptions.ReplicationBackfillNotFoundException):
        ireland.ecr.stop_replication_backfill(replicationBackfillId="11111111-2222-3333-4444-555555555555")
    again = ireland.ecr.start_replication_backfill(**destination)
    assert ireland.ecr.stop_replication_backfill(replicationBackfillId=again["replicationBackfillId"])["status"] == "STOPPING"


def test_a_run_is_described_with_every_field(ireland, virginia):
    ireland.push(image("a"), "v1")
    ireland.replicate(virginia)
    started = ireland.ecr.start_replication_backfill(registryId=ireland.account, destination=virginia.destination)
    del started["ResponseMetadata"]
    run = started["replicationBackfillId"]
    assert re.fullmatch(ID, run)
    assert started == {
        "replicationBackfillId": run, "registryId": ireland.account, "destination": virginia.destination,
        "status": "PREPARING", "startedAt": started["startedAt"],
    }
    ireland.sites.step(COPIED)
    answer = results(ireland, run)
    del answer["ResponseMetadata"]
    progress = {"totalReplicationCount": 1, "completedReplicationCount": 1, "failedReplicationCount": 0, "failureCodes": []}
    image_id = {"imageDigest": digest(image("a")), "imageTag": "v1"}
    assert answer == {
        **started, "status": "COMPLETE", "endedAt": answer["endedAt"], "progress": progress,
        "results": [{"repositoryName": APP, "imageId": image_id, "status": "COMPLETE"}],
    }
    (listed,) = ireland.ecr.list_replication_backfills()["backfills"]
    assert listed == {name: value for name, value in answer.items() if name not in ("registryId", "results")}


def test_only_images_that_a_rule_replicates_there_are_copied(sites, ireland, virginia):
    oregon = sites.registry("us-west-2")
    ireland.ecr.create_repository(repositoryName="other/app")
    for repository in [APP, "other/app"]:
        ireland.push(image("a"), "v1", repository=repository)
    ireland.rules(rule(virginia.destination, prefixes=["team/"]), rule(oregon.destination))
    run = start(ireland, virginia)
    sites.step(COPIED)
    assert [one["repositoryName"] for one in results(ireland, run)["results"]] == [APP]
    assert (len(virginia.images()), virginia.images(repository="other/app"), oregon.images()) == (1, {}, {})


def test_results_come_in_pages_and_by_status(ireland, tokyo):
    for number in range(5):
        ireland.push(image(str(number)), f"v{number}")
    ireland.replicate(tokyo)
    run = start(ireland, tokyo)
    ireland.sites.step(COPIED)
    assert results(ireland, run, resultStatusFilter="COMPLETE")["results"] == []
    entries, pages, token = [], 0, {}
    while True:
        page = results(ireland, run, resultStatusFilter="FAILED", maxResults=2, **token)
        entries, pages = entries + page["results"], pages + 1
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert pages == 3
    assert sorted(one["imageId"]["imageTag"] for one in entries) == [f"v{number}" for number in range(5)]
    assert all(one["failureCode"] for one in entries)
    progress = page["progress"]
    assert (progress["totalReplicationCount"], progress["failedReplicationCount"]) == (5, 5)
    # Each code appears once, however many copies failed with it.
    assert progress["failureCodes"] == sorted({one["failureCode"] for one in entries})


def test_a_run_fails_when_half_of_a_hundred_fail(ireland, tokyo):
    for number in range(100):
        ireland.push(image(str(number)))
    ireland.replicate(tokyo)
    run = start(ireland, tokyo)
    ireland.sites.step(COPIED)
    answer = results(ireland, run, maxResults=1)
    assert answer["status"] == "FAILED" and answer["failureCode"]


def test_a_run_that_was_stopped_is_reported_as_stopped(sites, ireland, virginia):
    ireland.push(image("a"), "v1")
    ireland.replicate(virginia)
    run = start(ireland, virginia)
    assert ireland.ecr.stop_replication_backfill(replicationBackfillId=run)["status"] == "STOPPING"
    sites.step(COPIED)
    answer = results(ireland, run)
    assert answer["status"] == "STOPPED" and answer["endedAt"] >= answer["startedAt"]
    with pytest.raises(ireland.ecr.exceptions.ReplicationBackfillInvalidStatusException):
        ireland.ecr.stop_replication_backfill(replicationBackfillId=run)


def test_another_region_can_be_filled_at_the_same_time(sites, ireland, virginia):
    oregon = sites.registry("us-west-2")
    ireland.push(image("a"), "v1")
    ireland.replicate(virginia, oregon)
    runs = [start(ireland, registry) for registry in [virginia, oregon]]
    sites.step(COPIED)
    assert [results(ireland, run)["status"] for run in runs] == ["COMPLETE", "COMPLETE"]
    pages = [ireland.ecr.list_replication_backfills(maxResults=1)]
    pages.append(ireland.ecr.list_replication_backfills(maxResults=1, nextToken=pages[0]["nextToken"]))
    assert {one["replicationBackfillId"] for page in pages for one in page["backfills"]} == set(runs)
    assert "nextToken" not in pages[1]


def test_at_most_ten_runs_are_active_at_once(sites, ireland):
    regions = [
        "us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "eu-central-1", "eu-west-2", "eu-west-3",
        "eu-north-1", "sa-east-1", "ap-south-1",
    ]
    destinations = [{"region": region, "registryId": ireland.account} for region in regions]
    ireland.rules(rule(*destinations))
    for destination in destinations[:10]:
        ireland.ecr.start_replication_backfill(destination=destination)
    with pytest.raises(ireland.ecr.exceptions.LimitExceededException):
        ireland.ecr.start_replication_backfill(destination=destinations[10])


def test_results_are_returned_only_at_the_end(sites, ireland, virginia):
    # More than are copied at once. An image can have at most 1,000 tags, so there are two images.
    for number in range(1100):
        ireland.push(image(str(number // 900)), f"v{number}")
    ireland.replicate(virginia)
    run = start(ireland, virginia)
    for _ in range(60):
        sites.step(1)
        answer = results(ireland, run)
        # The number of copies is unknown during PREPARING.
        assert (answer["status"] == "PREPARING") == ("progress" not in answer)
        if answer.get("progress", {}).get("completedReplicationCount") and answer["status"] == "IN_PROGRESS":
            break
    assert answer["status"] == "IN_PROGRESS" and answer.get("results", []) == []


def test_runs_are_forgotten_ninety_days_after_their_end(sites, ireland, virginia):
    ireland.replicate(virginia)
    start(ireland, virginia)
    sites.step(DAY)
    assert len(ireland.ecr.list_replication_backfills()["backfills"]) == 1
    sites.step(91 * DAY)
    assert ireland.ecr.list_replication_backfills()["backfills"] == []


def test_the_end_of_a_run_is_an_event(sites, ireland, virginia):
    # AWS documents that the event exists, but not its content: U21.
    ireland.push(image("a"), "v1")
    ireland.replicate(virginia)
    run = start(ireland, virginia)
    sites.step(COPIED)
    (event,) = [event for event in sites.own_events() if run in str(event["detail"])]
    assert (event["source"], event["account"], event["region"]) == ("aws.ecr", ireland.account, "eu-west-1")
    assert event["detail"]["result"] == "COMPLETE"


def test_a_run_without_a_rule_and_an_unknown_run_are_refused(ireland, virginia):
    assert refusal(start, ireland, virginia) == "ValidationException"
    with pytest.raises(ireland.ecr.exceptions.ReplicationBackfillNotFoundException):
        results(ireland, "00000000-0000-0000-0000-000000000000")
