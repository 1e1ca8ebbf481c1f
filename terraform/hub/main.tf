terraform {
  required_version = ">= 1.2"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 3.39"
    }
  }
}

variable "stack_name" {
  description = "Name of the stack. The roles and topics of the registries are named after it."
  type        = string
  default     = "ecr-lineage"
}

variable "tags" {
  description = "Tags of the stack, which CloudFormation gives to its resources."
  type        = map(string)
  default     = {}
}

data "aws_region" "current" {}

data "aws_partition" "current" {}

resource "aws_cloudformation_stack" "this" {
  name         = var.stack_name
  template_url = "https://${var.artifacts_bucket}.s3.${data.aws_region.current.name}.${data.aws_partition.current.dns_suffix}/${var.artifacts_prefix}/hub.yaml"
  parameters   = local.parameters
  capabilities = ["CAPABILITY_IAM"]
  tags         = var.tags
}
