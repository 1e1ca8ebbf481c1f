"""Repositories, registries and accounts."""

import json

import boto3
import pytest

from manifests import image
from sites import APP, CONFIG, refusal


def test_a_repository_is_made_with_default_settings(ireland):
    (app,) = ireland.ecr.describe_repositories(repositoryNames=[APP])["repositories"]
    assert app["repositoryArn"] == f"arn:aws:ecr:eu-west-1:{ireland.account}:repository/{APP}"
    assert app["repositoryUri"] == f"{ireland.account}.dkr.ecr.eu-west-1.amazonaws.com/{APP}"
    assert (app["registryId"], app["repositoryName"], app["imageTagMutability"]) == (ireland.account, APP, "MUTABLE")
    assert app["imageScanningConfiguration"] == {"scanOnPush": False}
    assert app["encryptionConfiguration"]["encryptionType"] == "AES256"


def test_a_repository_is_made_once(ireland):
    with pytest.raises(ireland.ecr.exceptions.RepositoryAlreadyExistsException):
        ireland.ecr.create_repository(repositoryName=APP)


def test_a_repository_name_follows_ecrs_grammar(ireland):
    for name in ["Team/app", "team//app", "-app", "app-", "app..x"]:
        assert refusal(ireland.ecr.create_repository, repositoryName=name) == "InvalidParameterException", name


def test_a_repository_with_images_is_deleted_only_by_force(ireland):
    ireland.push(image("a"), "v1")
    with pytest.raises(ireland.ecr.exceptions.RepositoryNotEmptyException):
        ireland.ecr.delete_repository(repositoryName=APP)
    ireland.ecr.delete_repository(repositoryName=APP, force=True)
    with pytest.raises(ireland.ecr.exceptions.RepositoryNotFoundException):
        ireland.ecr.describe_repositories(repositoryNames=[APP])


@pytest.mark.moto_differs("answers everything at once", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeRepositories.html")
def test_repositories_come_in_pages(ireland):
    for number in range(6):
        ireland.ecr.create_repository(repositoryName=f"other/app{number}")
    pages = ireland.ecr.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 3})
    pages = [[one["repositoryName"] for one in page["repositories"]] for page in pages]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert len({name for page in pages for name in page}) == 7


def test_registries_of_other_regions_and_accounts_are_others(sites, ireland, virginia, tokyo):
    other = sites.registry("eu-west-1", account=1)
    for registry in [virginia, tokyo, other]:
        assert registry.ecr.describe_repositories()["repositories"] == []


def test_an_assumed_role_is_of_its_own_account(sites, tokyo):
    sts = sites.client("sts", "eu-west-1", tokyo.account)
    identity = sts.get_caller_identity()
    assert identity["Account"] == tokyo.account
    assert identity["Arn"] == f"arn:aws:sts::{tokyo.account}:assumed-role/conformance/dana"
    assert identity["UserId"].endswith(":dana")


@pytest.mark.only_simulator("a convention of emulators, which moto does not follow")
def test_an_access_key_of_twelve_digits_is_an_account(sites):
    session = boto3.Session("111122223333", "secret", region_name="eu-west-1")
    identity = session.client("sts", endpoint_url=sites.endpoint, config=CONFIG).get_caller_identity()
    assert (identity["Account"], identity["Arn"]) == ("111122223333", "arn:aws:iam::111122223333:root")


@pytest.mark.moto_differs("ignores registryId", "https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry-permissions.html")
def test_another_accounts_registry_needs_that_accounts_permission(sites, ireland):
    other = sites.registry("eu-west-1", account=1)
    ireland.push(image("a"), "v1")
    describe = lambda: other.ecr.describe_images(registryId=ireland.account, repositoryName=APP)
    assert refusal(describe) == "AccessDeniedException"
    ireland.allow(other.account, "ecr:DescribeImages")
    assert len(describe()["imageDetails"]) == 1
    delete = {"registryId": ireland.account, "repositoryName": APP, "imageIds": [{"imageTag": "v1"}]}
    assert refusal(other.ecr.batch_delete_image, **delete) == "AccessDeniedException"


def test_a_registry_policy_is_told_as_it_was_put(ireland):
    with pytest.raises(ireland.ecr.exceptions.RegistryPolicyNotFoundException):
        ireland.ecr.get_registry_policy()
    ireland.allow("111122223333", "ecr:ReplicateImage", "ecr:CreateRepository")
    answer = ireland.ecr.get_registry_policy()
    assert answer["registryId"] == ireland.account
    assert json.loads(answer["policyText"])["Statement"][0]["Action"] == ["ecr:ReplicateImage", "ecr:CreateRepository"]
    assert refusal(ireland.ecr.put_registry_policy, policyText="no policy") == "InvalidParameterException"


def test_a_replication_configuration_replaces_the_one_before(ireland, virginia, tokyo):
    assert ireland.ecr.describe_registry()["replicationConfiguration"] == {"rules": []}
    ireland.replicate(virginia, tokyo, prefix="team/")
    rule = {
        "destinations": [virginia.destination, tokyo.destination],
        "repositoryFilters": [{"filter": "team/", "filterType": "PREFIX_MATCH"}],
    }
    answer = ireland.ecr.describe_registry()
    assert (answer["registryId"], answer["replicationConfiguration"]) == (ireland.account, {"rules": [rule]})
    ireland.replicate(virginia)
    assert len(ireland.ecr.describe_registry()["replicationConfiguration"]["rules"][0]["destinations"]) == 1


def test_the_native_switch_is_told_as_it_was_put(ireland, virginia):
    ireland.replicate(virginia, native=True)
    (rule,) = ireland.ecr.describe_registry()["replicationConfiguration"]["rules"]
    assert rule["deleteReplication"] == {"enabled": True}
    ireland.replicate(virginia)
    (rule,) = ireland.ecr.describe_registry()["replicationConfiguration"]["rules"]
    assert "deleteReplication" not in rule


def refused_destinations(registry, *destinations):
    rules = [{"destinations": list(destinations)}]
    return refusal(registry.ecr.put_replication_configuration, replicationConfiguration={"rules": rules})


@pytest.mark.moto_differs("accepts more", "https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication.html")
def test_a_registry_has_at_most_25_destinations(ireland):
    many = [{"region": "us-east-1", "registryId": f"1111222233{number:02}"} for number in range(26)]
    assert refused_destinations(ireland, *many) == "ValidationException"


def test_a_registry_does_not_replicate_to_itself(ireland):
    assert refused_destinations(ireland, ireland.destination) in ("ValidationException", "InvalidParameterException")
