"""What ECR replicates, where and when, and the status of each copy."""

import json

import pytest

from manifests import artifact, digest, image, index
from sites import APP, COPIED, DAY, refusal, rule

pytestmark = pytest.mark.only_simulator("moto does not replicate")


def test_a_push_is_copied_where_a_rule_covers_it(ireland, virginia):
    for name in ["teamwork", "other"]:
        ireland.ecr.create_repository(repositoryName=name)
    ireland.replicate(virginia, prefix="team")
    ireland.push(image("a"), "v1")
    for name in ["teamwork", "other"]:
        ireland.push(image("b"), "v1", repository=name)
    assert ireland.copies(image("a")) == {"us-east-1": ("IN_PROGRESS", None)}
    ireland.sites.step(COPIED)
    assert ireland.copies(image("a")) == {"us-east-1": ("COMPLETE", None)}
    # The filter is a plain text prefix, and ECR creates the repository with default settings.
    made = {one["repositoryName"]: one["imageTagMutability"] for one in virginia.ecr.describe_repositories()["repositories"]}
    assert made == {APP: "MUTABLE", "teamwork": "MUTABLE"}
    assert virginia.images() == {digest(image("a")): ["v1"]}


def test_an_image_older_than_the_rule_is_copied_when_it_is_pushed_again(ireland, virginia):
    ireland.push(image("old"), "v1")
    ireland.replicate(virginia)
    ireland.push(image("new"), "v2")
    ireland.sites.step(COPIED)
    assert virginia.images() == {digest(image("new")): ["v2"]}
    ireland.push(image("old"), "again")
    ireland.sites.step(COPIED)
    assert virginia.images()[digest(image("old"))] == ["again"]


def test_a_copy_is_not_replicated_further(sites, ireland, virginia):
    oregon = sites.registry("us-west-2")
    ireland.replicate(virginia)
    virginia.replicate(oregon)
    ireland.push(image("a"), "v1")
    sites.step(3 * COPIED)
    assert (len(virginia.images()), oregon.images(), virginia.copies(image("a"))) == (1, {}, {})


def test_another_account_must_allow_the_copy_and_the_creation_of_its_repository(ireland, tokyo):
    ireland.replicate(tokyo)
    for number, actions in enumerate([[], ["ecr:ReplicateImage"], ["ecr:ReplicateImage", "ecr:CreateRepository"]]):
        if actions:
            tokyo.allow(ireland.account, *actions)
        ireland.push(image(str(number)), f"v{number}")
        ireland.sites.step(COPIED)
    statuses = [ireland.copies(image(str(number)))["ap-northeast-1"] for number in range(3)]
    assert [status for status, _ in statuses] == ["FAILED", "FAILED", "COMPLETE"]
    assert all(code for status, code in statuses if status == "FAILED")
    assert tokyo.images() == {digest(image("2")): ["v2"]}


def test_a_tag_that_cannot_move_leaves_the_copy_untagged(ireland, virginia):
    virginia.ecr.create_repository(repositoryName=APP, imageTagMutability="IMMUTABLE")
    ireland.replicate(virginia)
    for name in ["a", "b"]:
        ireland.push(image(name), "latest")
        ireland.sites.step(COPIED)
    assert virginia.images() == {digest(image("a")): ["latest"], digest(image("b")): []}
    assert ireland.copies(image("b")) == {"us-east-1": ("COMPLETE", None)}


def test_indexes_and_artifacts_are_copied(ireland, virginia):
    ireland.replicate(virginia)
    both = index(image("amd64"), image("arm64"))
    for manifest in [image("amd64"), image("arm64")]:
        ireland.push(manifest)
    ireland.push(both, "v1")
    sbom = artifact(both, "text/sbom+json")
    ireland.push(sbom)
    ireland.sites.step(COPIED)
    assert virginia.images() == {**{digest(one): [] for one in [image("amd64"), image("arm64"), sbom]}, digest(both): ["v1"]}
    listed = virginia.ecr.list_image_referrers(repositoryName=APP, subjectId={"imageDigest": digest(both)})
    assert [one["digest"] for one in listed["referrers"]] == [digest(sbom)]


