# From infra/registry.yaml, by terraform/generate.

variable "hub_queue_arn" {
  description = "ARN of the hub's queue, the output QueueArn of the hub's stack."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:sqs:[a-z0-9-]+:\\d{12}:[A-Za-z0-9_-]{1,80}$", var.hub_queue_arn))
    error_message = "HubQueueArn must match ^arn:aws[a-z-]*:sqs:[a-z0-9-]+:\\d{12}:[A-Za-z0-9_-]{1,80}$."
  }
}

variable "hub_stack_name" {
  description = "Name of the hub's stack. The topic and the roles of its functions are named after it."
  type        = string
  default     = "ecr-lineage"

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9-]{0,36}$", var.hub_stack_name))
    error_message = "HubStackName must match ^[A-Za-z][A-Za-z0-9-]{0,36}$."
  }
}

variable "alarm_topic_name" {
  description = "Name of an SNS topic in this account and region that the alarm notifies when events do not reach the hub."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{0,256}$", var.alarm_topic_name))
    error_message = "AlarmTopicName must match ^[A-Za-z0-9_-]{0,256}$."
  }
}

variable "roles_region" {
  description = "Region in which this template creates the account's IAM roles, such as eu-west-1, the same value in all regions. If empty, no roles are created."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([a-z]{2}(-[a-z]+)+-\\d)?$", var.roles_region))
    error_message = "RolesRegion must match ^([a-z]{2}(-[a-z]+)+-\\d)?$."
  }
}

variable "external_id" {
  description = "STS external ID that the roles' trust policies require, as in the hub. Required with RolesRegion."
  type        = string
  default     = ""
}

variable "organization_id" {
  description = "AWS organization of the hub. If set, only principals of this organization can assume the roles."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(o-[a-z0-9]{10,32})?$", var.organization_id))
    error_message = "OrganizationId must match ^(o-[a-z0-9]{10,32})?$."
  }
}

variable "read_role_name" {
  description = "Name of the IAM role that reads this account's registries, as in the hub."
  type        = string
  default     = "ecr-lineage-read"

  validation {
    condition     = can(regex("^[\\w+=,.@-]{1,64}$", var.read_role_name))
    error_message = "ReadRoleName must match ^[\\w+=,.@-]{1,64}$."
  }
}

variable "delete_role_name" {
  description = "Name of the IAM role that deletes replicas, as in the hub."
  type        = string
  default     = "ecr-lineage-delete"

  validation {
    condition     = can(regex("^[\\w+=,.@-]{1,64}$", var.delete_role_name))
    error_message = "DeleteRoleName must match ^[\\w+=,.@-]{1,64}$."
  }
}

variable "role_path" {
  description = "Path of every role, such as platform/ecr/, the same in the hub and in every registry stack."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([\\w+=,.@-]{1,30}/){0,4}$", var.role_path))
    error_message = "RolePath must match ^([\\w+=,.@-]{1,30}/){0,4}$."
  }
}

variable "permissions_boundary" {
  description = "Permissions boundary of every role: a customer managed policy of the stack's account, by path and name, such as platform/boundary."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([\\w+=,.@-]+(/[\\w+=,.@-]+)*)?$", var.permissions_boundary))
    error_message = "PermissionsBoundary must match ^([\\w+=,.@-]+(/[\\w+=,.@-]+)*)?$."
  }
}

variable "deletable_repositories" {
  description = "ARNs of the repositories in which the hub may delete and archive images, with wildcards, separated by commas, such as arn:aws:ecr:*:111122223333:repository/dev/*. If empty, the role that deletes is not created."
  type        = string
  default     = ""
}

variable "deletable_tag" {
  description = "With required, the hub may delete only in repositories that have the resource tag ecr-lineage=mirror. ECR replication does not copy resource tags."
  type        = string
  default     = "any"

  validation {
    condition     = contains(["any", "required"], var.deletable_tag)
    error_message = "DeletableTag is one of any, required."
  }
}

variable "usage_services" {
  description = "Services that the hub asks which images they run, the same value as in the hub. The read role may read them."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(ECS|LAMBDA|INSPECTOR|ECS,LAMBDA|ECS,INSPECTOR|LAMBDA,INSPECTOR|ECS,LAMBDA,INSPECTOR)?$", var.usage_services))
    error_message = "UsageServices must match ^(ECS|LAMBDA|INSPECTOR|ECS,LAMBDA|ECS,INSPECTOR|LAMBDA,INSPECTOR|ECS,LAMBDA,INSPECTOR)?$."
  }
}
