# From infra/hub.yaml, by terraform/generate.

variable "mode" {
  description = "In observe mode, mirror only records its decision about each deletion. In enforce mode it also deletes."
  type        = string
  default     = "observe"

  validation {
    condition     = contains(["observe", "enforce"], var.mode)
    error_message = "Mode is one of observe, enforce."
  }
}

variable "organization_id" {
  description = "AWS organization whose accounts may send events, such as o-a1b2c3d4e5."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(o-[a-z0-9]{10,32})?$", var.organization_id))
    error_message = "OrganizationId must match ^(o-[a-z0-9]{10,32})?$."
  }
}

variable "account_ids" {
  description = "Other accounts that may send events, at most 200, separated by commas. The hub's own account is always permitted. With more accounts, use OrganizationId."
  type        = string
  default     = ""
}

variable "more_opt_in_regions" {
  description = "Opt-in regions from which events come and that are newer than the list in this template, separated by commas."
  type        = string
  default     = ""
}

variable "registries" {
  description = "Registries to read before their first event arrives, such as 111122223333/eu-west-1, separated by commas."
  type        = string
  default     = ""
}

variable "read_role_name" {
  description = "Name of the IAM role that reads registries, the same in every account. registry.yaml creates it."
  type        = string
  default     = "ecr-lineage-read"

  validation {
    condition     = can(regex("^[\\w+=,.@-]{1,64}$", var.read_role_name))
    error_message = "ReadRoleName must match ^[\\w+=,.@-]{1,64}$."
  }
}

variable "delete_role_name" {
  description = "Name of the IAM role that deletes replicas, the same in every account. registry.yaml creates it."
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

variable "external_id" {
  description = "STS external ID that the roles' trust policies require. Any text, the same in every stack."
  type        = string
}

variable "policy_file" {
  description = "Cedar policy for deletions, the name of a file in the layer of policies."
  type        = string
  default     = "keep-everything.cedar"

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]+\\.cedar$", var.policy_file))
    error_message = "PolicyFile must match ^[A-Za-z0-9._-]+\\.cedar$."
  }
}

variable "policy_layer" {
  description = "ARN of a version of a layer with policies of your own, which ecr-lineage policy deploy publishes. Empty for the policies of the release."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:[a-z-]+:lambda:[a-z0-9-]+:\\d{12}:layer:[\\w-]+:\\d+)?$", var.policy_layer))
    error_message = "PolicyLayer must match ^(arn:[a-z-]+:lambda:[a-z0-9-]+:\\d{12}:layer:[\\w-]+:\\d+)?$."
  }
}

variable "breaker_images" {
  description = "Circuit breaker: images that may be deleted in one registry per window after deletions by principals or by an unknown cause."
  type        = number
  default     = 100

  validation {
    condition     = var.breaker_images >= 0 && var.breaker_images <= 1000000
    error_message = "BreakerImages is 0 to 1000000."
  }
}

variable "breaker_percent" {
  description = "Circuit breaker: the same limit in percent of a repository. It applies from 10 images per window."
  type        = number
  default     = 10

  validation {
    condition     = var.breaker_percent >= 1 && var.breaker_percent <= 100
    error_message = "BreakerPercent is 1 to 100."
  }
}

variable "breaker_lifecycle_images" {
  description = "Circuit breaker: images that may be deleted in one registry per window after deletions by lifecycle policies."
  type        = number
  default     = 10000

  validation {
    condition     = var.breaker_lifecycle_images >= 0 && var.breaker_lifecycle_images <= 1000000
    error_message = "BreakerLifecycleImages is 0 to 1000000."
  }
}

variable "breaker_lifecycle_percent" {
  description = "Circuit breaker: the limit for lifecycle policies in percent of a repository. It applies from 10 images per window."
  type        = number
  default     = 50

  validation {
    condition     = var.breaker_lifecycle_percent >= 1 && var.breaker_lifecycle_percent <= 100
    error_message = "BreakerLifecyclePercent is 1 to 100."
  }
}

