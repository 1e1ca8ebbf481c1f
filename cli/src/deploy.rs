//! `deploy plan`: which stacks are needed where, with which parameters.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use anstyle::AnsiColor;
use aws::registry::Registries;
use domain::image::Registry;
use retry::chain;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    failure::CliError,
    print::{HEADING, Print, coloured, filled, styled},
};

/// The stacks to deploy.
#[derive(Debug, Serialize, ToSchema)]
pub struct Plan {
    /// The hub's stack.
    pub hub: StackPlan,
    /// A stack for each registry that holds a source or a replica.
    pub registries: Vec<StackPlan>,
    /// The destinations of each registry whose replication rules could be read.
    pub copies: BTreeMap<Registry, BTreeSet<Registry>>,
    /// The registries whose replication rules could not be read, with the error.
    pub unread: BTreeMap<Registry, String>,
}

/// A stack with its parameters.
#[derive(Debug, Serialize, ToSchema)]
pub struct StackPlan {
    /// The account of the stack, 12 digits.
    pub account: String,
    /// The region of the stack.
    pub region: String,
    /// The name of the stack.
    pub stack: &'static str,
    /// The name of its template among the files of a release.
    pub template: &'static str,
    /// The parameters that need a value. `EXTERNAL_ID` stands for a text and `BUCKET` for an S3 bucket that the operator
    /// chooses, `QUEUE_ARN` for an output of the hub's stack.
    #[schema(value_type = BTreeMap<String, String>)]
    pub parameters: BTreeMap<&'static str, String>,
}

/// The placeholder for the STS external ID, which the operator chooses once for all stacks.
const EXTERNAL_ID: &str = "EXTERNAL_ID";

/// The placeholder for the ARN of the hub's queue, whose name CloudFormation makes.
const QUEUE_ARN: &str = "QUEUE_ARN";

/// The placeholder for the bucket that holds the files of a release.
const BUCKET: &str = "BUCKET";

/// The folder of this version's files in that bucket, as the default of the parameter ArtifactsPrefix of infra/hub.yaml.
fn prefix() -> String {
    concat!("ecr-lineage/", env!("CARGO_PKG_VERSION")).to_owned()
}

/// The default of the parameter HubStackName of infra/registry.yaml.
pub(crate) const DEFAULT_HUB_STACK: &str = "ecr-lineage";

/// Plans a deployment for some registries and, transitively, for those that they replicate to.
///
/// # Errors
/// When a registry is in another partition than the hub: SNS delivers within a partition.
pub async fn plan(
    registries: &Registries,
    hub: &Registry,
    organization: Option<&str>,
    first: &[Registry],
) -> Result<Plan, CliError> {
    if let Some(registry) = first.iter().find(|registry| registry.partition() != hub.partition()) {
        return Err(CliError::OtherPartition { registry: registry.clone(), hub: hub.clone() });
    }
    let (mut copies, mut unread) = (BTreeMap::new(), BTreeMap::new());
    let mut open: BTreeSet<Registry> = first.iter().cloned().collect();
    let mut all = open.clone();
    while let Some(registry) = open.pop_first() {
        match registries.rules(&registry).await {
            Ok(rules) => {
                let to: BTreeSet<_> = rules.rules.into_iter().flat_map(|rule| rule.destinations).collect();
                open.extend(to.difference(&all).cloned());
                all.extend(to.iter().cloned());
                copies.insert(registry, to);
            }
            Err(failure) => _ = unread.insert(registry, chain(&failure)),
        }
    }
    let (hub, registries) = (of_hub(hub, organization, &all), of_registries(organization, &all));
    Ok(Plan { hub, registries, copies, unread })
}

fn of_hub(hub: &Registry, organization: Option<&str>, all: &BTreeSet<Registry>) -> StackPlan {
    let others: BTreeSet<_> = all.iter().map(Registry::account).filter(|account| *account != hub.account()).collect();
    let mut parameters = BTreeMap::from([
        ("ArtifactsBucket", BUCKET.to_owned()),
        ("ArtifactsPrefix", prefix()),
        ("ExternalId", EXTERNAL_ID.to_owned()),
    ]);
    match organization {
        Some(id) => _ = parameters.insert("OrganizationId", id.to_owned()),
        None if others.is_empty() => {}
        None => _ = parameters.insert("AccountIds", others.into_iter().collect::<Vec<_>>().join(",")),
    }
    let registries: Vec<_> = all.iter().map(ToString::to_string).collect();
    parameters.insert("Registries", registries.join(","));
    stack(hub, DEFAULT_HUB_STACK, "hub.yaml", parameters)
}

