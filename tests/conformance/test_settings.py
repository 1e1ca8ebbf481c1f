"""Tags of repositories, and the settings of a registry: scanning, account settings, signing, exclusions."""

import json

import pytest

from manifests import image
from sites import APP, refusal

SIGNER = "arn:aws:signer:eu-west-1:111122223333:/signing-profiles/release"


def arn(registry, repository=APP):
    return f"arn:aws:ecr:{registry.region}:{registry.account}:repository/{repository}"


def tags(registry, repository=APP):
    found = registry.ecr.list_tags_for_resource(resourceArn=arn(registry, repository))["tags"]
    return {tag["Key"]: tag["Value"] for tag in found}


def pairs(**tags):
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def test_a_repository_has_tags(ireland):
    assert tags(ireland) == {}
    ireland.ecr.create_repository(repositoryName="team/tagged", tags=pairs(team="a", stage="test"))
    assert tags(ireland, "team/tagged") == {"team": "a", "stage": "test"}
    ireland.ecr.tag_resource(resourceArn=arn(ireland), tags=pairs(team="a", stage=""))
    ireland.ecr.tag_resource(resourceArn=arn(ireland), tags=pairs(team="b"))
    assert tags(ireland) == {"team": "b", "stage": ""}
    ireland.ecr.untag_resource(resourceArn=arn(ireland), tagKeys=["team", "unknown"])
    assert tags(ireland) == {"stage": ""}


def test_tags_are_of_a_repository_that_exists(ireland):
    ecr = ireland.ecr
    for call, more in [(ecr.list_tags_for_resource, {}), (ecr.tag_resource, {"tags": pairs(team="a")}), (ecr.untag_resource, {"tagKeys": ["team"]})]:
        assert refusal(call, resourceArn=arn(ireland, "team/other"), **more) == "RepositoryNotFoundException"
        assert refusal(call, resourceArn="team/app", **more) == "InvalidParameterException"


