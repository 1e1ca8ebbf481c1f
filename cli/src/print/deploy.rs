//! Prints a deployment plan.

use std::fmt::Write;

use anstyle::AnsiColor;

use super::{HEADING, Print, coloured, filled, styled};
use crate::deploy::{Plan, StackPlan};

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
        text.push_str("  sam build --beta-features --template infra/hub.yaml\n");
        text.push_str(&command("sam deploy --resolve-s3", "CAPABILITY_IAM CAPABILITY_AUTO_EXPAND", &self.hub));
        let heading =
            format!("2. Deploy in {}", if self.registries.len() == 1 { "the registry" } else { "every registry" });
        _ = writeln!(text, "\n{}", styled(HEADING, heading));
        for stack in &self.registries {
            _ = writeln!(text, "\n  {}", styled(HEADING, format!("{} {}", stack.account, stack.region)));
            let deploy = format!("aws cloudformation deploy --template-file {}", stack.template);
            text.push_str(&command(&deploy, "CAPABILITY_NAMED_IAM", stack));
        }
        let known = "Replace EXTERNAL_ID by a text of your choice, the same in every stack. ecr-lineage deletes \
                     nothing until you set DeletableRepositories, a policy and Mode=enforce.";
        _ = writeln!(text, "\n{}", filled(known, ["", ""], width));
        text
    }
}

/// A command to copy, with one option on each line.
fn command(deploy: &str, capabilities: &str, stack: &StackPlan) -> String {
    let StackPlan { region, stack, parameters, .. } = stack;
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!(
        "  {deploy} \\\n    --region {region} --stack-name {stack} --capabilities {capabilities} \\\n    \
         --parameter-overrides {}\n",
        parameters.join(" \\\n      ")
    )
}