variable "breaker_window_hours" {
  description = "Hours over which the circuit breaker counts deletions."
  type        = number
  default     = 24

  validation {
    condition     = var.breaker_window_hours >= 1 && var.breaker_window_hours <= 720
    error_message = "BreakerWindowHours is 1 to 720."
  }
}

variable "usage_services" {
  description = "Services that mirror asks, in the account and region of a replica, which images they run. What they run is kept. registry.yaml needs the same value."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(ECS|LAMBDA|INSPECTOR|ECS,LAMBDA|ECS,INSPECTOR|LAMBDA,INSPECTOR|ECS,LAMBDA,INSPECTOR)?$", var.usage_services))
    error_message = "UsageServices must match ^(ECS|LAMBDA|INSPECTOR|ECS,LAMBDA|ECS,INSPECTOR|LAMBDA,INSPECTOR|ECS,LAMBDA,INSPECTOR)?$."
  }
}

variable "usage_revisions" {
  description = "For each service of ECS, the newest task definitions of its family whose images are kept, too."
  type        = number
  default     = 1

  validation {
    condition     = var.usage_revisions >= 1 && var.usage_revisions <= 100
    error_message = "UsageRevisions is 1 to 100."
  }
}

variable "reconcile_every_hours" {
  description = "Hours between two listings of the same registry by reconcile."
  type        = number
  default     = 24

  validation {
    condition     = var.reconcile_every_hours >= 1 && var.reconcile_every_hours <= 720
    error_message = "ReconcileEveryHours is 1 to 720."
  }
}

variable "reconcile_calls_per_second" {
  description = "ECR API calls per second that reconcile makes to one registry at most."
  type        = number
  default     = 10

  validation {
    condition     = var.reconcile_calls_per_second >= 1 && var.reconcile_calls_per_second <= 1000
    error_message = "ReconcileCallsPerSecond is 1 to 1000."
  }
}

variable "reconcile_limits" {
  description = "Other limits of calls per second for single registries, such as 111122223333/eu-west-1=2, separated by commas."
  type        = string
  default     = ""
}

variable "function_urls" {
  description = "Lambda function URLs of the page and the API. Set disabled in regions without function URLs (https://docs.aws.amazon.com/lambda/latest/dg/lambda-urls.html); the command line and its page need none."
  type        = string
  default     = "enabled"

  validation {
    condition     = contains(["enabled", "disabled"], var.function_urls)
    error_message = "FunctionUrls is one of enabled, disabled."
  }
}

variable "reserved_concurrency" {
  description = "Reserve a concurrency of 1 for each of watch, mirror and reconcile. New accounts have too little concurrency for that. A lease in the table makes runs single in any case."
  type        = string
  default     = "disabled"

  validation {
    condition     = contains(["enabled", "disabled"], var.reserved_concurrency)
    error_message = "ReservedConcurrency is one of enabled, disabled."
  }
}

variable "artifacts_bucket" {
  description = "S3 bucket in the hub's region with the files of a release. Its name has no dots."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.artifacts_bucket))
    error_message = "ArtifactsBucket must match ^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$."
  }
}

variable "artifacts_prefix" {
  description = "Folder of these files in the bucket. Other files need another folder: CloudFormation compares names only."
  type        = string
  default     = "ecr-lineage/0.1.0"

  validation {
    condition     = can(regex("^[\\w.+=@:-]+(/[\\w.+=@:-]+)*$", var.artifacts_prefix))
    error_message = "ArtifactsPrefix must match ^[\\w.+=@:-]+(/[\\w.+=@:-]+)*$."
  }
}

variable "architecture" {
  description = "Processor architecture of the functions."
  type        = string
  default     = "x86_64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "Architecture is one of arm64, x86_64."
  }
}

variable "log_retention_days" {
  description = "Days for which CloudWatch Logs keeps the functions' logs, but for those of mirror and operate."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "LogRetentionDays is one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653."
  }
}

