//! `policy deploy`: a policy becomes the hub's.

use std::{fmt::Write, path::Path};

use answers::{
    error::Error,
    preview::{self, PolicyDiff},
};
use aws::deployment::{self, Stack};
use decide::Planner;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    confirm::confirm,
    doctor::hub::read_stack,
    failure::CliError,
    print::{self, Print},
    target::Target,
};

/// A policy that the hub's stack has now.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeployedPolicy {
    /// The hub's stack.
    pub stack: String,
    /// The name of the file.
    pub file: String,
    /// The ARN of the version of the layer that has it.
    pub layer: String,
    /// What the stack had before: to go back, deploy it with these parameters.
    pub before: PolicyParameters,
}

/// The parameters of the hub's stack that choose its policy.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyParameters {
    /// The ARN of a version of a layer; empty for the policies of the release.
    pub policy_layer: String,
    /// The name of a file in it.
    pub policy_file: String,
}

/// Publishes a policy and updates the hub's stack, after it showed what changes and the operator agreed.
///
/// # Errors
/// When the policy cannot be used, the stack is no hub or is being changed, a call fails, or the operator declines.
pub async fn deploy(
    target: &Target,
    file: &Path,
    stack: &str,
    since: SignedDuration,
    now: Timestamp,
    yes: bool,
) -> Result<DeployedPolicy, CliError> {
    let policy = decide::load_policy(Some(file))?;
    let (table, registries, sdk) = (&target.table, target.registries(), target.sdk());
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let hub = read_stack(sdk, stack).await?;
    let before = of_stack(&hub)?;
    if hub.in_progress() {
        return Err(CliError::StackBusy { stack: hub.name, status: hub.status });
    }
    let old = match preview::deployed(table).await {
        Ok((_, old)) => old,
        // Until `mirror` has a policy that it can use, it keeps everything.
        Err(Error::NoMirror | Error::MirrorsPolicyInvalid { .. }) => decide::load_policy(None)?,
        Err(failure) => return Err(failure.into()),
    };
    let settings = table.mirror_settings().await?;
    let usage_reads = settings.as_ref().map(|mirror| decide::usage_reads(&registries, mirror));
    let planner = |policy| {
        let planner = settings.iter().fold(Planner::new(table, &registries, policy), Planner::limited_as);
        planner.reading(usage_reads.as_ref())
    };
    let diff = preview::diff(&planner(&old), &planner(&policy), since, now).await?;
    confirm(&announced(&diff, &hub, &name), "Deploy this policy?", yes)?;

    let failed = |source| CliError::Stack { stack: hub.name.clone(), source };
    let layer = deployment::policy::publish(sdk, &format!("{}-own-policies", hub.name), &name, policy.text()).await;
    let layer = layer.map_err(failed)?;
    let changed = [("PolicyLayer", layer.as_str()), ("PolicyFile", name.as_str())];
    deployment::policy::update(sdk, &hub, &changed).await.map_err(failed)?;
    Ok(DeployedPolicy { stack: hub.name, file: name, layer, before })
}

/// The parameters of the stack that choose its policy.
fn of_stack(hub: &Stack) -> Result<PolicyParameters, CliError> {
    let parameter = |name| {
        let value = hub.parameters.get(name).cloned();
        value.ok_or_else(|| CliError::NoHub { stack: hub.name.clone(), output: name })
    };
    Ok(PolicyParameters { policy_layer: parameter("PolicyLayer")?, policy_file: parameter("PolicyFile")? })
}

/// What the command is about to do.
fn announced(diff: &PolicyDiff, hub: &Stack, name: &str) -> String {
    let mode = hub.parameters.get("Mode").map_or("unknown", String::as_str);
    format!("{}\nStack {} will run {name}, in mode {mode}.\n", diff.table(print::error_width()), hub.name)
}

impl Print for DeployedPolicy {
    fn table(&self, _: Option<u16>) -> String {
        let Self { stack, file, layer, before } = self;
        let mut text = format!("Stack {stack} runs {file} of {layer}.\n");
        let PolicyParameters { policy_layer, policy_file } = before;
        _ = writeln!(text, "To go back: PolicyLayer={policy_layer} PolicyFile={policy_file}");
        text
    }
}
