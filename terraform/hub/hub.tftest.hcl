# `terraform test`, with a provider that makes nothing.
mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }

  mock_data "aws_partition" {
    defaults = { dns_suffix = "amazonaws.com" }
  }
}

variables {
  artifacts_bucket = "artifacts"
  external_id      = "platform-team"
}

run "the_stack_is_of_the_files_in_the_bucket" {
  command = plan

  variables {
    artifacts_prefix = "ecr-lineage/next"
    alert_kinds      = ["replication_*", "drift"]
  }

  assert {
    condition     = aws_cloudformation_stack.this.template_url == "https://artifacts.s3.eu-central-1.amazonaws.com/ecr-lineage/next/hub.yaml"
    error_message = "The template is in the folder of the release."
  }

  assert {
    condition     = aws_cloudformation_stack.this.parameters["AlertKinds"] == "replication_*,drift"
    error_message = "A list is a text for CloudFormation."
  }

  assert {
    condition     = aws_cloudformation_stack.this.parameters["Mode"] == "observe"
    error_message = "Nothing is deleted unless asked for."
  }
}

run "a_value_that_the_template_refuses_is_refused_here" {
  command = plan

  variables {
    mode                 = "delete"
    breaker_percent      = 0
    policy_file          = "mine.json"
    alert_repositories   = ["prod/*", "UPPER"]
    breaker_window_hours = 721
    organization_id      = "o-1"
  }

  expect_failures = [
    var.mode, var.breaker_percent, var.policy_file, var.alert_repositories, var.breaker_window_hours, var.organization_id,
  ]
}
