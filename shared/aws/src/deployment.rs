//! Reads a deployment: the stack of the hub and its resources, and what the stacks of registries made. Only `policy`
//! changes something.

pub mod hub;
pub mod policy;
pub mod registry;

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_cloudformation::types::StackStatus;
use aws_sdk_cloudwatch::{
    primitives::DateTime,
    types::{Dimension, Metric, MetricDataQuery, MetricStat},
};
use aws_sdk_eventbridge::types::RuleState;
use jiff::{SignedDuration, Timestamp};

use retry::CallError;

use crate::capture::Capture;

/// The period over which the runs of functions are read.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The period of the metrics, in seconds: the shortest that CloudWatch keeps for a day.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricStat.html>
const MINUTE: i32 = 60;

/// The CloudFormation stack of a hub.
#[derive(Debug, Clone)]
pub struct Stack {
    /// The name of the stack.
    pub name: String,
    /// CloudFormation's status, such as `UPDATE_COMPLETE`.
    pub status: String,
    /// Whether the last create, update or import of the stack succeeded.
    pub complete: bool,
    /// The outputs of the stack.
    pub outputs: BTreeMap<String, String>,
    /// The parameters of the stack, with the values of those that keep their default.
    pub parameters: BTreeMap<String, String>,
}

impl Stack {
    /// Whether CloudFormation is changing the stack.
    #[must_use]
    pub fn in_progress(&self) -> bool {
        self.status.ends_with("_IN_PROGRESS")
    }
}

/// The runs of a Lambda function in the last 24 hours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Runs {
    /// The number of invocations.
    pub started: u64,
    /// The number of invocations that failed.
    pub failed: u64,
    /// The last minute in which more invocations were counted than failures.
    pub succeeded_at: Option<Timestamp>,
}

/// An EventBridge rule.
#[derive(Debug, Clone)]
pub struct EventRule {
    /// The name of the rule.
    pub name: String,
    /// The ARN of the rule.
    pub arn: String,
    /// The description of the rule; empty if it has none.
    pub description: String,
    /// Whether the rule is enabled.
    pub enabled: bool,
    /// Whether the rule also matches management events that CloudTrail marks as read-only.
    pub all_of_cloudtrail: bool,
    /// The event pattern, as JSON; empty if the rule has a schedule instead.
    pub pattern: String,
    /// The ARN of the queue to which undeliverable events go, if there is one.
    pub dead_letters: Option<String>,
}

