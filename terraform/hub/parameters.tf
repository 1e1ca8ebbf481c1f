# From infra/hub.yaml, by terraform/generate.

locals {
  parameters = {
    Mode                     = var.mode
    OrganizationId           = var.organization_id
    AccountIds               = var.account_ids
    MoreOptInRegions         = var.more_opt_in_regions
    Registries               = var.registries
    ReadRoleName             = var.read_role_name
    DeleteRoleName           = var.delete_role_name
    RolePath                 = var.role_path
    PermissionsBoundary      = var.permissions_boundary
    ExternalId               = var.external_id
    PolicyFile               = var.policy_file
    PolicyLayer              = var.policy_layer
    BreakerImages            = var.breaker_images
    BreakerPercent           = var.breaker_percent
    BreakerLifecycleImages   = var.breaker_lifecycle_images
    BreakerLifecyclePercent  = var.breaker_lifecycle_percent
    BreakerWindowHours       = var.breaker_window_hours
    UsageServices            = var.usage_services
    UsageRevisions           = var.usage_revisions
    ReconcileEveryHours      = var.reconcile_every_hours
    ReconcileCallsPerSecond  = var.reconcile_calls_per_second
    ReconcileLimits          = var.reconcile_limits
    FunctionUrls             = var.function_urls
    ReservedConcurrency      = var.reserved_concurrency
    ArtifactsBucket          = var.artifacts_bucket
    ArtifactsPrefix          = var.artifacts_prefix
    Architecture             = var.architecture
    LogRetentionDays         = var.log_retention_days
    DeletionLogRetentionDays = var.deletion_log_retention_days
    LogGroupPrefix           = var.log_group_prefix
    SubnetIds                = var.subnet_ids
    SecurityGroupIds         = var.security_group_ids
    ExistingTableName        = var.existing_table_name
    ExistingTableStreamArn   = var.existing_table_stream_arn
    Tracing                  = var.tracing
    MinimumSeverity          = var.minimum_severity
    AlertRepositories        = join(",", var.alert_repositories)
    AlertKinds               = join(",", var.alert_kinds)
    SeverityRules            = var.severity_rules
    MailAddress              = var.mail_address
    WebhookUrl               = var.webhook_url
    WebhookKey               = var.webhook_key
    WebhookSecret            = var.webhook_secret
    SlackWorkspaceId         = var.slack_workspace_id
    SlackChannelId           = var.slack_channel_id
    TeamsTeamId              = var.teams_team_id
    TeamsTenantId            = var.teams_tenant_id
    TeamsChannelId           = var.teams_channel_id
    PagerDutyKey             = var.pager_duty_key
    PagerDutySecret          = var.pager_duty_secret
    PageUrl                  = var.page_url
  }
}