def test_without_delete_replication_replicas_are_kept_and_the_status_is_deleted(ireland, virginia):
    ireland.replicate(virginia)
    ireland.push(image("a"), "v1")
    ireland.sites.step(COPIED)
    ireland.delete({"imageTag": "v1"})
    ireland.sites.step(COPIED)
    assert virginia.images() == {digest(image("a")): ["v1"]}
    asked = {"repositoryName": APP, "imageId": {"imageDigest": digest(image("a"))}}
    assert refusal(ireland.ecr.describe_image_replication_status, **asked) == "ImageNotFoundException"


def test_delete_replication_deletes_tags_and_images_and_with_the_last_tag_all_tags(ireland, virginia):
    ireland.replicate(virginia, native=True)
    for tag in ["v1", "latest"]:
        ireland.push(image("a"), tag)
    ireland.push(image("b"), "v2")
    ireland.sites.step(COPIED)
    virginia.push(image("a"), "only-here")
    ireland.delete({"imageTag": "latest"})
    ireland.sites.step(COPIED)
    assert virginia.images()[digest(image("a"))] == ["only-here", "v1"]
    ireland.delete({"imageTag": "v1"})
    ireland.delete({"imageDigest": digest(image("b"))})
    ireland.sites.step(COPIED)
    assert virginia.images() == {}


def test_the_whole_answer_about_an_images_copies(sites, ireland, virginia):
    oregon = sites.registry("us-west-2")
    ireland.replicate(virginia, oregon)
    ireland.push(image("a"), "v1")
    ask = lambda **image_id: ireland.ecr.describe_image_replication_status(repositoryName=APP, imageId=image_id)
    for status in ["IN_PROGRESS", "COMPLETE"]:
        answer = ask(imageTag="v1")
        assert (answer["repositoryName"], answer["imageId"]) == (APP, {"imageDigest": digest(image("a")), "imageTag": "v1"})
        assert sorted(answer["replicationStatuses"], key=lambda one: one["region"]) == [
            {"region": region, "registryId": ireland.account, "status": status} for region in ["us-east-1", "us-west-2"]
        ]
        sites.step(COPIED)
    assert len(ask(imageDigest=digest(image("a")))["replicationStatuses"]) == 2
    with pytest.raises(ireland.ecr.exceptions.ImageNotFoundException):
        ask(imageTag="v2")


def test_an_image_that_no_rule_covers_has_no_copies(ireland, virginia):
    ireland.replicate(virginia, prefix="other/")
    ireland.push(image("a"), "v1")
    ireland.sites.step(COPIED)
    assert (ireland.copies(image("a")), virginia.images()) == ({}, {})


def test_the_filters_of_a_rule_are_alternatives_and_each_rule_has_its_own(sites, ireland, virginia):
    oregon = sites.registry("us-west-2")
    for name in ["base/os", "prod/web", "dev/web"]:
        ireland.ecr.create_repository(repositoryName=name)
    ireland.rules(
        rule(virginia.destination, prefixes=["prod/", "base/"]), rule(oregon.destination, prefixes=["dev"]),
        rule(oregon.destination, prefixes=["base"]),
    )
    for name in ["base/os", "prod/web", "dev/web"]:
        ireland.push(image(name), "v1", repository=name)
    sites.step(COPIED)
    there = lambda registry: sorted(one["repositoryName"] for one in registry.ecr.describe_repositories()["repositories"])
    assert (there(virginia), there(oregon)) == (["base/os", "prod/web"], ["base/os", "dev/web"])


def test_a_new_tag_is_copied_and_a_tag_that_moves_moves_there_too(ireland, virginia):
    ireland.replicate(virginia)
    for name, tag in [("a", "v1"), ("a", "latest"), ("b", "latest")]:
        ireland.push(image(name), tag)
        ireland.sites.step(COPIED)
    assert virginia.images() == {digest(image("a")): ["v1"], digest(image("b")): ["latest"]}


def test_a_deleted_rule_copies_nothing_more_and_keeps_the_replicas(ireland, virginia):
    ireland.replicate(virginia)
    ireland.push(image("a"), "v1")
    ireland.sites.step(COPIED)
    ireland.rules()
    ireland.push(image("b"), "v2")
    ireland.sites.step(COPIED)
    assert virginia.images() == {digest(image("a")): ["v1"]}