/// IAM roles belong to a whole account: the stack in the account's first region creates them. All stacks of an account
/// have the same parameters.
fn of_registries(organization: Option<&str>, all: &BTreeSet<Registry>) -> Vec<StackPlan> {
    let mut roles_regions = BTreeMap::new();
    let plans = all.iter().map(|registry| {
        let roles_region = roles_regions.entry(registry.account()).or_insert_with(|| registry.region());
        let mut parameters = BTreeMap::from([
            ("HubQueueArn", QUEUE_ARN.to_owned()),
            ("HubStackName", DEFAULT_HUB_STACK.to_owned()),
            ("RolesRegion", (*roles_region).to_owned()),
            ("ExternalId", EXTERNAL_ID.to_owned()),
        ]);
        parameters.extend(organization.map(|id| ("OrganizationId", id.to_owned())));
        stack(registry, "ecr-lineage-registry", "registry.yaml", parameters)
    });
    plans.collect()
}

fn stack(
    place: &Registry,
    stack: &'static str,
    template: &'static str,
    parameters: BTreeMap<&'static str, String>,
) -> StackPlan {
    StackPlan { account: place.account().to_owned(), region: place.region().to_owned(), stack, template, parameters }
}

impl Print for Plan {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = format!("\n{}\n", styled(HEADING, "Replication"));
        for (source, to) in &self.copies {
            let to: Vec<_> = to.iter().map(ToString::to_string).collect();
            let line = if to.is_empty() {
                format!("{source} has no replication rule")
            } else {
                format!("{source} → {}", to.join(", "))
            };
            _ = writeln!(text, "{}", filled(&line, ["  ", "    "], width));
        }
        for (registry, why) in &self.unread {
            let line = coloured(AnsiColor::Yellow, format!("? {registry} could not be read: {why}"));
            _ = writeln!(text, "{}", filled(&line, ["  ", "    "], width));
        }
        _ = writeln!(
            text,
            "\n{}\n",
            styled(HEADING, format!("1. Deploy the hub in {} {}", self.hub.account, self.hub.region))
        );
        _ = writeln!(text, "  aws s3 cp --recursive RELEASE s3://{BUCKET}/{}", prefix());
        // The template is longer than what CloudFormation accepts in a call.
        text.push_str(&command(&format!("CAPABILITY_IAM --s3-bucket {BUCKET}"), &self.hub));
        _ = writeln!(
            text,
            "  aws cloudformation describe-stacks --region {} --stack-name {} --output text \\\n    --query \
             'Stacks[0].Outputs[?OutputKey==`QueueArn`].OutputValue'",
            self.hub.region, self.hub.stack
        );
        let heading =
            format!("2. Deploy in {}", if self.registries.len() == 1 { "the registry" } else { "every registry" });
        _ = writeln!(text, "\n{}", styled(HEADING, heading));
        for stack in &self.registries {
            _ = writeln!(text, "\n  {}", styled(HEADING, format!("{} {}", stack.account, stack.region)));
            text.push_str(&command("CAPABILITY_NAMED_IAM", stack));
        }
        let known = "Replace RELEASE by the folder with the files of this version, BUCKET by an S3 bucket in the hub's \
                     region, EXTERNAL_ID by a text of your choice, the same in every stack, and QUEUE_ARN by what the \
                     last command of step 1 prints. If your organization requires a path or a permissions boundary of \
                     roles, give RolePath and PermissionsBoundary to every stack. ecr-lineage deletes nothing until you set DeletableRepositories, a \
                     policy and Mode=enforce.";
        _ = writeln!(text, "\n{}", filled(known, ["", ""], width));
        text
    }
}

/// A command to copy, with one option on each line.
fn command(options: &str, stack: &StackPlan) -> String {
    let StackPlan { region, stack, template, parameters, .. } = stack;
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!(
        "  aws cloudformation deploy --template-file RELEASE/{template} \\\n    --region {region} --stack-name {stack} \
         --capabilities {options} \\\n    --parameter-overrides {}\n",
        parameters.join(" \\\n      ")
    )
}
