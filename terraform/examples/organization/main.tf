# A hub for an organization, by its delegated administrator for StackSets: every account of a unit gets the stacks of its
# registries, also one that joins later. The organization requires a boundary and a path of roles, and no key is in a variable.

provider "aws" {
  region = "eu-west-1"
}

variable "release" {
  description = "Folder with the files of a release, which are also in the bucket."
  type        = string
}

variable "bucket" {
  description = "S3 bucket in the same region, with these files below ecr-lineage/0.1.0."
  type        = string
}

variable "organization_id" {
  type = string
}

variable "organizational_unit_ids" {
  type = list(string)
}

variable "pager_duty_secret" {
  description = "ARN of a secret with the integration key."
  type        = string
}

locals {
  tags  = { team = "platform" }
  roles = { path = "platform/ecr/", boundary = "platform/boundary" }
}

module "hub" {
  source                      = "../../hub"
  artifacts_bucket            = var.bucket
  external_id                 = "platform-team"
  organization_id             = var.organization_id
  role_path                   = local.roles.path
  permissions_boundary        = local.roles.boundary
  pager_duty_secret           = var.pager_duty_secret
  log_group_prefix            = "/platform/"
  deletion_log_retention_days = 731
  tags                        = local.tags
}

module "registries" {
  source                  = "../../registries"
  template_body           = file("${var.release}/registry.yaml")
  regions                 = ["eu-west-1", "us-east-1"]
  organizational_unit_ids = var.organizational_unit_ids
  call_as                 = "DELEGATED_ADMIN"
  hub_queue_arn           = module.hub.queue_arn
  roles_region            = "eu-west-1"
  external_id             = "platform-team"
  organization_id         = var.organization_id
  role_path               = local.roles.path
  permissions_boundary    = local.roles.boundary
  tags                    = local.tags
}
