# From infra/registry.yaml, by terraform/generate.

output "topic_arn" {
  description = "Topic of the events of this registry."
  value       = aws_cloudformation_stack.this.outputs["TopicArn"]
}

output "unpublished" {
  description = "Queue of events that could not be published to the topic. It should be empty."
  value       = aws_cloudformation_stack.this.outputs["Unpublished"]
}

output "undelivered" {
  description = "Queue of messages that the hub did not accept. It should be empty."
  value       = aws_cloudformation_stack.this.outputs["Undelivered"]
}
