//! Prints the demo.

use std::fmt::Write as _;

use sandbox::demo::{Answer, Demo, Question, Scene, StoryEntry};

use super::{HEADING, Print, styled, table, time};

impl Print for Demo {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = String::new();
        for one in &self.registries {
            _ = writeln!(text, "{:<8}  {}", one.name, one.registry);
        }
        for (number, scene) in self.scenes.iter().enumerate() {
            let title = format!("{}. {}", number + 1, scene.title);
            _ = write!(text, "\n{}\n\n{}", styled(HEADING, title), scene.table(width));
        }
        text + "\nTry it yourself with the AWS CLI or any SDK: ecr-lineage local\n"
    }
}

impl Print for Scene {
    fn table(&self, width: Option<u16>) -> String {
        let mut parts = Vec::new();
        let is_step = |entry: &StoryEntry| matches!(entry, StoryEntry::Step(_));
        for entries in self.story.chunk_by(|one, next| is_step(one) && is_step(next)) {
            let mut steps = table(width, &["TIME (UTC)", "REGISTRY", "ACTION"], &[0, 1]);
            for entry in entries {
                match entry {
                    StoryEntry::Step(step) => {
                        steps.add_row([time(step.time), step.place.name.to_owned(), step.what.clone()]);
                    }
                    StoryEntry::Asked(question) => parts.push(question.table(width)),
                }
            }
            if entries.iter().any(is_step) {
                parts.push(format!("{steps}\n"));
            }
        }
        parts.join("\n")
    }
}

impl Print for Question {
    fn table(&self, width: Option<u16>) -> String {
        let command = styled(HEADING, format!("$ ecr-lineage {}", self.command));
        format!("{}\n{command}\n\n{}\n", self.question, self.answer.table(width).trim_matches('\n'))
    }
}

impl Print for Answer {
    fn table(&self, width: Option<u16>) -> String {
        match self {
            Self::Where(answer) => answer.table(width),
            Self::Show(answer) => answer.table(width),
            Self::History(answer) => answer.table(width),
            Self::Images(answer) => answer.table(width),
            Self::Alerts(answer) => answer.table(width),
            Self::Activity(answer) => answer.table(width),
            Self::Deletions(answer) => answer.table(width),
            Self::Schedule(answer) => answer.table(width),
            Self::Breakers(answer) => answer.table(width),
            Self::Costs(answer) => answer.table(width),
        }
    }
}
