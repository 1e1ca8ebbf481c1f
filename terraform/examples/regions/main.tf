# A hub, and registries in two regions of its account and in another account, whose replicas below dev/ it may delete when it
# enforces a policy. Each account has its roles in one region.

variable "release" {
  description = "Folder with the files of a release, which are also in the bucket."
  type        = string
}

variable "bucket" {
  description = "S3 bucket in eu-west-1, with these files below ecr-lineage/0.1.0."
  type        = string
}

variable "replicas_account_role" {
  description = "ARN of the role with which Terraform deploys in the account of the replicas."
  type        = string
}

locals {
  replicas_account = split(":", var.replicas_account_role)[4]
  registry = {
    template_body = file("${var.release}/registry.yaml")
    hub_queue_arn = module.hub.queue_arn
    external_id   = "platform-team"
  }
}

provider "aws" {
  region = "eu-west-1"
}

provider "aws" {
  alias  = "virginia"
  region = "us-east-1"
}

provider "aws" {
  alias  = "replicas"
  region = "ap-northeast-1"

  assume_role {
    role_arn = var.replicas_account_role
  }
}

module "hub" {
  source           = "../../hub"
  artifacts_bucket = var.bucket
  external_id      = "platform-team"
  account_ids      = local.replicas_account
}

module "ireland" {
  source        = "../../registry"
  template_body = local.registry.template_body
  hub_queue_arn = local.registry.hub_queue_arn
  external_id   = local.registry.external_id
  roles_region  = "eu-west-1"
}

module "virginia" {
  source        = "../../registry"
  providers     = { aws = aws.virginia }
  template_body = local.registry.template_body
  hub_queue_arn = local.registry.hub_queue_arn
  external_id   = local.registry.external_id
  roles_region  = "eu-west-1"
}

module "replicas" {
  source                 = "../../registry"
  providers              = { aws = aws.replicas }
  template_body          = local.registry.template_body
  hub_queue_arn          = local.registry.hub_queue_arn
  external_id            = local.registry.external_id
  roles_region           = "ap-northeast-1"
  deletable_repositories = "arn:aws:ecr:*:${local.replicas_account}:repository/dev/*"
}
