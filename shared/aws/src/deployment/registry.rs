//! Reads what a registry's stack made: the topic with its subscription, the queues of what was not delivered; and the
//! trails of its account.

use aws_config::SdkConfig;
use aws_sdk_cloudtrail::{
    config::{Builder, Region},
    types::{AdvancedFieldSelector, ReadWriteType},
};

use aws_sdk_ecr::{operation::get_registry_policy::GetRegistryPolicyError as NoPolicy, types::RctAppliedFor};
use retry::CallError;

use crate::queue::DeadLetters;

/// The subscription of the hub's queue to a registry's topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscription {
    /// There is no topic of this name.
    NoTopic,
    /// The topic does not send to the queue.
    NotSubscribed,
    /// The hub did not confirm it yet.
    Pending,
    /// The topic sends to the queue.
    Confirmed {
        /// The ARN of the subscription.
        arn: String,
    },
}

/// How a topic delivers to a subscriber.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Whether the subscriber gets the event alone, without SNS's fields around it.
    pub raw: bool,
    /// Whether the subscriber gets only a part of the messages.
    pub filtered: bool,
    /// The ARN of the queue to which undeliverable messages go, if there is one.
    pub dead_letters: Option<String>,
}

/// The subscription of a queue to a topic.
///
/// # Errors
/// When a call to SNS fails.
pub async fn subscription(sdk: &SdkConfig, topic: &str, queue: &str) -> Result<Subscription, CallError> {
    let client = aws_sdk_sns::Client::new(sdk);
    let mut pages = client.list_subscriptions_by_topic().topic_arn(topic).into_paginator().send();
    let mut state = Subscription::NotSubscribed;
    while let Some(page) = pages.next().await {
        let page = match page.map_err(CallError::from) {
            Ok(page) => page,
            Err(failure) if is_not_found(&failure) => return Ok(Subscription::NoTopic),
            Err(failure) => return Err(failure),
        };
        for subscription in page.subscriptions().iter().filter(|subscription| subscription.endpoint() == Some(queue)) {
            // A subscription without an ARN waits for its confirmation.
            // https://docs.aws.amazon.com/sns/latest/api/API_ListSubscriptionsByTopic.html
            match subscription.subscription_arn() {
                Some(arn) if arn.starts_with("arn:") => return Ok(Subscription::Confirmed { arn: arn.to_owned() }),
                _ => state = Subscription::Pending,
            }
        }
    }
    Ok(state)
}

/// How a confirmed subscription delivers.
/// <https://docs.aws.amazon.com/sns/latest/api/API_GetSubscriptionAttributes.html>
///
/// # Errors
/// When the call to SNS fails.
pub async fn delivery(sdk: &SdkConfig, subscription: &str) -> Result<Delivery, CallError> {
    let client = aws_sdk_sns::Client::new(sdk);
    let answer = client.get_subscription_attributes().subscription_arn(subscription).send().await?;
    let attributes = answer.attributes.unwrap_or_default();
    let attribute = |name: &str| attributes.get(name).map(String::as_str).unwrap_or_default();
    let redrive: serde_json::Value = serde_json::from_str(attribute("RedrivePolicy")).unwrap_or_default();
    Ok(Delivery {
        raw: attribute("RawMessageDelivery") == "true",
        filtered: !["", "{}"].contains(&attribute("FilterPolicy")),
        dead_letters: redrive.get("deadLetterTargetArn").and_then(|arn| arn.as_str()).map(str::to_owned),
    })
}

/// Settings of a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicSettings {
    /// The policy, as JSON.
    pub policy: Option<String>,
    /// The version of the signatures. By default it is 1.
    /// <https://docs.aws.amazon.com/sns/latest/api/API_GetTopicAttributes.html>
    pub signature_version: Option<String>,
}

/// The settings of a topic; all `None` if there is no topic of this name.
///
/// # Errors
/// When the call to SNS fails.
pub async fn topic_settings(sdk: &SdkConfig, topic: &str) -> Result<TopicSettings, CallError> {
    let call = aws_sdk_sns::Client::new(sdk).get_topic_attributes().topic_arn(topic).send().await;
    match call.map_err(CallError::from) {
        Ok(answer) => {
            let mut attributes = answer.attributes.unwrap_or_default();
            let signature_version = Some(attributes.remove("SignatureVersion").unwrap_or_else(|| "1".to_owned()));
            Ok(TopicSettings { policy: attributes.remove("Policy"), signature_version })
        }
        Err(failure) if is_not_found(&failure) => Ok(TopicSettings::default()),
        Err(failure) => Err(failure),
    }
}

/// The code of SNS for what does not exist.
fn is_not_found(failure: &CallError) -> bool {
    failure.code.as_deref().is_some_and(|code| code.starts_with("NotFound"))
}

