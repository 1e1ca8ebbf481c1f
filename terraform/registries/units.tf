# One for each region: CloudFormation deploys to all accounts of the units there.
resource "aws_cloudformation_stack_set_instance" "this" {
  for_each = toset(var.regions)

  stack_set_name = aws_cloudformation_stack_set.this.name
  region         = each.key
  call_as        = var.call_as

  deployment_targets {
    organizational_unit_ids = var.organizational_unit_ids
  }
}
