variable "template_body" {
  description = "The text of registry.yaml from the files of a release: file(\"RELEASE/registry.yaml\")."
  type        = string
}

variable "regions" {
  description = "Regions with sources or replicas, in which each account gets a stack."
  type        = list(string)

  validation {
    condition     = length(var.regions) > 0
    error_message = "At least one region."
  }
}

variable "organizational_unit_ids" {
  description = "Organizational units or the root, such as ou-ab12-cdefgh34, whose accounts get stacks."
  type        = list(string)

  validation {
    condition     = length(var.organizational_unit_ids) > 0 && alltrue([for id in var.organizational_unit_ids : can(regex("^(ou-[a-z0-9]{4,32}-[a-z0-9]{8,32}|r-[a-z0-9]{4,32})$", id))])
    error_message = "At least one ID of a unit (ou-…) or of the root (r-…)."
  }
}

variable "call_as" {
  description = "SELF in the management account, DELEGATED_ADMIN in the account of a delegated administrator."
  type        = string
  default     = "SELF"

  validation {
    condition     = contains(["SELF", "DELEGATED_ADMIN"], var.call_as)
    error_message = "SELF or DELEGATED_ADMIN."
  }
}

variable "stack_set_name" {
  description = "Name of the StackSet."
  type        = string
  default     = "ecr-lineage-registry"
}

variable "tags" {
  description = "Tags of the StackSet, which CloudFormation gives to its stacks and their resources."
  type        = map(string)
  default     = {}
}

resource "aws_cloudformation_stack_set" "this" {
  name             = var.stack_set_name
  description      = "ecr-lineage: sends the events of registries to the hub."
  template_body    = var.template_body
  parameters       = local.parameters
  capabilities     = ["CAPABILITY_NAMED_IAM"]
  permission_model = "SERVICE_MANAGED"
  call_as          = var.call_as
  tags             = var.tags

  auto_deployment {
    enabled                          = true
    retain_stacks_on_account_removal = false
  }

  lifecycle {
    # AWS sets it, although a service-managed StackSet has none.
    ignore_changes = [administration_role_arn]

    precondition {
      condition     = var.roles_region == "" || contains(var.regions, var.roles_region)
      error_message = "The roles of an account are made by its stack in roles_region, which is not one of regions."
    }
  }
}

output "stack_set_id" {
  description = "ID of the StackSet."
  value       = aws_cloudformation_stack_set.this.stack_set_id
}