/// The stack of a hub; `None` if there is no stack of this name.
///
/// # Errors
/// When the call to CloudFormation fails.
pub async fn stack(sdk: &SdkConfig, name: &str) -> Result<Option<Stack>, CallError> {
    let asked = aws_sdk_cloudformation::Client::new(sdk).describe_stacks().stack_name(name).send().await;
    let answer = match asked.map_err(CallError::from) {
        Ok(answer) => answer,
        // CloudFormation reports a missing stack with this code.
        Err(failure) if failure.code.as_deref() == Some("ValidationError") => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let Some(stack) = answer.stacks().first() else { return Ok(None) };
    let outputs = stack.outputs().iter();
    let outputs =
        outputs.filter_map(|output| Some((output.output_key()?.to_owned(), output.output_value()?.to_owned())));
    let parameters = stack
        .parameters()
        .iter()
        .filter_map(|parameter| Some((parameter.parameter_key()?.to_owned(), parameter.parameter_value()?.to_owned())));
    let status = stack.stack_status().cloned().unwrap_or_else(|| StackStatus::from("unknown"));
    let complete = [StackStatus::CreateComplete, StackStatus::UpdateComplete, StackStatus::ImportComplete];
    Ok(Some(Stack {
        name: stack.stack_name().unwrap_or(name).to_owned(),
        complete: complete.contains(&status),
        status: status.to_string(),
        outputs: outputs.collect(),
        parameters: parameters.collect(),
    }))
}

/// The account of the credentials.
///
/// # Errors
/// When the call to STS fails.
pub async fn account(sdk: &SdkConfig) -> Result<String, CallError> {
    let answer = aws_sdk_sts::Client::new(sdk).get_caller_identity().send().await?;
    answer.account.ok_or_else(|| CallError::unclear("STS names no account".to_owned()))
}

/// Whether the credentials' account has a region: in an opt-in region that it did not enable, no call is accepted.
/// <https://docs.aws.amazon.com/accounts/latest/reference/manage-acct-regions.html>
///
/// # Errors
/// When the call to STS fails for another reason.
pub async fn has_region(sdk: &SdkConfig, region: &str) -> Result<bool, CallError> {
    let sdk = sdk.to_builder().region(aws_config::Region::new(region.to_owned())).build();
    match account(&sdk).await {
        Ok(_) => Ok(true),
        Err(refused) if refused.code.as_deref() == Some("InvalidClientTokenId") => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// The runs of functions in the last 24 hours.
///
/// # Errors
/// When the call to CloudWatch fails.
pub async fn runs<'a>(
    sdk: &SdkConfig,
    functions: &[&'a str],
    now: Timestamp,
) -> Result<BTreeMap<&'a str, Runs>, CallError> {
    let queries = functions.iter().enumerate().flat_map(|(place, function)| {
        ["Invocations", "Errors"].map(|name| {
            let dimension = Dimension::builder().name("FunctionName").value(*function).build();
            let metric = Metric::builder().namespace("AWS/Lambda").metric_name(name).dimensions(dimension).build();
            let stat = MetricStat::builder().metric(metric).period(MINUTE).stat("Sum").build();
            MetricDataQuery::builder().id(format!("{}{place}", name.to_lowercase())).metric_stat(stat).build()
        })
    });
    let seconds = |at: Timestamp| DateTime::from_secs(at.as_second());
    let pages = aws_sdk_cloudwatch::Client::new(sdk)
        .get_metric_data()
        .set_metric_data_queries(Some(queries.collect()))
        .start_time(seconds(now.saturating_sub(DAY).unwrap_or(now)))
        .end_time(seconds(now))
        .into_paginator()
        .send();
    let mut sums: BTreeMap<String, BTreeMap<i64, u64>> = BTreeMap::new();
    let mut pages = pages;
    while let Some(page) = pages.next().await {
        for series in page?.metric_data_results() {
            let sums = sums.entry(series.id().unwrap_or_default().to_owned()).or_default();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sum of counts")]
            let counts = series.values().iter().map(|count| *count as u64);
            sums.extend(series.timestamps().iter().map(DateTime::secs).zip(counts));
        }
    }
    let runs = functions.iter().enumerate().map(|(place, function)| {
        let started = sums.remove(&format!("invocations{place}")).unwrap_or_default();
        let failed = sums.remove(&format!("errors{place}")).unwrap_or_default();
        let succeeded = started.iter().filter(|(at, count)| **count > failed.get(at).copied().unwrap_or(0));
        let succeeded_at = succeeded.map(|(at, _)| *at).max().and_then(|at| Timestamp::from_second(at).ok());
        (*function, Runs { started: started.values().sum(), failed: failed.values().sum(), succeeded_at })
    });
    Ok(runs.collect())
}

/// The rules on the default bus that have a target: a topic to which ECR's events go, or a function that runs on a
/// schedule.
///
/// # Errors
/// When a call to EventBridge fails.
pub async fn rules_to(sdk: &SdkConfig, target: &str) -> Result<Vec<EventRule>, CallError> {
    let events = aws_sdk_eventbridge::Client::new(sdk);
    let (mut rules, mut next) = (Vec::new(), None);
    loop {
        let page = events.list_rule_names_by_target().target_arn(target).set_next_token(next).send().await?;
        for name in page.rule_names() {
            let rule = events.describe_rule().name(name).send().await?;
            let targets = events.list_targets_by_rule().rule(name).send().await?;
            let ours = targets.targets().iter().find(|found| found.arn() == target);
            let dead_letters = ours.and_then(|found| found.dead_letter_config()?.arn().map(str::to_owned));
            rules.push(EventRule {
                name: name.clone(),
                enabled: rule.state().is_some_and(|state| *state != RuleState::Disabled),
                all_of_cloudtrail: rule.state() == Some(&RuleState::EnabledWithAllCloudtrailManagementEvents),
                arn: rule.arn.unwrap_or_default(),
                description: rule.description.unwrap_or_default(),
                pattern: rule.event_pattern.unwrap_or_default(),
                dead_letters,
            });
        }
        next = page.next_token;
        if next.is_none() {
            return Ok(rules);
        }
    }
}

/// Whether a pattern matches an event.
///
/// # Errors
/// When the call to EventBridge fails.
pub async fn matches(sdk: &SdkConfig, pattern: &str, event: &str) -> Result<bool, CallError> {
    let asked = aws_sdk_eventbridge::Client::new(sdk).test_event_pattern().event_pattern(pattern).event(event);
    Ok(asked.send().await?.result())
}

/// How far this machine's clock is ahead of AWS's, in whole seconds. AWS accepts signatures for five minutes.
///
/// # Errors
/// When STS does not answer, or its response has no readable `Date` header.
pub async fn clock_skew(sdk: &SdkConfig) -> Result<SignedDuration, CallError> {
    let date = Capture::new(|answer| answer.headers().get("date").map(str::to_owned));
    let client = aws_sdk_sts::Client::new(sdk);
    client.get_caller_identity().customize().interceptor(date.clone()).send().await?;
    let here = Timestamp::now();
    let said = date.take().unwrap_or_default();
    let there =
        jiff::fmt::rfc2822::parse(&said).map_err(|_| CallError::unclear(format!("STS says the time as `{said}`")))?;
    Ok(SignedDuration::from_secs(here.duration_since(there.timestamp()).as_secs()))
}
