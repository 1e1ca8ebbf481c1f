# `terraform test`, with a provider that makes nothing.
mock_provider "aws" {}

variables {
  template_body           = "Resources: {}"
  hub_queue_arn           = "arn:aws:sqs:eu-central-1:999988887777:ecr-lineage-Events-x"
  regions                 = ["eu-west-1", "us-east-1"]
  organizational_unit_ids = ["ou-ab12-cdefgh34"]
}

run "one_set_of_values_serves_all_accounts_and_regions" {
  command = plan

  variables {
    roles_region = "eu-west-1"
    external_id  = "platform-team"
  }

  assert {
    condition     = aws_cloudformation_stack_set.this.parameters["RolesRegion"] == "eu-west-1"
    error_message = "One region has the roles of an account."
  }

  assert {
    condition     = aws_cloudformation_stack_set.this.permission_model == "SERVICE_MANAGED" && aws_cloudformation_stack_set.this.auto_deployment[0].enabled
    error_message = "A new account of a unit gets its stacks."
  }
}

run "roles_need_a_region_that_has_a_stack" {
  command = plan

  variables {
    roles_region = "eu-central-1"
  }

  expect_failures = [aws_cloudformation_stack_set.this]
}

run "a_value_that_the_template_refuses_is_refused_here" {
  command = plan

  variables {
    organizational_unit_ids = ["111122223333"]
    role_path               = "/platform/"
    regions                 = []
  }

  expect_failures = [var.organizational_unit_ids, var.role_path, var.regions]
}
