//! The hub's stack, and the checks of the stack, its region and this machine's clock.

use std::collections::BTreeSet;

use aws::deployment::{self, Stack};
use aws_config::SdkConfig;
use domain::image::Registry;
use jiff::{SignedDuration, Timestamp};
use store::Table;

use super::Finding;
use crate::failure::CliError;

/// The place of the hub's findings.
pub(super) const HUB: &str = "hub";

/// The fix for a call that the hub's account refused.
pub(super) const ATTACH_READERS_POLICY: &str = "give your role the policy in the stack's output ReadersPolicy";

/// The fix for a part of a stack that was deleted or changed by hand: CloudFormation deploys only what changed in the
/// template.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/drift-aware-change-sets.html>
pub(super) const REVERT_DRIFT: &str =
    "deploying the same template does not restore it: use a change set with `--deployment-mode REVERT_DRIFT`";

/// Where the fixes of the hub are described at length.
pub(super) const RUNBOOK: &str = "docs/runbook.md";

/// The largest accepted clock skew: AWS refuses signatures from five minutes on, and wrong times in the table would
/// mislead.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
const SKEW: SignedDuration = SignedDuration::from_mins(1);

/// The regions that every account has. All regions since March 2019 are opt-in regions.
/// <https://docs.aws.amazon.com/accounts/latest/reference/manage-acct-regions.html>
const DEFAULT_REGIONS: [&str; 17] = [
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

/// The hub's stack, its outputs, and clients.
pub(super) struct Hub<'a> {
    pub(super) stack: &'a Stack,
    /// The ARN of the queue of events.
    pub(super) queue: &'a str,
    /// The URL of the queue of events.
    pub(super) queue_url: String,
    /// The URLs of the queues of dead-letter events, of alerts that were not published, and of alerts that a channel did
    /// not accept.
    pub(super) dead_letters: [&'a str; 3],
    /// The ARN of the queue of dead-letter events.
    pub(super) dead_letters_arn: &'a str,
    /// The names of the functions, in the order of the stack's output `Functions`.
    pub(super) functions: Vec<&'a str>,
    pub(super) mode: &'a str,
    /// The ARN of the version of the layer with the policies, whose content never changes.
    pub(super) policies_layer: &'a str,
    pub(super) alerts_bus: &'a str,
    pub(super) table_name: &'a str,
    /// The account and region of the hub.
    pub(super) place: Registry,
    pub(super) now: Timestamp,
    pub(super) sdk: &'a SdkConfig,
    pub(super) table: Table,
}

impl<'a> Hub<'a> {
    /// The hub of a stack.
    ///
    /// # Errors
    /// When the stack lacks an output, which means that it is not a hub.
    pub(super) fn new(stack: &'a Stack, sdk: &'a SdkConfig) -> Result<Self, CliError> {
        let no_hub = |output| CliError::NoHub { stack: stack.name.clone(), output };
        let output = |output| stack.outputs.get(output).map(String::as_str).ok_or_else(|| no_hub(output));
        let (queue, dead_letters) = (output("QueueArn")?, output("DeadLettersUrl")?);
        let parts: Vec<_> = queue.split(':').collect();
        let &["arn", _, "sqs", region, account, name] = &*parts else { return Err(no_hub("QueueArn")) };
        let folder = dead_letters.rsplit_once('/').map_or(dead_letters, |(folder, _)| folder);
        Ok(Self {
            stack,
            queue,
            queue_url: format!("{folder}/{name}"),
            dead_letters: [dead_letters, output("FailedAlertsUrl")?, output("UndeliveredAlertsUrl")?],
            policies_layer: output("PoliciesLayer")?,
            dead_letters_arn: output("DeadLettersArn")?,
            functions: output("Functions")?.split(',').collect(),
            mode: output("Mode")?,
            alerts_bus: output("AlertsBusName")?,
            table_name: output("TableName")?,
            place: Registry::new(account, region).map_err(|_| no_hub("QueueArn"))?,
            now: Timestamp::now(),
            sdk,
            table: Table::new(aws_sdk_dynamodb::Client::new(sdk), output("TableName")?),
        })
    }

    /// The name of the topic in each registry's stack.
    pub(super) fn topic_name(&self) -> String {
        format!("{}-events", self.stack.name)
    }

    /// The ARN of the topic in a registry's stack.
    pub(super) fn topic(&self, registry: &Registry) -> String {
        registry.arn("sns", &self.topic_name())
    }

    /// Whether the hub may admit the topic of a registry, as far as its stack says. It does not know the accounts of its
    /// organization.
    pub(super) fn admits(&self, registry: &Registry) -> bool {
        let list = |name| self.parameter(name).unwrap_or_default().split(',').map(str::trim);
        registry.account() == self.place.account()
            || self.parameter("OrganizationId").is_some_and(|organization| !organization.is_empty())
            || list("AccountIds").any(|account| account == registry.account())
            || list("Registries").any(|configured| configured == registry.to_string())
    }

    /// The value of a parameter of the stack; `None` if the stack has no such parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.stack.parameters.get(name).map(String::as_str)
    }
}

