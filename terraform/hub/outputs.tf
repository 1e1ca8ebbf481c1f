# From infra/hub.yaml, by terraform/generate.

output "version" {
  description = "Version of ecr-lineage whose template this is."
  value       = aws_cloudformation_stack.this.outputs["Version"]
}

output "queue_arn" {
  description = "Queue to which the topics of registry.yaml send events (its parameter HubQueueArn)."
  value       = aws_cloudformation_stack.this.outputs["QueueArn"]
}

output "dead_letters_arn" {
  description = "ARN of the dead-letter queue, to move its messages back to the queue."
  value       = aws_cloudformation_stack.this.outputs["DeadLettersArn"]
}

output "alerts_bus_name" {
  description = "Event bus on which alerts are published, for your own rules."
  value       = aws_cloudformation_stack.this.outputs["AlertsBusName"]
}

output "table_name" {
  description = "DynamoDB table, for the command line option --table."
  value       = aws_cloudformation_stack.this.outputs["TableName"]
}

output "readers_url" {
  description = "URL of the read-only page and API."
  value       = lookup(aws_cloudformation_stack.this.outputs, "ReadersUrl", null)
}

output "operators_url" {
  description = "URL of the page and API for operators, who pause, hold, approve, cancel and reset."
  value       = lookup(aws_cloudformation_stack.this.outputs, "OperatorsUrl", null)
}

output "readers_policy" {
  description = "IAM policy for readers."
  value       = aws_cloudformation_stack.this.outputs["ReadersPolicy"]
}

output "operators_policy" {
  description = "IAM policy for operators, in addition to the policy for readers."
  value       = aws_cloudformation_stack.this.outputs["OperatorsPolicy"]
}

output "dead_letters_url" {
  description = "Dead-letter queue of events that could not be delivered or recorded."
  value       = aws_cloudformation_stack.this.outputs["DeadLettersUrl"]
}

output "alarms_topic" {
  description = "SNS topic that the pipeline's alarms notify."
  value       = aws_cloudformation_stack.this.outputs["AlarmsTopic"]
}

output "failed_alerts_url" {
  description = "Queue of alerts that could not be published."
  value       = aws_cloudformation_stack.this.outputs["FailedAlertsUrl"]
}

output "undelivered_alerts_url" {
  description = "Queue of alerts that a channel did not accept."
  value       = aws_cloudformation_stack.this.outputs["UndeliveredAlertsUrl"]
}

output "policies_layer" {
  description = "ARN of the version of the layer with the Cedar policies. Its content never changes."
  value       = aws_cloudformation_stack.this.outputs["PoliciesLayer"]
}

output "functions" {
  description = "Names of the functions, in the order record, watch, mirror, reconcile, alert, query, operate."
  value       = aws_cloudformation_stack.this.outputs["Functions"]
}

output "mode" {
  description = "Whether mirror deletes (enforce) or only records its decisions (observe)."
  value       = aws_cloudformation_stack.this.outputs["Mode"]
}
