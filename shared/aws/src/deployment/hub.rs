//! Reads the parts of a hub as they are, not as its stack says: functions, their triggers and the queue.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_sqs::types::QueueAttributeName;

use retry::CallError;

/// A trigger of a function: an event source mapping of a queue or a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The UUID, by which Lambda's calls name it.
    pub uuid: String,
    /// The ARN of the queue or the stream.
    pub source: String,
    /// Lambda's state of it, such as `Enabled` or `Disabled`.
    pub state: String,
}

impl Mapping {
    /// Whether events reach the function, or will as soon as Lambda has finished a change.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        ["Enabled", "Enabling", "Creating", "Updating"].contains(&self.state.as_str())
    }
}

/// A function as it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// The ARN of the function.
    pub arn: String,
    /// Its environment variables.
    pub variables: BTreeMap<String, String>,
    /// The ARNs of the versions of its layers.
    pub layers: Vec<String>,
}

/// A function as it runs: whatever was changed since the stack was deployed is visible here.
///
/// # Errors
/// When the call to Lambda fails.
pub async fn function(sdk: &SdkConfig, name: &str) -> Result<Function, CallError> {
    let answer = aws_sdk_lambda::Client::new(sdk).get_function_configuration().function_name(name).send().await?;
    let variables = answer.environment().and_then(|environment| environment.variables()).cloned().unwrap_or_default();
    let layers = answer.layers().iter().filter_map(|layer| layer.arn().map(str::to_owned)).collect();
    let arn = answer.function_arn.unwrap_or_default();
    Ok(Function { arn, variables: variables.into_iter().collect(), layers })
}

/// The event source mappings of a function.
///
/// # Errors
/// When the call to Lambda fails.
pub async fn mappings(sdk: &SdkConfig, function: &str) -> Result<Vec<Mapping>, CallError> {
    let lambda = aws_sdk_lambda::Client::new(sdk);
    let mut pages = lambda.list_event_source_mappings().function_name(function).into_paginator().send();
    let mut mappings = Vec::new();
    while let Some(page) = pages.next().await {
        mappings.extend(page?.event_source_mappings.unwrap_or_default().into_iter().map(|mapping| Mapping {
            uuid: mapping.uuid.unwrap_or_default(),
            source: mapping.event_source_arn.unwrap_or_default(),
            state: mapping.state.unwrap_or_default(),
        }));
    }
    Ok(mappings)
}

/// The policy of a queue, as JSON; `None` if it has none.
///
/// # Errors
/// When the call to SQS fails.
pub async fn queue_policy(sdk: &SdkConfig, url: &str) -> Result<Option<String>, CallError> {
    let name = QueueAttributeName::Policy;
    let call = aws_sdk_sqs::Client::new(sdk).get_queue_attributes().queue_url(url).attribute_names(name.clone());
    Ok(call.send().await?.attributes.unwrap_or_default().remove(&name))
}