/// The number of messages in a queue of the caller's account; `None` if it does not exist.
///
/// # Errors
/// When a call to SQS fails.
pub async fn messages(sdk: &SdkConfig, queue: &str) -> Result<Option<u64>, CallError> {
    let client = aws_sdk_sqs::Client::new(sdk);
    let name = queue.rsplit(':').next().unwrap_or_default();
    match client.get_queue_url().queue_name(name).send().await.map_err(CallError::from) {
        Ok(answer) => DeadLetters::new(client, answer.queue_url.unwrap_or_default()).count().await.map(Some),
        Err(failure)
            if failure.code.as_deref().is_some_and(|code| {
                ["QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"].contains(&code)
            }) =>
        {
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// The policy of the caller's registry, as JSON; `None` if it has none.
///
/// # Errors
/// When the call to ECR fails.
pub async fn registry_policy(sdk: &SdkConfig) -> Result<Option<String>, CallError> {
    match aws_sdk_ecr::Client::new(sdk).get_registry_policy().send().await {
        Ok(answer) => Ok(answer.policy_text),
        Err(error) if error.as_service_error().is_some_and(NoPolicy::is_registry_policy_not_found_exception) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The scope of the registry's policy: `V1` or `V2`.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAccountSetting.html>
///
/// # Errors
/// When the call to ECR fails.
pub async fn registry_policy_scope(sdk: &SdkConfig) -> Result<String, CallError> {
    let answer = aws_sdk_ecr::Client::new(sdk).get_account_setting().name("REGISTRY_POLICY_SCOPE").send().await?;
    Ok(answer.value.unwrap_or_default())
}

/// The prefixes of the repository creation templates that apply to repositories made by replication. `ROOT` stands for
/// every repository without a template of its own.
///
/// # Errors
/// When a call to ECR fails.
pub async fn replication_templates(sdk: &SdkConfig) -> Result<Vec<String>, CallError> {
    let mut pages = aws_sdk_ecr::Client::new(sdk).describe_repository_creation_templates().into_paginator().send();
    let mut prefixes = Vec::new();
    while let Some(page) = pages.next().await {
        let templates = page?.repository_creation_templates.unwrap_or_default().into_iter();
        let ours = templates.filter(|template| template.applied_for().contains(&RctAppliedFor::Replication));
        prefixes.extend(ours.filter_map(|template| template.prefix));
    }
    Ok(prefixes)
}

/// Whether some principal's pulls are not recorded as pull times of images in this registry.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ListPullTimeUpdateExclusions.html>
///
/// # Errors
/// When the call to ECR fails.
pub async fn excludes_pulls(sdk: &SdkConfig) -> Result<bool, CallError> {
    let answer = aws_sdk_ecr::Client::new(sdk).list_pull_time_update_exclusions().send().await?;
    Ok(!answer.pull_time_update_exclusions().is_empty())
}

/// What the trails of an account and region log of management events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Calls that change something, such as deletions.
    pub writes: bool,
    /// Calls that CloudTrail marks as read-only, such as runs of lifecycle policies.
    pub reads: bool,
}

/// What the trails log of management events. EventBridge delivers only events that a trail logs.
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail.html>
///
/// # Errors
/// When a call to CloudTrail fails.
pub async fn recorded(sdk: &SdkConfig) -> Result<Recorded, CallError> {
    let trails = aws_sdk_cloudtrail::Client::new(sdk);
    let mut recorded = Recorded::default();
    for trail in trails.describe_trails().send().await?.trail_list() {
        let Some(arn) = trail.trail_arn() else { continue };
        // A member account can see an organization trail, but neither its status nor its selectors.
        let foreign = trail.is_organization_trail() == Some(true);
        // A trail of all regions is changed and read in its home region.
        let home = trail.home_region().map(|region| Region::new(region.to_owned()));
        let trails =
            aws_sdk_cloudtrail::Client::from_conf(Builder::from(sdk).region(home.or(sdk.region().cloned())).build());
        match trails.get_trail_status().name(arn).send().await.map_err(CallError::from) {
            Ok(status) if status.is_logging() != Some(true) => continue,
            Err(_) if foreign => return Ok(Recorded { writes: true, reads: true }),
            Err(failure) => return Err(failure),
            Ok(_) => {}
        }
        let selectors = match trails.get_event_selectors().trail_name(arn).send().await.map_err(CallError::from) {
            Ok(selectors) => selectors,
            Err(_) if foreign => return Ok(Recorded { writes: true, reads: true }),
            Err(failure) => return Err(failure),
        };
        for selector in selectors.event_selectors() {
            if selector.include_management_events() == Some(false) {
                continue;
            }
            let kind = selector.read_write_type();
            recorded.writes |= kind != Some(&ReadWriteType::ReadOnly);
            recorded.reads |= kind != Some(&ReadWriteType::WriteOnly);
        }
        for selector in selectors.advanced_event_selectors() {
            let fields = selector.field_selectors();
            let field =
                |name: &str| fields.iter().find(|field| field.field() == name).map(AdvancedFieldSelector::equals);
            if !field("eventCategory").is_some_and(|values| values.contains(&"Management".to_owned())) {
                continue;
            }
            let only = |value: &str| field("readOnly").is_some_and(|values| values == [value]);
            recorded.writes |= !only("true");
            recorded.reads |= !only("false");
        }
    }
    Ok(recorded)
}
