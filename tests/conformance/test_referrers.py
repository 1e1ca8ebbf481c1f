"""Artifacts about an image: signatures, bills of materials."""

import pytest

from manifests import EMPTY, IMAGE, artifact, digest, image
from sites import APP, COPIED, refusal

pytestmark = pytest.mark.only_simulator("moto has no ListImageReferrers")


def referrers(registry, subject, **more):
    return registry.ecr.list_image_referrers(repositoryName=APP, subjectId={"imageDigest": digest(subject)}, **more)["referrers"]


def test_artifacts_are_listed_by_their_subject(ireland):
    ireland.push(image("a"), "v1")
    sbom, signature = artifact(image("a"), "text/sbom+json"), artifact(image("a"), "application/vnd.cncf.notary.signature")
    for one in [sbom, signature]:
        ireland.push(one)
    subject = {"imageDigest": digest(image("a"))}
    # boto3 has no paginator for this operation.
    first = ireland.ecr.list_image_referrers(repositoryName=APP, subjectId=subject, maxResults=1)
    second = ireland.ecr.list_image_referrers(repositoryName=APP, subjectId=subject, maxResults=1, nextToken=first["nextToken"])
    assert {one["digest"] for page in [first, second] for one in page["referrers"]} == {digest(sbom), digest(signature)}
    assert "nextToken" not in second
    only = ireland.ecr.list_image_referrers(repositoryName=APP, subjectId=subject, filter={"artifactTypes": ["text/sbom+json"]})
    (one,) = only["referrers"]
    assert (one["digest"], one["artifactType"], one["mediaType"]) == (digest(sbom), "text/sbom+json", IMAGE)
    assert (one["size"], one["artifactStatus"]) == (len(sbom), "ACTIVE")
    assert ireland.detail(sbom)["subjectManifestDigest"] == digest(image("a"))


def test_an_artifact_is_listed_with_every_field(ireland):
    sbom = artifact(image("a"), "text/sbom+json", tool="syft")
    ireland.push(sbom)
    (listed,) = referrers(ireland, image("a"))
    assert listed == {
        "digest": digest(sbom), "mediaType": IMAGE, "artifactType": "text/sbom+json", "size": len(sbom),
        "annotations": {"tool": "syft"}, "artifactStatus": "ACTIVE",
    }
    assert ireland.detail(sbom)["artifactMediaType"] == EMPTY


def test_an_image_without_artifacts_has_an_empty_list(ireland):
    ireland.push(image("a"), "v1")
    assert referrers(ireland, image("a")) == []
    with pytest.raises(ireland.ecr.exceptions.RepositoryNotFoundException):
        ireland.ecr.list_image_referrers(repositoryName="team/other", subjectId={"imageDigest": digest(image("a"))})


def test_artifacts_are_listed_by_status_and_active_ones_unless_asked(ireland):
    ireland.push(image("a"), "v1")
    kept, stored = (artifact(image("a"), kind) for kind in ["text/sbom+json", "text/report"])
    for one in [kept, stored]:
        ireland.push(one)
    assert ireland.archive(stored) == "ARCHIVED"
    listed = lambda **filter: {one["digest"]: one["artifactStatus"] for one in referrers(ireland, image("a"), filter=filter)}
    assert {one["digest"] for one in referrers(ireland, image("a"))} == {digest(kept)}
    assert listed(artifactTypes=["text/report"]) == {}
    assert listed(artifactStatus="ARCHIVED") == {digest(stored): "ARCHIVED"}
    assert listed(artifactStatus="ANY") == {digest(kept): "ACTIVE", digest(stored): "ARCHIVED"}


def test_a_page_has_at_most_fifty_artifacts_and_a_filter_at_most_five_types(ireland):
    call = lambda **more: refusal(referrers, ireland, image("a"), **more)
    assert call(maxResults=51) == "InvalidParameterException"
    assert call(filter={"artifactTypes": [f"text/{number}" for number in range(6)]}) == "InvalidParameterException"


def test_an_artifact_of_an_artifact_is_copied_with_its_own_subject(ireland, virginia):
    ireland.replicate(virginia)
    ireland.push(image("a"), "v1")
    sbom = artifact(image("a"), "text/sbom+json")
    signature = artifact(sbom, "application/vnd.cncf.notary.signature")
    for one in [sbom, signature]:
        ireland.push(one)
    ireland.sites.step(COPIED)
    assert [one["digest"] for one in referrers(virginia, image("a"))] == [digest(sbom)]
    assert [one["digest"] for one in referrers(virginia, sbom)] == [digest(signature)]
