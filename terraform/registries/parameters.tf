# From infra/registry.yaml, by terraform/generate.

locals {
  parameters = {
    HubQueueArn           = var.hub_queue_arn
    HubStackName          = var.hub_stack_name
    AlarmTopicName        = var.alarm_topic_name
    RolesRegion           = var.roles_region
    ExternalId            = var.external_id
    OrganizationId        = var.organization_id
    ReadRoleName          = var.read_role_name
    DeleteRoleName        = var.delete_role_name
    RolePath              = var.role_path
    PermissionsBoundary   = var.permissions_boundary
    DeletableRepositories = var.deletable_repositories
    DeletableTag          = var.deletable_tag
    UsageServices         = var.usage_services
  }
}
