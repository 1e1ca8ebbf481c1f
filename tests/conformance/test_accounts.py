"""Callers, credentials and registries of several accounts."""

import json

import pytest
from botocore.exceptions import ClientError

from manifests import digest, image
from sites import APP, refusal

# boto3 itself requires at least 100 characters.
NO_POLICY = "no policy".ljust(100)


def test_registries_of_other_regions_and_accounts_are_separate(sites, ireland, virginia, tokyo):
    other = sites.registry("eu-west-1", account=1)
    for registry in [virginia, tokyo, other]:
        assert registry.ecr.describe_repositories()["repositories"] == []


def test_an_assumed_role_belongs_to_its_own_account(sites, tokyo):
    sts = sites.client("sts", "eu-west-1", tokyo.account)
    identity = sts.get_caller_identity()
    assert identity["Account"] == tokyo.account
    assert identity["Arn"] == f"arn:aws:sts::{tokyo.account}:assumed-role/conformance/dana"
    assert identity["UserId"].endswith(":dana")


@pytest.mark.only_simulator("a convention of emulators, which moto does not follow")
def test_an_access_key_of_twelve_digits_is_an_account(sites):
    identity = sites.signed("sts", "eu-west-1", "111122223333").get_caller_identity()
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


def test_a_role_is_given_as_asked(sites):
    sts = sites.signed("sts", "eu-west-1", sites.accounts[0])
    given = sts.assume_role(RoleArn="arn:aws:iam::444455556666:role/ops/mirror", RoleSessionName="dana", DurationSeconds=900)
    # The ARN of an assumed role omits the role's path:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
    assert given["AssumedRoleUser"]["Arn"] == "arn:aws:sts::444455556666:assumed-role/mirror/dana"
    assert given["AssumedRoleUser"]["AssumedRoleId"].endswith(":dana")
    credentials = given["Credentials"]
    assert set(credentials) == {"AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"}
    assert all(credentials.values()) and credentials["AccessKeyId"].startswith("ASIA")


@pytest.mark.only_simulator("a convention of emulators, which moto does not follow")
def test_the_key_of_a_role_names_its_account(sites):
    sts = sites.signed("sts", "eu-west-1", sites.accounts[0])
    given = sts.assume_role(RoleArn="arn:aws:iam::444455556666:role/mirror", RoleSessionName="dana")
    assert given["Credentials"]["AccessKeyId"] == "ASIA444455556666"


def test_a_wrong_role_is_refused(sites):
    sts = sites.signed("sts", "eu-west-1", sites.accounts[0])
    role = "arn:aws:iam::444455556666:role/mirror"
    # boto3 itself enforces the minimum length.
    assert refusal(sts.assume_role, RoleArn=role, RoleSessionName="x" * 65) == "ValidationError"


@pytest.mark.only_simulator("its default account is 123456789012")
def test_any_other_access_key_belongs_to_account_zero(sites):
    for key in ["test", "AKIAIOSFODNN7EXAMPLE", "1234"]:
        assert sites.signed("sts", "eu-west-1", key).get_caller_identity()["Account"] == "000000000000"
        assert sites.signed("ecr", "eu-west-1", key).describe_registry()["registryId"] == "000000000000"


@pytest.mark.only_simulator("moto has these services")
def test_other_services_are_unknown(sites):
    key = sites.accounts[0]
    for service, call, code in [
        ("iam", lambda client: client.create_role(RoleName="x", AssumeRolePolicyDocument="{}"), "InvalidAction"),
        ("cloudformation", lambda client: client.create_stack(StackName="x"), "InvalidAction"),
        ("sts", lambda client: client.get_session_token(), "InvalidAction"),
        ("ssm", lambda client: client.get_parameter(Name="x"), "UnknownOperationException"),
    ]:
        with pytest.raises(ClientError) as error:
            call(sites.signed(service, "eu-west-1", key))
        said = error.value.response["Error"]
        assert said["Code"] == code
        assert service in said["Message"].lower() or "GetSessionToken" in said["Message"]


