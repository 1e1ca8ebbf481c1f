"""Repository creation templates, and the pull through cache: repositories that ECR creates itself."""

import json
import urllib.error
import urllib.request

import pytest

from manifests import digest, image
from sites import APP, COPIED, refusal

pytestmark = pytest.mark.only_simulator("moto has no creation templates and no pull through cache")

RULE = {"rulePriority": 1, "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 9}, "action": {"type": "expire"}}
LIFECYCLE = json.dumps({"rules": [RULE]})
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Sid": "x", "Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"}]})
SECRET = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:ecr-pullthroughcache/hub-AbCdEf"


def template(registry, prefix, *reasons, **settings):
    answer = registry.ecr.create_repository_creation_template(prefix=prefix, appliedFor=list(reasons), **settings)
    return answer["repositoryCreationTemplate"]


def repository(registry, name=APP):
    return registry.ecr.describe_repositories(repositoryNames=[name])["repositories"][0]


def test_a_template_is_created_updated_described_and_deleted(ireland):
    ecr = ireland.ecr
    made = template(ireland, "team", "REPLICATION", description="of the team", imageTagMutability="IMMUTABLE")
    assert made.pop("createdAt") == made.pop("updatedAt")
    assert made == {
        "prefix": "team", "description": "of the team", "encryptionConfiguration": {"encryptionType": "AES256"},
        "resourceTags": [], "imageTagMutability": "IMMUTABLE", "appliedFor": ["REPLICATION"],
    }
    assert refusal(template, ireland, "team/", "REPLICATION") == "TemplateAlreadyExistsException"
    changed = ecr.update_repository_creation_template(prefix="team", appliedFor=["CREATE_ON_PUSH"], lifecyclePolicy=LIFECYCLE)
    changed = changed["repositoryCreationTemplate"]
    assert (changed["appliedFor"], changed["imageTagMutability"], changed["lifecyclePolicy"]) == (["CREATE_ON_PUSH"], "IMMUTABLE", LIFECYCLE)
    template(ireland, "ROOT", "REPLICATION")
    answer = ecr.describe_repository_creation_templates()
    assert answer["registryId"] == ireland.account
    assert [one["prefix"] for one in answer["repositoryCreationTemplates"]] == ["ROOT", "team"]
    (found,) = ecr.describe_repository_creation_templates(prefixes=["team"])["repositoryCreationTemplates"]
    assert found == changed
    assert ecr.delete_repository_creation_template(prefix="team")["repositoryCreationTemplate"] == changed
    for call in [ecr.delete_repository_creation_template, ecr.update_repository_creation_template]:
        assert refusal(call, prefix="team") == "TemplateNotFoundException"


def test_a_template_needs_valid_settings(ireland):
    for prefix, settings in [
        ("Team", {}), ("team//", {}), ("team", {"lifecyclePolicy": "{}"}), ("team", {"repositoryPolicy": "none"}),
        ("team", {"imageTagMutability": "IMMUTABLE_WITH_EXCLUSION"}), ("team", {"description": "d" * 257}),
        ("team", {"encryptionConfiguration": {"encryptionType": "KMS", "kmsKey": "none"}}),
    ]:
        assert refusal(template, ireland, prefix, "REPLICATION", **settings) == "InvalidParameterException", (prefix, settings)
    assert refusal(template, ireland, "team", "OTHER") == "InvalidParameterException"
    many = [{"Key": f"key{number}", "Value": ""} for number in range(51)]
    assert refusal(template, ireland, "team", "REPLICATION", resourceTags=many) in ("TooManyTagsException", "InvalidParameterException")


def test_the_repository_of_a_replica_has_the_settings_of_its_template(sites, ireland, virginia):
    template(
        virginia, "team", "REPLICATION", imageTagMutability="IMMUTABLE", lifecyclePolicy=LIFECYCLE,
        repositoryPolicy=POLICY, resourceTags=[{"Key": "made", "Value": "by template"}],
    )
    template(virginia, "ROOT", "REPLICATION", imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
             imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "dev-*"}])
    template(virginia, "other", "CREATE_ON_PUSH", imageTagMutability="IMMUTABLE")
    ireland.replicate(virginia)
    for name in ["team", "teams/app", "other/app"]:
        ireland.ecr.create_repository(repositoryName=name)
    for name in [APP, "team", "teams/app", "other/app"]:
        ireland.push(image("a"), "v1", repository=name)
    sites.step(COPIED)
    made = repository(virginia)
    assert made["imageTagMutability"] == "IMMUTABLE"
    assert virginia.ecr.get_lifecycle_policy(repositoryName=APP)["lifecyclePolicyText"] == LIFECYCLE
    assert virginia.ecr.get_repository_policy(repositoryName=APP)["policyText"] == POLICY
    tags = virginia.ecr.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"]
    assert tags == [{"Key": "made", "Value": "by template"}]
    # "There is always an assumed / applied to the end of the prefix": these three have only the one for everything.
    for name in ["team", "teams/app", "other/app"]:
        assert repository(virginia, name)["imageTagMutability"] == "IMMUTABLE_WITH_EXCLUSION", name


def test_a_template_changes_no_repository_that_exists(sites, ireland, virginia):
    virginia.ecr.create_repository(repositoryName=APP)
    template(virginia, "team", "REPLICATION", imageTagMutability="IMMUTABLE")
    ireland.replicate(virginia)
    ireland.push(image("a"), "v1")
    sites.step(COPIED)
    assert repository(virginia)["imageTagMutability"] == "MUTABLE"
    assert len(virginia.images()) == 1


