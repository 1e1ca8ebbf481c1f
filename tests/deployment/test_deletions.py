"""Deletions by the deployed `mirror`, and those that its roles do not permit."""

import re

from cloud import eventually
from command import run
from conftest import FAR, NEAR, SOURCE
from images import Image, deliver


def deletions(cloud, hub, image, *over):
    """Invokes `mirror`, in addition to its schedule, until the deletions in these registries were tried; returns them
    by registry."""
    lambdas = cloud.client("lambda")

    def tried():
        deliver(cloud)
        answer = lambdas.invoke(FunctionName=hub.ids["Mirror"], Payload=b"{}")
        assert "FunctionError" not in answer, answer["Payload"].read()
        found = {deletion["registry"]: deletion for deletion in image.ask().get("deletions", [])}
        return found if all(found.get("/".join(registry), {}).get("checks") for registry in over) else None

    return {registry: eventually(tried)["/".join(registry)] for registry in over}


def test_a_due_deletion_is_mirrored_in_another_account_by_the_permitted_role(cloud, hub, registries):
    image = Image(cloud, hub, "dev/app")
    image.push("v1")
    image.arrives(SOURCE, NEAR, FAR)
    image.delete()
    deletion = deletions(cloud, hub, image, FAR)[FAR]
    assert deletion["status"] == "done", deletion
    assert not image.is_in(*FAR)
    [who] = [who for call, who, status in cloud.gate.calls if call == "ecr:BatchDeleteImage" and status == 200]
    assert who.startswith(f"arn:aws:sts::{FAR[0]}:assumed-role/ecr-lineage-delete/")


def test_replicas_that_no_role_may_delete_are_kept_with_the_reason(cloud, hub, registries):
    image = Image(cloud, hub, "team/release")
    image.push("v1")
    image.arrives(SOURCE, NEAR, FAR)
    image.delete()
    tried = deletions(cloud, hub, image, NEAR, FAR)
    for registry, deletion in tried.items():
        assert image.is_in(*registry)
        assert deletion["status"] == "pending", deletion
        [*_, last] = deletion["checks"]
        assert (last["check"], last["passed"]) == ("call", False), deletion
    assert "NoCredentials" in tried[NEAR]["checks"][-1]["why"] and "sts:AssumeRole" in tried[NEAR]["checks"][-1]["why"], tried[NEAR]
    assert "ecr:BatchDeleteImage" in tried[FAR]["checks"][-1]["why"], tried[FAR]
    # `doctor` reports it, too.
    assert re.search(r"AWS refuses \d deletions of this registry's replicas", run(cloud, "doctor", code=1))
