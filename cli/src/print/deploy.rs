//! A deployment for people.

use std::fmt::Write;

use anstyle::AnsiColor;

use super::{HEADING, Print, coloured, filled, styled};
use crate::deploy::{Plan, StackPlan};

impl Print for Plan {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = format!("\n{}\n", styled(HEADING, "What is copied where"));
        for (source, to) in &self.copies {
            let to: Vec<_> = to.iter().map(ToString::to_string).collect();
            let line = if to.is_empty() {
                format!("{source} copies nothing")
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
            styled(HEADING, format!("1. The hub, in {} {}", self.hub.account, self.hub.region))
        );
        text.push_str("  sam build --beta-features --template infra/hub.yaml\n");
        text.push_str(&command("sam deploy --resolve-s3", "CAPABILITY_IAM CAPABILITY_AUTO_EXPAND", &self.hub));
        let heading =
            format!("2. {} with images", if self.registries.len() == 1 { "The registry" } else { "Every registry" });
        _ = writeln!(text, "\n{}", styled(HEADING, heading));
        for stack in &self.registries {
            _ = writeln!(text, "\n  {}", styled(HEADING, format!("{} {}", stack.account, stack.region)));
            let deploy = format!("aws cloudformation deploy --template-file {}", stack.template);
            text.push_str(&command(&deploy, "CAPABILITY_NAMED_IAM", stack));
        }
        let known = "EXTERNAL_ID is any text, the same everywhere. Nothing is deleted until DeletableRepositories, a policy \
                     and Mode=enforce say so.";
        _ = writeln!(text, "\n{}", filled(known, ["", ""], width));
        text
    }
}

/// A command, in as many lines as it has parts, to be copied.
fn command(deploy: &str, capabilities: &str, stack: &StackPlan) -> String {
    let StackPlan { region, stack, parameters, .. } = stack;
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!(
        "  {deploy} \\\n    --region {region} --stack-name {stack} --capabilities {capabilities} \\\n    \
         --parameter-overrides {}\n",
        parameters.join(" \\\n      ")
    )
}
