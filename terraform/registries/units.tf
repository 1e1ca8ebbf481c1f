# One for each region: CloudFormation deploys to all accounts of the units there.
resource "aws_cloudformation_stack_set_instance" "this" {
  for_each = toset(var.regions)

  stack_set_name = aws_cloudformation_stack_set.this.name
  # Version 6 of the provider calls it stack_set_instance_region, and takes this name with a warning.
  region  = each.key
  call_as = var.call_as

  deployment_targets {
    organizational_unit_ids = var.organizational_unit_ids
  }
}
