"""Repositories, registries and accounts."""

import json

import pytest
from botocore.loaders import Loader

from manifests import image
from sites import APP, refusal, rule


def test_a_repository_is_created_with_default_settings(ireland):
    (app,) = ireland.ecr.describe_repositories(repositoryNames=[APP])["repositories"]
    assert app["repositoryArn"] == f"arn:aws:ecr:eu-west-1:{ireland.account}:repository/{APP}"
    assert app["repositoryUri"] == f"{ireland.account}.dkr.ecr.eu-west-1.amazonaws.com/{APP}"
    assert (app["registryId"], app["repositoryName"], app["imageTagMutability"]) == (ireland.account, APP, "MUTABLE")
    assert app["imageScanningConfiguration"] == {"scanOnPush": False}
    assert app["encryptionConfiguration"]["encryptionType"] == "AES256"


def test_a_repository_can_be_created_only_once(ireland):
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


def test_a_registry_policy_is_returned_as_it_was_put(ireland):
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


def test_delete_replication_is_returned_as_it_was_put(ireland, virginia):
    ireland.replicate(virginia, native=True)
    (rule,) = ireland.ecr.describe_registry()["replicationConfiguration"]["rules"]
    assert rule["deleteReplication"] == {"enabled": True}
    ireland.replicate(virginia)
    (rule,) = ireland.ecr.describe_registry()["replicationConfiguration"]["rules"]
    assert "deleteReplication" not in rule


@pytest.mark.moto_differs("accepts more", "https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication.html")
def test_a_registry_has_at_most_25_destinations(ireland):
    many = [{"region": "us-east-1", "registryId": f"1111222233{number:02}"} for number in range(26)]
    assert refusal(ireland.rules, rule(*many)) == "ValidationException"
    # The limit applies to the total of all rules.
    assert refusal(ireland.rules, rule(*many[:13]), rule(*many[13:])) == "ValidationException"
    assert len(ireland.rules(rule(*many[:25]), rule(*many[:25]))["replicationConfiguration"]["rules"]) == 2


def test_a_registry_does_not_replicate_to_itself(ireland):
    assert refusal(ireland.rules, rule(ireland.destination)) == "InvalidParameterException"