variable "deletion_log_retention_days" {
  description = "Days for which CloudWatch Logs keeps the logs of mirror and operate, which say who deleted what."
  type        = number
  default     = 365

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.deletion_log_retention_days)
    error_message = "DeletionLogRetentionDays is one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653."
  }
}

variable "log_group_prefix" {
  description = "Beginning of the names of the log groups, such as /platform/. If empty, CloudFormation makes the names."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[\\w./#-]{0,128}$", var.log_group_prefix))
    error_message = "LogGroupPrefix must match ^[\\w./#-]{0,128}$."
  }
}

variable "subnet_ids" {
  description = "Subnets of a VPC in which the functions run, separated by commas. They need a way to the AWS APIs of the hub's region and of every registry's region. If empty, the functions run outside of a VPC."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(subnet-[0-9a-f]+(,subnet-[0-9a-f]+){0,15})?$", var.subnet_ids))
    error_message = "SubnetIds must match ^(subnet-[0-9a-f]+(,subnet-[0-9a-f]+){0,15})?$."
  }
}

variable "security_group_ids" {
  description = "Security groups of the functions, separated by commas. Required with SubnetIds."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(sg-[0-9a-f]+(,sg-[0-9a-f]+){0,4})?$", var.security_group_ids))
    error_message = "SecurityGroupIds must match ^(sg-[0-9a-f]+(,sg-[0-9a-f]+){0,4})?$."
  }
}

variable "existing_table_name" {
  description = "Table of an older hub, or one that was restored from a backup, in the hub's account and region. The hub uses it, and makes none. docs/deploy.md says what the table needs; doctor checks it."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([\\w.-]{3,255})?$", var.existing_table_name))
    error_message = "ExistingTableName must match ^([\\w.-]{3,255})?$."
  }
}

variable "existing_table_stream_arn" {
  description = "ARN of the stream of this table. A restored table has none until it is enabled."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:[a-z-]+:dynamodb:[a-z0-9-]+:\\d{12}:table/[\\w.-]+/stream/[\\w:.-]+)?$", var.existing_table_stream_arn))
    error_message = "ExistingTableStreamArn must match ^(arn:[a-z-]+:dynamodb:[a-z0-9-]+:\\d{12}:table/[\\w.-]+/stream/[\\w:.-]+)?$."
  }
}

variable "tracing" {
  description = "AWS X-Ray tracing of the functions. Active records traces."
  type        = string
  default     = "PassThrough"

  validation {
    condition     = contains(["Active", "PassThrough"], var.tracing)
    error_message = "Tracing is one of Active, PassThrough."
  }
}

variable "minimum_severity" {
  description = "Alerts below this severity are not delivered. PagerDuty receives warning and critical only."
  type        = string
  default     = "info"

  validation {
    condition     = contains(["info", "warning", "critical"], var.minimum_severity)
    error_message = "MinimumSeverity is one of info, warning, critical."
  }
}

variable "alert_repositories" {
  description = "Patterns of repositories, such as prod/*, separated by commas. Alerts that name repositories are delivered if one of them matches; alerts that name none always are."
  type        = list(string)
  default     = ["*"]

  validation {
    condition     = alltrue([for item in var.alert_repositories : can(regex("^(\\*|\\*?[a-z0-9._/-]+(\\*[a-z0-9._/-]+)*\\*?)$", item))])
    error_message = "AlertRepositories must match ^(\\*|\\*?[a-z0-9._/-]+(\\*[a-z0-9._/-]+)*\\*?)$."
  }
}

variable "alert_kinds" {
  description = "Patterns of kinds, such as replication_*, separated by commas. Only these alerts are delivered. The event replication_complete is no alert: it is delivered if its whole name is in the list."
  type        = list(string)
  default     = ["*"]

  validation {
    condition     = alltrue([for item in var.alert_kinds : can(regex("^(\\*|\\*?[a-z_]+(\\*[a-z_]+)*\\*?)$", item))])
    error_message = "AlertKinds must match ^(\\*|\\*?[a-z_]+(\\*[a-z_]+)*\\*?)$."
  }
}

