//! The hub's stack, and the checks of the stack and of this machine's clock.

use aws::deployment::{self, Stack};
use aws_config::SdkConfig;
use jiff::{SignedDuration, Timestamp};
use store::Table;

use super::Finding;
use crate::failure::CliError;

/// The place of the hub's findings.
pub(super) const HUB: &str = "hub";

/// The fix for a call that the hub's account refused.
pub(super) const ATTACH_READERS_POLICY: &str = "give your role the policy in the stack's output ReadersPolicy";

/// Where the fixes of the hub are described at length.
pub(super) const RUNBOOK: &str = "docs/runbook.md";

/// The largest accepted clock skew: AWS refuses signatures from five minutes on, and wrong times in the table would
/// mislead.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
const SKEW: SignedDuration = SignedDuration::from_mins(1);

/// The hub's stack, its outputs, and clients.
pub(super) struct Hub<'a> {
    name: &'a str,
    stack: &'a Stack,
    pub(super) bus: &'a str,
    pub(super) archive: &'a str,
    /// The URLs of the queues of dead-letter events and of undelivered alerts.
    pub(super) queues: [&'a str; 2],
    /// The names of the functions, in the order of the stack's output `Functions`.
    pub(super) functions: Vec<&'a str>,
    mode: &'a str,
    pub(super) now: Timestamp,
    pub(super) sdk: &'a SdkConfig,
    pub(super) table: Table,
}

impl<'a> Hub<'a> {
    /// The hub of a stack.
    ///
    /// # Errors
    /// When the stack lacks an output, which means that it is not a hub.
    pub(super) fn new(name: &'a str, stack: &'a Stack, sdk: &'a SdkConfig) -> Result<Self, CliError> {
        let output = |output| {
            let text = stack.outputs.get(output).map(String::as_str);
            text.ok_or_else(|| CliError::NoHub { stack: name.to_owned(), output })
        };
        Ok(Self {
            name,
            stack,
            bus: output("BusArn")?,
            archive: output("ArchiveName")?,
            queues: [output("DeadLettersUrl")?, output("FailedAlertsUrl")?],
            functions: output("Functions")?.split(',').collect(),
            mode: output("Mode")?,
            now: Timestamp::now(),
            sdk,
            table: Table::new(aws_sdk_dynamodb::Client::new(sdk), output("TableName")?),
        })
    }
}

/// Reads the stack of this name.
///
/// # Errors
/// When the stack does not exist or cannot be read.
pub(super) async fn read_stack(sdk: &SdkConfig, name: &str) -> Result<Stack, CliError> {
    let found = deployment::stack(sdk, name).await;
    found
        .map_err(|source| CliError::Stack { stack: name.to_owned(), source })?
        .ok_or_else(|| CliError::NoStack { stack: name.to_owned() })
}

/// Checks the status of the stack.
pub(super) fn check_stack(hub: &Hub<'_>) -> Finding {
    let Stack { status, complete, .. } = hub.stack;
    let what = format!("stack {} is {status}, in mode {}", hub.name, hub.mode);
    match complete {
        true => Finding::good(HUB, what),
        false => Finding::wrong(HUB, what, "check the stack's events in CloudFormation, and deploy it again"),
    }
}

/// Checks this machine's clock.
pub(super) async fn check_clock(hub: &Hub<'_>) -> Finding {
    match deployment::clock_skew(hub.sdk).await {
        Ok(skew) if skew.abs() <= SKEW => Finding::good(HUB, "this machine's clock agrees with AWS to within a minute"),
        Ok(skew) => Finding::wrong(
            HUB,
            format!("this machine's clock differs from AWS by {skew:#}: AWS may refuse its signatures"),
            "synchronize the clock with NTP",
        ),
        Err(failure) => {
            Finding::unknown(HUB, "the time at AWS could not be read", &failure, "sign in (`aws sso login`)")
        }
    }
}