@pytest.mark.moto_differs("accepts one rule only", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ReplicationConfiguration.html")
def test_a_registry_has_at_most_25_rules(ireland, virginia):
    one = rule(virginia.destination)
    assert len(ireland.rules(*[one] * 25)["replicationConfiguration"]["rules"]) == 25
    assert refusal(ireland.rules, *[one] * 26) == "InvalidParameterException"
    assert len(ireland.ecr.describe_registry()["replicationConfiguration"]["rules"]) == 25


@pytest.mark.moto_differs("accepts more", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ReplicationRule.html")
def test_a_rule_has_at_most_100_filters(ireland, virginia):
    refused = rule(virginia.destination, prefixes=[f"team{number}" for number in range(101)])
    assert refusal(ireland.rules, refused) == "InvalidParameterException"


@pytest.mark.moto_differs("accepts anything", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_RepositoryFilter.html")
def test_a_filter_follows_ecrs_grammar(ireland, virginia):
    for prefix in ["Team", "team//", "*"]:
        refused = rule(virginia.destination, prefixes=[prefix + "xx"])
        assert refusal(ireland.rules, refused) == "InvalidParameterException", prefix


@pytest.mark.moto_differs("knows the older grammar only", "https://github.com/boto/botocore/blob/1.44.5/botocore/data/ecr/2015-09-21/service-2.json")
def test_two_underscores_and_several_hyphens_may_separate_a_repository_name(ireland):
    for name in ["team/a__b", "team/a--b"]:
        made = ireland.ecr.create_repository(repositoryName=name)["repository"]
        assert made["repositoryName"] == name


@pytest.mark.moto_differs("accepts more", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeRepositories.html")
def test_a_call_accepts_at_most_a_hundred_names(ireland):
    names = [f"team/app{number}" for number in range(101)]
    assert refusal(ireland.ecr.describe_repositories, repositoryNames=names) == "InvalidParameterException"


def test_creating_and_deleting_a_repository_return_its_fields(ireland):
    made = ireland.ecr.create_repository(
        repositoryName="team/other", imageTagMutability="IMMUTABLE", imageScanningConfiguration={"scanOnPush": True}
    )["repository"]
    created = made.pop("createdAt")
    assert made == {
        "repositoryArn": f"arn:aws:ecr:eu-west-1:{ireland.account}:repository/team/other", "registryId": ireland.account,
        "repositoryName": "team/other", "repositoryUri": f"{ireland.account}.dkr.ecr.eu-west-1.amazonaws.com/team/other",
        "imageTagMutability": "IMMUTABLE", "imageScanningConfiguration": {"scanOnPush": True},
        "encryptionConfiguration": {"encryptionType": "AES256"},
    }
    gone = ireland.ecr.delete_repository(repositoryName="team/other")["repository"]
    assert (gone["repositoryArn"], gone["createdAt"]) == (made["repositoryArn"], created)
    names = [one["repositoryName"] for one in ireland.ecr.describe_repositories()["repositories"]]
    assert names == [APP]


def test_deleting_a_repository_keeps_another_with_a_similar_name(ireland):
    ireland.ecr.create_repository(repositoryName="team/app2")
    ireland.push(image("a"), "v1")
    ireland.ecr.delete_repository(repositoryName="team/app2")
    assert len(ireland.images()) == 1


@pytest.mark.only_simulator("moto has no storage classes")
def test_a_repository_that_has_only_archived_images_is_not_empty(ireland):
    ireland.push(image("a"), "v1")
    ireland.archive(image("a"))
    assert refusal(ireland.ecr.delete_repository, repositoryName=APP) == "RepositoryNotEmptyException"


def test_a_repository_has_a_policy_of_its_own_once_it_is_set(ireland):
    with pytest.raises(ireland.ecr.exceptions.RepositoryPolicyNotFoundException):
        ireland.ecr.get_repository_policy(repositoryName=APP)
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"}]}
    ireland.ecr.set_repository_policy(repositoryName=APP, policyText=json.dumps(policy))
    answer = ireland.ecr.get_repository_policy(repositoryName=APP)
    assert (answer["registryId"], answer["repositoryName"]) == (ireland.account, APP)
    assert json.loads(answer["policyText"]) == policy
    for text in ["none", "1", json.dumps({**policy, "Version": "2011-10-17"}), json.dumps({"Statement": [{"Effect": "Allow"}]})]:
        with pytest.raises(ireland.ecr.exceptions.InvalidParameterException) as error:
            ireland.ecr.set_repository_policy(repositoryName=APP, policyText=text)
        assert "Invalid repository policy provided" in str(error.value)
    with pytest.raises(ireland.ecr.exceptions.RepositoryNotFoundException):
        ireland.ecr.get_repository_policy(repositoryName="team/other")


@pytest.mark.only_simulator("the product's own table of partitions")
def test_the_region_decides_partition_and_host_names(ireland, sites):
    partitions = Loader().load_data("partitions")["partitions"]
    assert len(partitions) == 8
    for partition in partitions:
        for region in partition["regions"]:
            if region.endswith("-global"):
                continue
            ecr = sites.signed("ecr", region, ireland.account)
            created = ecr.create_repository(repositoryName=APP + "-partition")["repository"]
            where = f"{ireland.account}.dkr.ecr.{region}.{partition['outputs']['dnsSuffix']}"
            assert created["repositoryUri"] == f"{where}/{APP}-partition"
            assert created["repositoryArn"].startswith(f"arn:{partition['id']}:ecr:{region}:")


def test_a_repository_that_kms_encrypts_has_the_arn_of_a_key(ireland):
    arn = f"arn:aws:kms:eu-west-1:{ireland.account}:key/"
    made = ireland.ecr.create_repository(repositoryName="team/kms", encryptionConfiguration={"encryptionType": "KMS"})
    encryption = made["repository"]["encryptionConfiguration"]
    assert encryption["encryptionType"] == "KMS" and encryption["kmsKey"].startswith(arn)
    (same,) = ireland.ecr.describe_repositories(repositoryNames=["team/kms"])["repositories"]
    assert same["encryptionConfiguration"] == encryption
    given = {"encryptionType": "KMS", "kmsKey": arn + "a1b2"}
    made = ireland.ecr.create_repository(repositoryName="team/given", encryptionConfiguration=given)
    assert made["repository"]["encryptionConfiguration"] == given


def test_every_answer_has_the_id_of_its_request(sites, ireland):
    answers = [ireland.ecr.describe_registry(), ireland.ecr.describe_registry()]
    with pytest.raises(ireland.ecr.exceptions.RepositoryNotFoundException) as error:
        ireland.ecr.list_images(repositoryName="team/other")
    answers.append(error.value.response)
    assert len({answer["ResponseMetadata"]["RequestId"] for answer in answers}) == 3
    identity = sites.client("sts", "eu-west-1", ireland.account).get_caller_identity()
    assert identity["ResponseMetadata"]["RequestId"] == identity["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
