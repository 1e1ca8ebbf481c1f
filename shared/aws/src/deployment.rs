//! A deployment, as AWS tells of it: the stack of the hub and what it is made of, and what registries send there. It only
//! reads.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_cloudformation::types::StackStatus;
use aws_sdk_cloudwatch::{
    primitives::DateTime,
    types::{Dimension, Metric, MetricDataQuery, MetricStat},
};
use aws_sdk_eventbridge::types::{ArchiveState, RuleState};
use jiff::{SignedDuration, Timestamp};

use retry::CallError;

use crate::capture::Capture;

/// How far back runs of functions are looked for.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// How finely, in seconds: the finest for which CloudWatch keeps a day.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricStat.html>
const MINUTE: i32 = 60;

/// The stack of a hub.
#[derive(Debug, Clone)]
pub struct Stack {
    /// As CloudFormation calls it, such as `UPDATE_COMPLETE`.
    pub status: String,
    /// Whether it is as its template says.
    pub complete: bool,
    /// What it puts out.
    pub outputs: BTreeMap<String, String>,
}

/// How a function ran in the last day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Runs {
    /// How often it was started.
    pub started: u64,
    /// How often it failed.
    pub failed: u64,
    /// The last minute in which it was started and did not fail.
    pub succeeded_at: Option<Timestamp>,
}

/// A rule of EventBridge.
#[derive(Debug, Clone)]
pub struct EventRule {
    /// Its name.
    pub name: String,
    /// Whether it matches anything.
    pub enabled: bool,
    /// Whether it also matches what CloudTrail calls read-only.
    pub all_of_cloudtrail: bool,
    /// What it matches.
    pub pattern: String,
    /// Whether what it cannot send is kept.
    pub keeps_undelivered: bool,
}

/// The stack of a hub; nothing if there is none of this name.
///
/// # Errors
/// When CloudFormation does not say.
pub async fn stack(sdk: &SdkConfig, name: &str) -> Result<Option<Stack>, CallError> {
    let asked = aws_sdk_cloudformation::Client::new(sdk).describe_stacks().stack_name(name).send().await;
    let answer = match asked.map_err(CallError::from) {
        Ok(answer) => answer,
        // That is how it says that there is none.
        Err(failure) if failure.code.as_deref() == Some("ValidationError") => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let Some(stack) = answer.stacks().first() else { return Ok(None) };
    let outputs = stack.outputs().iter();
    let outputs =
        outputs.filter_map(|output| Some((output.output_key()?.to_owned(), output.output_value()?.to_owned())));
    let status = stack.stack_status().cloned().unwrap_or_else(|| StackStatus::from("unknown"));
    let complete = [StackStatus::CreateComplete, StackStatus::UpdateComplete, StackStatus::ImportComplete];
    Ok(Some(Stack { complete: complete.contains(&status), status: status.to_string(), outputs: outputs.collect() }))
}

/// The account that credentials belong to.
///
/// # Errors
/// When STS does not say.
pub async fn account(sdk: &SdkConfig) -> Result<String, CallError> {
    let answer = aws_sdk_sts::Client::new(sdk).get_caller_identity().send().await?;
    answer.account.ok_or_else(|| CallError::unclear("STS names no account".to_owned()))
}

/// The policy of the caller's bus of this name, as JSON; nothing if it has none: then only its own account sends there.
///
/// # Errors
/// When EventBridge does not say.
pub async fn bus_policy(sdk: &SdkConfig, bus: &str) -> Result<Option<String>, CallError> {
    let answer = aws_sdk_eventbridge::Client::new(sdk).describe_event_bus().name(bus).send().await?;
    Ok(answer.policy)
}

/// Whether an archive keeps what comes.
///
/// # Errors
/// When EventBridge does not say, or there is none.
pub async fn archives(sdk: &SdkConfig, archive: &str) -> Result<bool, CallError> {
    let answer = aws_sdk_eventbridge::Client::new(sdk).describe_archive().archive_name(archive).send().await?;
    Ok(answer.state() == Some(&ArchiveState::Enabled))
}

/// How functions ran in the last day.
///
/// # Errors
/// When CloudWatch does not say.
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

/// The rules of a registry's account and region, whose default bus has ECR's events, that send to a bus.
///
/// # Errors
/// When EventBridge does not say.
pub async fn rules_to(sdk: &SdkConfig, bus: &str) -> Result<Vec<EventRule>, CallError> {
    let events = aws_sdk_eventbridge::Client::new(sdk);
    let (mut rules, mut next) = (Vec::new(), None);
    loop {
        let page = events.list_rule_names_by_target().target_arn(bus).set_next_token(next).send().await?;
        for name in page.rule_names() {
            let rule = events.describe_rule().name(name).send().await?;
            let targets = events.list_targets_by_rule().rule(name).send().await?;
            let mut ours = targets.targets().iter().filter(|target| target.arn() == bus);
            rules.push(EventRule {
                name: name.clone(),
                enabled: rule.state().is_some_and(|state| *state != RuleState::Disabled),
                all_of_cloudtrail: rule.state() == Some(&RuleState::EnabledWithAllCloudtrailManagementEvents),
                pattern: rule.event_pattern.unwrap_or_default(),
                keeps_undelivered: ours.all(|target| target.dead_letter_config().is_some()),
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
/// When EventBridge does not say.
pub async fn matches(sdk: &SdkConfig, pattern: &str, event: &str) -> Result<bool, CallError> {
    let asked = aws_sdk_eventbridge::Client::new(sdk).test_event_pattern().event_pattern(pattern).event(event);
    Ok(asked.send().await?.result())
}

/// Whether any trail of CloudTrail records what is done in an account and region: EventBridge tells of calls only then.
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail.html>
///
/// # Errors
/// When CloudTrail does not say.
pub async fn is_recorded(sdk: &SdkConfig) -> Result<bool, CallError> {
    let trails = aws_sdk_cloudtrail::Client::new(sdk);
    for trail in trails.describe_trails().send().await?.trail_list() {
        let Some(arn) = trail.trail_arn() else { continue };
        // A trail of the organization tells its members only that it is there.
        let logs = trails.get_trail_status().name(arn).send().await.map_err(CallError::from);
        match logs {
            Ok(status) if status.is_logging() == Some(true) => return Ok(true),
            Err(_) if trail.is_organization_trail() == Some(true) => return Ok(true),
            Ok(_) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(false)
}

/// How far this machine's clock is ahead of AWS's, to the second: signatures are good for five minutes.
///
/// # Errors
/// When STS does not answer, or not when.
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