/// Reads the stack of this name.
///
/// # Errors
/// When the stack does not exist or cannot be read.
pub(crate) async fn read_stack(sdk: &SdkConfig, name: &str) -> Result<Stack, CliError> {
    let found = deployment::stack(sdk, name).await;
    found
        .map_err(|source| CliError::Stack { stack: name.to_owned(), source })?
        .ok_or_else(|| CliError::NoStack { stack: name.to_owned() })
}

/// Checks the status of the stack.
pub(super) fn check_stack(hub: &Hub<'_>) -> Finding {
    let Stack { name, status, complete, .. } = hub.stack;
    let what = format!("stack {name} is {status}, in mode {}", hub.mode);
    match complete {
        true => Finding::good(HUB, what),
        false => Finding::wrong(HUB, what, "check the stack's events in CloudFormation, and deploy it again"),
    }
}

/// The version of this program, and of the templates and functions that belong to it.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Checks whether the stack is of this program's version; `None` if so.
pub(super) fn check_version(hub: &Hub<'_>) -> Option<Finding> {
    let deployed = hub.stack.outputs.get("Version").map(String::as_str);
    let what = match deployed {
        Some(VERSION) => return None,
        Some(version) => format!("the hub has version {version}, and this program {VERSION}"),
        None => format!("the hub does not say its version, and this program has {VERSION}"),
    };
    Some(Finding::notice(HUB, what, "deploy the hub from the files of the newer one, or install that program"))
}

/// Checks whether every account has the hub's region; `None` if so.
pub(super) fn check_region(hub: &Hub<'_>) -> Option<Finding> {
    is_opt_in(&hub.place).then(|| {
        let region = hub.place.region();
        let what = format!(
            "the hub is in the opt-in region {region}: its functions get no credentials for accounts that did not \
             enable it"
        );
        let fix = format!("enable {region} in every account with a registry; see docs/deploy.md, section 3");
        Finding::notice(HUB, what, &fix)
    })
}

/// Checks whether the hub's account has the opt-in regions in which `record` calls the topics of other accounts.
pub(super) async fn check_opt_in_regions(hub: &Hub<'_>, registries: &BTreeSet<Registry>) -> Vec<Finding> {
    let others = registries.iter().filter(|registry| registry.account() != hub.place.account());
    let regions: BTreeSet<_> = others.filter(|registry| is_opt_in(registry)).map(Registry::region).collect();
    let mut findings = Vec::new();
    for region in regions {
        match deployment::has_region(hub.sdk, region).await {
            Ok(true) => {}
            Ok(false) => findings.push(Finding::wrong(HUB, no_region(region), &enable_command(hub, region))),
            Err(failure) => {
                let what = format!("whether the hub's account has the opt-in region {region} could not be read");
                findings.push(Finding::unknown(HUB, what, &failure, &enable_command(hub, region)));
            }
        }
    }
    findings
}

fn no_region(region: &str) -> String {
    format!(
        "the opt-in region {region} accepts no credentials of the hub's account: record cannot confirm subscriptions \
         to topics there, nor prove that their accounts are members of the organization"
    )
}

fn enable_command(hub: &Hub<'_>, region: &str) -> String {
    format!(
        "enable the region in account {}, which takes minutes to hours: aws account enable-region --region-name {region}; \
         if it is enabled, sign in through a regional endpoint of STS (AWS_STS_REGIONAL_ENDPOINTS=regional)",
        hub.place.account()
    )
}

/// Whether a registry's region is an opt-in region.
pub(super) fn is_opt_in(registry: &Registry) -> bool {
    let region = registry.region();
    registry.partition().name == "aws" && !DEFAULT_REGIONS.contains(&region)
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