@pytest.mark.moto_differs("accepts them", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_TagResource.html")
def test_a_repository_has_at_most_fifty_tags_of_limited_length(ireland):
    def tag(key, value=""):
        return {"resourceArn": arn(ireland), "tags": [{"Key": key, "Value": value}]}

    for refused in [tag("k" * 129), tag("k", "v" * 257), tag("aws:team"), tag("")]:
        assert refusal(ireland.ecr.tag_resource, **refused) == "InvalidTagParameterException", refused
    ireland.ecr.tag_resource(**tag("k" * 128, "v" * 256))
    many = [{"Key": f"key{number}", "Value": ""} for number in range(50)]
    assert refusal(ireland.ecr.tag_resource, resourceArn=arn(ireland), tags=many) == "TooManyTagsException"
    assert len(tags(ireland)) == 1
    assert refusal(ireland.ecr.create_repository, repositoryName="team/other", tags=[*many, *pairs(one="more")]) == "TooManyTagsException"


def test_the_policies_of_a_repository_are_deleted_once(ireland):
    policy = {"Version": "2012-10-17", "Statement": [{"Sid": "x", "Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"}]}
    ireland.ecr.set_repository_policy(repositoryName=APP, policyText=json.dumps(policy))
    answer = ireland.ecr.delete_repository_policy(repositoryName=APP)
    assert (answer["registryId"], answer["repositoryName"], json.loads(answer["policyText"])) == (ireland.account, APP, policy)
    assert refusal(ireland.ecr.delete_repository_policy, repositoryName=APP) == "RepositoryPolicyNotFoundException"
    rule = {"rulePriority": 1, "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1}, "action": {"type": "expire"}}
    text = json.dumps({"rules": [rule]})
    ireland.ecr.put_lifecycle_policy(repositoryName=APP, lifecyclePolicyText=text)
    answer = ireland.ecr.delete_lifecycle_policy(repositoryName=APP)
    assert (answer["registryId"], answer["repositoryName"], json.loads(answer["lifecyclePolicyText"])) == (ireland.account, APP, json.loads(text))
    assert "lastEvaluatedAt" in answer
    assert refusal(ireland.ecr.delete_lifecycle_policy, repositoryName=APP) == "LifecyclePolicyNotFoundException"
    for call in [ireland.ecr.delete_repository_policy, ireland.ecr.delete_lifecycle_policy]:
        assert refusal(call, repositoryName="team/other") == "RepositoryNotFoundException"


@pytest.mark.only_simulator("moto evaluates no lifecycle policies")
def test_a_deleted_lifecycle_policy_expires_nothing(sites, ireland):
    for name in "ab":
        ireland.push(image(name), name)
    rule = {"rulePriority": 1, "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1}, "action": {"type": "expire"}}
    ireland.ecr.put_lifecycle_policy(repositoryName=APP, lifecyclePolicyText=json.dumps({"rules": [rule]}))
    ireland.ecr.delete_lifecycle_policy(repositoryName=APP)
    sites.step(2 * 86_400)
    assert len(ireland.images()) == 2


def test_a_registry_policy_is_deleted_once(ireland):
    ireland.allow("111122223333", "ecr:ReplicateImage")
    assert "ecr:ReplicateImage" in ireland.ecr.delete_registry_policy()["policyText"]
    assert refusal(ireland.ecr.delete_registry_policy) == "RegistryPolicyNotFoundException"


def test_a_repository_can_scan_on_push(ireland):
    answer = ireland.ecr.put_image_scanning_configuration(repositoryName=APP, imageScanningConfiguration={"scanOnPush": True})
    assert (answer["registryId"], answer["repositoryName"]) == (ireland.account, APP)
    assert answer["imageScanningConfiguration"] == {"scanOnPush": True}
    (app,) = ireland.ecr.describe_repositories()["repositories"]
    assert app["imageScanningConfiguration"] == {"scanOnPush": True}
    other = {"repositoryName": "team/other", "imageScanningConfiguration": {"scanOnPush": True}}
    assert refusal(ireland.ecr.put_image_scanning_configuration, **other) == "RepositoryNotFoundException"


def scan(frequency, *filters):
    return {"scanFrequency": frequency, "repositoryFilters": [{"filter": one, "filterType": "WILDCARD"} for one in filters]}


def test_the_scanning_configuration_applies_to_matching_repositories(ireland):
    ireland.ecr.create_repository(repositoryName="other/app")
    configuration = ireland.ecr.get_registry_scanning_configuration()
    assert configuration["scanningConfiguration"] == {"scanType": "BASIC", "rules": []}
    rules = [scan("CONTINUOUS_SCAN", "team/*")]
    put = ireland.ecr.put_registry_scanning_configuration(scanType="ENHANCED", rules=rules)
    assert put["registryScanningConfiguration"] == {"scanType": "ENHANCED", "rules": rules}
    configuration = ireland.ecr.get_registry_scanning_configuration()
    assert configuration["registryId"] == ireland.account
    assert configuration["scanningConfiguration"] == {"scanType": "ENHANCED", "rules": rules}
    answer = ireland.ecr.batch_get_repository_scanning_configuration(repositoryNames=[APP, "other/app", "team/none"])
    found = {one["repositoryName"]: one for one in answer["scanningConfigurations"]}
    assert found[APP] == {
        "repositoryArn": arn(ireland), "repositoryName": APP, "scanOnPush": False, "scanFrequency": "CONTINUOUS_SCAN",
        "appliedScanFilters": rules[0]["repositoryFilters"],
    }
    assert (found["other/app"]["scanFrequency"], found["other/app"]["appliedScanFilters"]) == ("MANUAL", [])
    (failure,) = answer["failures"]
    assert (failure["repositoryName"], failure["failureCode"]) == ("team/none", "REPOSITORY_NOT_FOUND")


@pytest.mark.moto_differs("accepts them", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_RegistryScanningRule.html")
def test_a_scanning_rule_fits_its_scan_type(ireland):
    put = ireland.ecr.put_registry_scanning_configuration
    assert refusal(put, scanType="BASIC", rules=[scan("CONTINUOUS_SCAN", "*")]) == "InvalidParameterException"
    assert refusal(put, scanType="ENHANCED", rules=[scan("SCAN_ON_PUSH", "Team")]) == "InvalidParameterException"
    assert refusal(put, scanType="ENHANCED", rules=[scan("SCAN_ON_PUSH", "*")] * 3) == "InvalidParameterException"


@pytest.mark.only_simulator("moto has no account settings")
def test_an_account_setting_has_a_default_and_known_values(ireland):
    get, put = ireland.ecr.get_account_setting, ireland.ecr.put_account_setting
    assert get(name="REGISTRY_POLICY_SCOPE")["value"] == "V2"
    assert get(name="BASIC_SCAN_TYPE_VERSION")["value"] == "AWS_NATIVE"
    assert get(name="BLOB_MOUNTING")["value"] == "DISABLED"
    answer = put(name="BLOB_MOUNTING", value="ENABLED")
    assert (answer["name"], answer["value"]) == ("BLOB_MOUNTING", "ENABLED")
    assert get(name="BLOB_MOUNTING")["value"] == "ENABLED"
    for name, value in [("BLOB_MOUNTING", "MAYBE"), ("REGISTRY_POLICY_SCOPE", "V3"), ("OTHER", "V2")]:
        assert refusal(put, name=name, value=value) == "InvalidParameterException", name
    assert refusal(get, name="OTHER") == "InvalidParameterException"


@pytest.mark.only_simulator("moto has no signing configuration")
def test_a_signing_configuration_is_put_and_deleted(ireland):
    ecr = ireland.ecr
    assert refusal(ecr.get_signing_configuration) == "SigningConfigurationNotFoundException"
    configuration = {"rules": [{"signingProfileArn": SIGNER, "repositoryFilters": [{"filter": "team/*", "filterType": "WILDCARD_MATCH"}]}]}
    assert ecr.put_signing_configuration(signingConfiguration=configuration)["signingConfiguration"] == configuration
    answer = ecr.get_signing_configuration()
    assert (answer["registryId"], answer["signingConfiguration"]) == (ireland.account, configuration)
    assert ecr.delete_signing_configuration()["signingConfiguration"] == configuration
    assert refusal(ecr.delete_signing_configuration) == "SigningConfigurationNotFoundException"
    for rules in [[{"signingProfileArn": SIGNER}] * 11, [{"signingProfileArn": "release"}]]:
        assert refusal(ecr.put_signing_configuration, signingConfiguration={"rules": rules}) == "InvalidParameterException"


@pytest.mark.only_simulator("moto has no exclusions of pull times")
def test_the_pulls_of_an_excluded_principal_are_not_recorded(ireland):
    role = f"arn:aws:iam::{ireland.account}:role/conformance"
    assert ireland.ecr.list_pull_time_update_exclusions()["pullTimeUpdateExclusions"] == []
    assert ireland.ecr.register_pull_time_update_exclusion(principalArn=role)["principalArn"] == role
    assert ireland.ecr.list_pull_time_update_exclusions()["pullTimeUpdateExclusions"] == [role]
    assert refusal(ireland.ecr.register_pull_time_update_exclusion, principalArn=role) == "ExclusionAlreadyExistsException"
    assert refusal(ireland.ecr.register_pull_time_update_exclusion, principalArn="dana") == "InvalidParameterException"
    ireland.push(image("a"), "v1")
    pull = {"repositoryName": APP, "imageIds": [{"imageTag": "v1"}]}
    ireland.ecr.batch_get_image(**pull)
    assert "lastRecordedPullTime" not in ireland.detail(image("a"))
    assert ireland.ecr.deregister_pull_time_update_exclusion(principalArn=role)["principalArn"] == role
    assert refusal(ireland.ecr.deregister_pull_time_update_exclusion, principalArn=role) == "ExclusionNotFoundException"
    ireland.ecr.batch_get_image(**pull)
    assert "lastRecordedPullTime" in ireland.detail(image("a"))


@pytest.mark.only_simulator("the simulator's own answer to what it has not")
def test_an_operation_that_is_not_simulated_is_named(ireland):
    ireland.push(image("a"), "v1")
    with pytest.raises(ireland.ecr.exceptions.ClientError) as refused:
        ireland.ecr.start_image_scan(repositoryName=APP, imageId={"imageTag": "v1"})
    assert refused.value.response["Error"]["Code"] == "UnknownOperationException"
    assert "StartImageScan" in refused.value.response["Error"]["Message"]