CONDITIONS = [
    (True, {"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}),
    (True, {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/conformance"}}),
    (False, {"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/conformance"}}),
    (False, {"StringEquals": {"aws:SourceAccount": "111122223333"}}),
    (True, {"Null": {"aws:SourceArn": "true"}, "Bool": {"aws:SecureTransport": "true"}}),
]


@pytest.mark.moto_differs("knows only V1 actions", "https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry-permissions.html")
@pytest.mark.parametrize("holds, condition", CONDITIONS)
def test_conditions_of_a_registry_policy_are_evaluated(sites, ireland, holds, condition):
    other = sites.registry("eu-west-1", account=1)
    put_registry_policy(ireland, Condition=condition)
    describe = lambda: other.ecr.describe_images(registryId=ireland.account, repositoryName=APP)
    assert describe()["imageDetails"] == [] if holds else refusal(describe) == "AccessDeniedException"


@pytest.mark.only_simulator("a limit of the simulator")
def test_a_condition_that_cannot_be_evaluated_is_refused_by_name(ireland):
    with pytest.raises(ClientError) as error:
        put_registry_policy(ireland, Condition={"StringEquals": {"aws:SourceVpc": "vpc-1"}})
    assert "the simulator cannot evaluate the condition key aws:SourceVpc" in str(error.value)


def put_registry_policy(registry, **more):
    statement = {"Sid": "x", "Effect": "Allow", "Principal": "*", "Action": "ecr:*", "Resource": "*", **more}
    registry.ecr.put_registry_policy(policyText=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def test_ones_own_registry_can_be_named(ireland):
    ireland.push(image("a"), "v1")
    own = {"registryId": ireland.account, "repositoryName": APP}
    assert len(ireland.ecr.describe_images(**own)["imageDetails"]) == 1
    assert ireland.ecr.list_images(**own)["imageIds"] == [{"imageDigest": digest(image("a")), "imageTag": "v1"}]
    assert len(ireland.ecr.describe_repositories(registryId=ireland.account)["repositories"]) == 1


ABOUT_ANOTHER = [
    ("batch_delete_image", {"imageIds": [{"imageTag": "v1"}]}),
    ("batch_get_image", {"imageIds": [{"imageTag": "v1"}]}),
    ("delete_repository", {"force": True}),
    ("describe_image_replication_status", {"imageId": {"imageTag": "v1"}}),
    ("describe_images", {}),
    ("get_lifecycle_policy", {}),
    ("get_repository_policy", {}),
    ("list_image_referrers", {"subjectId": {"imageDigest": digest(image("a"))}}),
    ("list_images", {}),
    ("put_image", {"imageManifest": image("b")}),
    ("put_image_tag_mutability", {"imageTagMutability": "IMMUTABLE"}),
    ("put_lifecycle_policy", {"lifecyclePolicyText": NO_POLICY}),
    ("set_repository_policy", {"policyText": NO_POLICY}),
    ("update_image_storage_class", {"imageId": {"imageTag": "v1"}, "targetStorageClass": "ARCHIVE"}),
]


@pytest.mark.only_simulator("moto ignores registryId, and lacks some of the operations")
@pytest.mark.parametrize(("operation", "arguments"), ABOUT_ANOTHER, ids=[name for name, _ in ABOUT_ANOTHER])
def test_every_call_to_another_accounts_registry_needs_permission(sites, ireland, operation, arguments):
    other = sites.registry("eu-west-1", account=1)
    ireland.push(image("a"), "v1")
    call = getattr(other.ecr, operation)
    assert refusal(call, registryId=ireland.account, repositoryName=APP, **arguments) == "AccessDeniedException"
    assert ireland.images("ACTIVE") == {digest(image("a")): ["v1"]}


@pytest.mark.moto_differs("knows only V1 actions", "https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry-permissions.html")
def test_a_permitted_call_changes_only_the_other_registry(sites, ireland):
    other = sites.registry("eu-west-1", account=1, repository=True)
    for registry in [ireland, other]:
        registry.push(image("a"), "v1")
    ireland.allow(other.account, "ecr:BatchDeleteImage")
    answer = other.ecr.batch_delete_image(registryId=ireland.account, repositoryName=APP, imageIds=[{"imageTag": "v1"}])
    assert answer["imageIds"] == [{"imageDigest": digest(image("a")), "imageTag": "v1"}]
    assert (ireland.images(), other.images()) == ({}, {digest(image("a")): ["v1"]})


@pytest.mark.moto_differs("knows only V1 actions", "https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry-permissions.html")
def test_a_permission_applies_only_to_its_repositories_and_accounts(sites, ireland):
    other = sites.registry("eu-west-1", account=1)
    describe = lambda: other.ecr.describe_images(registryId=ireland.account, repositoryName=APP)["imageDetails"]
    for principal, resource, allowed in [(other.account, "other/*", False), ("999999999999", "*", False), (other.account, "team/*", True)]:
        statement = {
            "Sid": "read", "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{principal}:root"},
            "Action": ["ecr:DescribeImages"], "Resource": [f"arn:aws:ecr:eu-west-1:{ireland.account}:repository/{resource}"],
        }
        ireland.ecr.put_registry_policy(policyText=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
        if allowed:
            assert describe() == []
        else:
            assert refusal(describe) == "AccessDeniedException"


@pytest.mark.moto_differs("knows only V1 actions", "https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry-permissions.html")
def test_the_policy_of_a_registry_can_let_others_list_its_repositories(sites, ireland):
    other = sites.registry("eu-west-1", account=1)
    ireland.allow(other.account, "ecr:DescribeRepositories")
    listed = other.ecr.describe_repositories(registryId=ireland.account)["repositories"]
    assert [one["repositoryName"] for one in listed] == [APP]


def test_a_refusal_is_one_of_the_operations_own_errors(ireland):
    """Only errors that the operation's model declares, because typed clients can catch only those."""
    model = ireland.ecr.meta.service_model
    for operation, call, arguments in [
        ("DescribeImages", ireland.ecr.describe_images, {"repositoryName": "team/other"}),
        ("DescribeImages", ireland.ecr.describe_images, {"repositoryName": APP, "imageIds": [{"imageTag": "v1"}]}),
        ("CreateRepository", ireland.ecr.create_repository, {"repositoryName": APP}),
        ("GetRegistryPolicy", ireland.ecr.get_registry_policy, {}),
        ("GetLifecyclePolicy", ireland.ecr.get_lifecycle_policy, {"repositoryName": APP}),
        ("GetRepositoryPolicy", ireland.ecr.get_repository_policy, {"repositoryName": APP}),
        ("PutLifecyclePolicy", ireland.ecr.put_lifecycle_policy, {"repositoryName": APP, "lifecyclePolicyText": NO_POLICY}),
    ]:
        errors = [shape.name for shape in model.operation_model(operation).error_shapes]
        with pytest.raises(ireland.ecr.exceptions.ClientError) as caught:
            call(**arguments)
        answer = caught.value.response
        assert answer["Error"]["Code"] in errors, operation
        assert answer["Error"]["Message"] and answer["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert type(caught.value) is ireland.ecr.exceptions.from_code(answer["Error"]["Code"])