def test_a_push_creates_a_repository_if_a_template_is_for_it(ireland):
    push = {"repositoryName": "new/app", "imageManifest": image("a"), "imageTag": "v1"}
    assert refusal(ireland.ecr.put_image, **push) == "RepositoryNotFoundException"
    template(ireland, "new", "CREATE_ON_PUSH", imageTagMutability="IMMUTABLE")
    ireland.ecr.put_image(**push)
    assert repository(ireland, "new/app")["imageTagMutability"] == "IMMUTABLE"
    assert ireland.ecr.initiate_layer_upload(repositoryName="new/other")["partSize"] > 0
    assert repository(ireland, "new/other")["imageTagMutability"] == "IMMUTABLE"
    # A read creates nothing.
    assert refusal(ireland.ecr.list_images, repositoryName="new/none") == "RepositoryNotFoundException"


def rule(registry, prefix, url, **more):
    return registry.ecr.create_pull_through_cache_rule(ecrRepositoryPrefix=prefix, upstreamRegistryUrl=url, **more)


def test_a_rule_of_the_cache_is_created_updated_described_and_deleted(ireland):
    ecr = ireland.ecr
    made = rule(ireland, "hub", "registry-1.docker.io", upstreamRegistry="docker-hub", credentialArn=SECRET)
    assert (made["ecrRepositoryPrefix"], made["upstreamRegistryUrl"], made["upstreamRegistry"]) == ("hub", "registry-1.docker.io", "docker-hub")
    assert (made["registryId"], made["credentialArn"]) == (ireland.account, SECRET)
    rule(ireland, "public", "public.ecr.aws")
    assert refusal(rule, ireland, "public", "quay.io") == "PullThroughCacheRuleAlreadyExistsException"
    assert refusal(rule, ireland, "other", "registry.example.com") == "UnsupportedUpstreamRegistryException"
    for prefix, url in [("Other", "quay.io"), ("other", "ghcr.io")]:
        assert refusal(rule, ireland, prefix, url) == "InvalidParameterException", (prefix, url)
    changed = ecr.update_pull_through_cache_rule(ecrRepositoryPrefix="hub", credentialArn=SECRET + "2")
    assert changed["credentialArn"] == SECRET + "2"
    found = ecr.describe_pull_through_cache_rules()["pullThroughCacheRules"]
    assert [(one["ecrRepositoryPrefix"], one["upstreamRegistry"]) for one in found] == [("hub", "docker-hub"), ("public", "ecr-public")]
    assert ecr.validate_pull_through_cache_rule(ecrRepositoryPrefix="public")["isValid"] is True
    assert ecr.validate_pull_through_cache_rule(ecrRepositoryPrefix="hub")["isValid"] is False
    assert ecr.delete_pull_through_cache_rule(ecrRepositoryPrefix="hub")["upstreamRegistryUrl"] == "registry-1.docker.io"
    for call in [ecr.delete_pull_through_cache_rule, ecr.update_pull_through_cache_rule, ecr.validate_pull_through_cache_rule]:
        more = {"credentialArn": SECRET} if call == ecr.update_pull_through_cache_rule else {}
        assert refusal(call, ecrRepositoryPrefix="hub", **more) == "PullThroughCacheRuleNotFoundException"
    assert refusal(ecr.describe_pull_through_cache_rules, ecrRepositoryPrefixes=["hub"]) == "PullThroughCacheRuleNotFoundException"


def test_a_pull_fills_the_cache_from_another_registry(sites, ireland, virginia, get_manifest):
    virginia_host = f"{ireland.account}.dkr.ecr.eu-west-1.amazonaws.com"
    rule(virginia, "cache", virginia_host)
    template(virginia, "cache", "PULL_THROUGH_CACHE", imageTagMutability="MUTABLE", lifecyclePolicy=LIFECYCLE)
    ireland.push(image("a"), "v1")
    cached = f"cache/{APP}"
    assert get_manifest(virginia, cached, "none") is None
    assert get_manifest(virginia, cached, "v1") == image("a")
    assert virginia.images(repository=cached) == {digest(image("a")): ["v1"]}
    assert virginia.ecr.get_lifecycle_policy(repositoryName=cached)["lifecyclePolicyText"] == LIFECYCLE
    (event,) = [one for one in sites.events() if one["detail-type"] == "ECR Pull Through Cache Action"]
    assert event["resources"] == [f"arn:aws:ecr:us-east-1:{virginia.account}:repository/{cached}"]
    assert event["detail"] == {
        "rule-version": "1", "sync-status": "SUCCESS", "ecr-repository-prefix": "cache", "repository-name": cached,
        "upstream-registry-url": virginia_host, "image-tag": "v1", "image-digest": digest(image("a")),
    }
    # The tag moves at the upstream: it is looked at again after a day.
    ireland.push(image("b"), "v1")
    assert get_manifest(virginia, cached, "v1") == image("a")
    sites.step(86_401)
    assert get_manifest(virginia, cached, "v1") == image("b")
    assert get_manifest(virginia, cached, digest(image("a"))) == image("a")


@pytest.fixture
def get_manifest(sites):
    """Reads a manifest as registry clients do; nothing if there is none."""
    def get(registry, repository, reference):
        (data,) = registry.ecr.get_authorization_token()["authorizationData"]
        request = urllib.request.Request(f"{sites.endpoint}/v2/{repository}/manifests/{reference}")
        request.add_header("Authorization", "Basic " + data["authorizationToken"])
        try:
            return urllib.request.urlopen(request, timeout=20).read().decode()
        except urllib.error.HTTPError as error:
            assert error.code == 404, error
            return None

    return get
