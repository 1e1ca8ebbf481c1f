terraform {
  required_version = ">= 1.2"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 3.39"
    }
  }
}

variable "template_body" {
  description = "The text of registry.yaml from the files of a release: file(\"RELEASE/registry.yaml\")."
  type        = string
}

variable "stack_name" {
  description = "Name of the stack."
  type        = string
  default     = "ecr-lineage-registry"
}

variable "tags" {
  description = "Tags of the stack, which CloudFormation gives to its resources."
  type        = map(string)
  default     = {}
}

resource "aws_cloudformation_stack" "this" {
  name          = var.stack_name
  template_body = var.template_body
  parameters    = local.parameters
  capabilities  = ["CAPABILITY_NAMED_IAM"]
  tags          = var.tags
}