def test_an_existing_repository_keeps_its_settings_and_needs_no_permission_to_create_it(ireland, tokyo):
    tokyo.ecr.create_repository(repositoryName=APP, imageTagMutability="IMMUTABLE")
    tokyo.allow(ireland.account, "ecr:ReplicateImage")
    ireland.replicate(tokyo)
    ireland.push(image("a"), "v1")
    ireland.sites.step(COPIED)
    assert tokyo.images() == {digest(image("a")): ["v1"]}
    (app,) = tokyo.ecr.describe_repositories()["repositories"]
    assert app["imageTagMutability"] == "IMMUTABLE"


def test_copies_in_progress_arrive_although_their_permission_is_removed(ireland, tokyo):
    tokyo.allow(ireland.account, "ecr:ReplicateImage", "ecr:CreateRepository")
    ireland.replicate(tokyo)
    ireland.push(image("a"), "v1")
    tokyo.allow("999999999999", "ecr:ReplicateImage")
    ireland.push(image("b"), "v2")
    ireland.sites.step(COPIED)
    assert tokyo.images() == {digest(image("a")): ["v1"]}
    assert ireland.copies(image("b"))["ap-northeast-1"][0] == "FAILED"


def test_a_deny_overrides_an_allow(ireland, tokyo):
    about = {"Principal": {"AWS": f"arn:aws:iam::{ireland.account}:root"}, "Resource": f"arn:aws:ecr:ap-northeast-1:{tokyo.account}:repository/*"}
    statements = [
        {"Sid": "may", "Effect": "Allow", "Action": "ecr:*", **about},
        {"Sid": "not", "Effect": "Deny", "Action": ["ecr:ReplicateImage"], **about},
    ]
    tokyo.ecr.put_registry_policy(policyText=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    ireland.replicate(tokyo)
    ireland.push(image("a"), "v1")
    ireland.sites.step(COPIED)
    ((status, code),) = ireland.copies(image("a")).values()
    assert status == "FAILED" and code
    assert tokyo.images() == {}


def test_delete_replication_applies_to_the_repositories_and_destinations_of_its_rule(sites, ireland, virginia):
    oregon = sites.registry("us-west-2")
    ireland.ecr.create_repository(repositoryName="other/app")
    ireland.rules(
        rule(virginia.destination, prefixes=["team/"], native=True), rule(virginia.destination, prefixes=["other/"], native=False),
        rule(oregon.destination),
    )
    for repository in [APP, "other/app"]:
        ireland.push(image("a"), "v1", repository=repository)
    sites.step(COPIED)
    everywhere = [(registry, repository) for registry in [virginia, oregon] for repository in [APP, "other/app"]]
    assert all(registry.images(repository=repository) for registry, repository in everywhere)
    for repository in [APP, "other/app"]:
        ireland.ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": "v1"}])
    sites.step(COPIED)
    left = {digest(image("a")): ["v1"]}
    assert [registry.images(repository=repository) for registry, repository in everywhere] == [{}, left, left, left]


def test_delete_replication_applies_to_deletions_after_it_was_enabled(ireland, virginia):
    ireland.replicate(virginia)
    for name in ["a", "b"]:
        ireland.push(image(name), name)
    ireland.sites.step(COPIED)
    ireland.delete({"imageTag": "a"})
    ireland.sites.step(COPIED)
    ireland.replicate(virginia, native=True)
    ireland.delete({"imageTag": "b"})
    ireland.sites.step(COPIED)
    assert virginia.images() == {digest(image("a")): ["a"]}


def test_delete_replication_does_not_return_deletions_to_the_source(ireland, virginia):
    for one, other in [(ireland, virginia), (virginia, ireland)]:
        one.replicate(other, native=True)
    ireland.push(image("a"), "v1")
    ireland.sites.step(COPIED)
    # The deletion happens at the destination, whose own rule replicates it further.
    virginia.delete({"imageTag": "v1"})
    ireland.sites.step(DAY)
    assert (ireland.images(), virginia.images()) == ({}, {})
    ireland.push(image("b"), "v2")
    ireland.sites.step(COPIED)
    assert len(virginia.images()) == 1
    ireland.delete({"imageTag": "v2"})
    ireland.sites.step(DAY)
    ireland.push(image("b"), "v2")
    ireland.sites.step(DAY)
    # The deletion does not come back to delete the image that was pushed again.
    assert ireland.images() == virginia.images() == {digest(image("b")): ["v2"]}