variable "severity_rules" {
  description = "Severity of alerts about some repositories, such as prod/*=critical,sandbox/*=info. The first pattern that matches a repository decides."
  type        = string
  default     = ""
}

variable "mail_address" {
  description = "E-mail address for alerts and alarms. SNS first sends a message to confirm the subscription."
  type        = string
  default     = ""
}

variable "webhook_url" {
  description = "HTTPS URL that receives each alert event by POST."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(https://.+)?$", var.webhook_url))
    error_message = "WebhookUrl must match ^(https://.+)?$."
  }
}

variable "webhook_key" {
  description = "Value of the header x-api-key in requests to the webhook."
  type        = string
  default     = ""
  sensitive   = true
}

variable "webhook_secret" {
  description = "ARN of a secret of Secrets Manager with this value, instead of WebhookKey. For one key of a JSON text, the ARN followed by :SecretString:KEY; for one version, by :SecretString:KEY::VERSION_ID."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:[a-z-]+:secretsmanager:[a-z0-9-]+:\\d{12}:secret:[\\w/+=.@-]+(:SecretString:[\\w.-]*(::[\\w-]+)?)?)?$", var.webhook_secret))
    error_message = "WebhookSecret must match ^(arn:[a-z-]+:secretsmanager:[a-z0-9-]+:\\d{12}:secret:[\\w/+=.@-]+(:SecretString:[\\w.-]*(::[\\w-]+)?)?)?$."
  }
}

variable "slack_workspace_id" {
  description = "Slack workspace ID. Authorize the workspace first in the console of Amazon Q Developer in chat applications."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([0-9A-Z]{1,255})?$", var.slack_workspace_id))
    error_message = "SlackWorkspaceId must match ^([0-9A-Z]{1,255})?$."
  }
}

variable "slack_channel_id" {
  description = "Slack channel ID, such as C0123456789. Invite @Amazon Q to a private channel."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([A-Za-z0-9]+)?$", var.slack_channel_id))
    error_message = "SlackChannelId must match ^([A-Za-z0-9]+)?$."
  }
}

variable "teams_team_id" {
  description = "Microsoft Teams team ID. Authorize the team first in the console of Amazon Q Developer in chat applications."
  type        = string
  default     = ""
}

variable "teams_tenant_id" {
  description = "Microsoft Teams tenant ID of the team."
  type        = string
  default     = ""
}

variable "teams_channel_id" {
  description = "Microsoft Teams channel ID from the channel's link, such as 19%3A…%40thread.tacv2."
  type        = string
  default     = ""
}

variable "pager_duty_key" {
  description = "PagerDuty integration key (Events API v2) of the service."
  type        = string
  default     = ""
  sensitive   = true

  validation {
    condition     = can(regex("^([0-9A-Za-z]{32})?$", var.pager_duty_key))
    error_message = "PagerDutyKey must match ^([0-9A-Za-z]{32})?$."
  }
}

variable "pager_duty_secret" {
  description = "ARN of a secret of Secrets Manager with this key, instead of PagerDutyKey. As WebhookSecret."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:[a-z-]+:secretsmanager:[a-z0-9-]+:\\d{12}:secret:[\\w/+=.@-]+(:SecretString:[\\w.-]*(::[\\w-]+)?)?)?$", var.pager_duty_secret))
    error_message = "PagerDutySecret must match ^(arn:[a-z-]+:secretsmanager:[a-z0-9-]+:\\d{12}:secret:[\\w/+=.@-]+(:SecretString:[\\w.-]*(::[\\w-]+)?)?)?$."
  }
}

variable "page_url" {
  description = "URL at which people open the page; alerts have links to it. Without it they have none."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(https://[^\\s\"'<>\\\\`]+)?$", var.page_url))
    error_message = "PageUrl must match ^(https://[^\\s\"'<>\\\\`]+)?$."
  }
}
