# `terraform test`, with a provider that makes nothing.
mock_provider "aws" {}

variables {
  template_body = "Resources: {}"
  hub_queue_arn = "arn:aws:sqs:eu-central-1:999988887777:ecr-lineage-Events-x"
}

run "a_registry_sends_its_events_and_permits_no_deletion" {
  command = plan

  assert {
    condition     = aws_cloudformation_stack.this.parameters["HubQueueArn"] == var.hub_queue_arn
    error_message = "Events go to the hub's queue."
  }

  assert {
    condition     = aws_cloudformation_stack.this.parameters["DeletableRepositories"] == ""
    error_message = "Nothing may be deleted unless asked for."
  }
}

run "a_value_that_the_template_refuses_is_refused_here" {
  command = plan

  variables {
    hub_queue_arn = "arn:aws:sns:eu-central-1:999988887777:topic"
    deletable_tag = "maybe"
  }

  expect_failures = [var.hub_queue_arn, var.deletable_tag]
}
