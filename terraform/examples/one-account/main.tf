# A hub, and the registry of the same account and region. Nothing is deleted: the hub observes, and no role may delete.

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

module "hub" {
  source           = "../../hub"
  artifacts_bucket = var.bucket
  external_id      = "platform-team"
}

module "registry" {
  source        = "../../registry"
  template_body = file("${var.release}/registry.yaml")
  hub_queue_arn = module.hub.queue_arn
  roles_region  = "eu-west-1"
  external_id   = "platform-team"
}
