//! From the loss at a source to the deletions that it requires.

use std::collections::BTreeMap;

use aws::log;
use domain::{
    alert::AlertKind,
    deletion::{self, CLAIM, Deletion, DeletionStatus, deletion_intents},
    drift,
    fact::WorkItem,
    image::{Image, Registry, Tag},
    observation::Candidate,
    plan::Mode,
};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use policy::Policy;
use retry::chain;
use store::{Due, Stored};
use tracing::{Instrument, warn};

use crate::{AT_A_TIME, Mirror, MirrorSummary};

impl Mirror {
    /// Opens the deletions of the images that are due, and returns those that are due themselves.
    pub(crate) async fn open_all(
        &self,
        policy: &Policy,
        due: BTreeMap<Image, Due>,
        now: Timestamp,
        summary: &mut MirrorSummary,
    ) -> Vec<Candidate> {
        let mut opened = stream::iter(due)
            .map(|(image, due)| {
                let span = log::image(&image);
                let failed = |failure: &store::Error| {
                    warn!(error = chain(failure), "a loss cannot be examined, it is due again");
                };
                async move { self.open(policy, image, due, now).await.inspect_err(failed) }.instrument(span)
            })
            .buffer_unordered(AT_A_TIME);
        let mut candidates = Vec::new();
        while let Some(result) = opened.next().await {
            let Ok((new, mut some)) = result else {
                summary.failures += 1;
                continue;
            };
            summary.opened += new.len();
            for planned in new.iter().filter(|opened| self.is_planned(opened)) {
                let due = planned.due.unwrap_or(now).strftime("%Y-%m-%d %H:%M:%S UTC");
                let will = if planned.will_ask() { "asks for approval of its deletion" } else { "will be deleted" };
                let what = format!("{will}, as its source deleted it, after {due}");
                summary.occurrences.note(planned.occurrence(AlertKind::DeletionPlanned, &what));
            }
            candidates.append(&mut some);
        }
        candidates
    }

    /// Whether a new deletion is expected to be executed, from what the table knows so far.
    fn is_planned(&self, opened: &Deletion) -> bool {
        self.mode == Mode::Enforce && opened.status == DeletionStatus::Pending && opened.action.is_some()
    }

    /// Opens the deletions that the losses of an image require, and returns the new ones and those that are due.
    async fn open(
        &self,
        policy: &Policy,
        image: Image,
        due: Due,
        now: Timestamp,
    ) -> Result<(Vec<Deletion>, Vec<Candidate>), store::Error> {
        let until = now.saturating_add(CLAIM).unwrap_or(now);
        for source in &due.losses {
            self.table.claim(&image, &WorkItem::SourceLost(source.clone()), until).await?;
        }
        let image_record = self.table.image_record(&image).await?;
        let mut deletions: BTreeMap<_, Deletion> =
            image_record.deletions.into_iter().map(|known| (key(&known), known)).collect();
        let mut new = Vec::new();
        for source in &due.losses {
            if drift::unexpected_deletion(&image_record.lineage, source).is_some() {
                self.table.enqueue(&image, &WorkItem::ReplicaDeleted(source.clone())).await?;
            }
            for intent in deletion_intents(&image_record.lineage, source) {
                let place = (intent.registry.clone(), intent.tag.clone());
                let Some(mut opened) = Deletion::open(deletions.get(&place), &image, source, intent, now) else {
                    continue;
                };
                deletion::estimate(&mut opened, &image_record.lineage, &|action, question| {
                    policy.ask(action, question)
                });
                // If an operator changed the deletion first, the operator's version is kept.
                if self.table.put_deletion(&mut opened).await? == Stored::New {
                    new.push(opened.clone());
                    deletions.insert(place, opened);
                }
            }
            self.table.complete(&image, &WorkItem::SourceLost(source.clone()), until).await?;
        }
        let is_due = |deletion: &Deletion| {
            // What a hold stops is due again, too.
            !deletion.status.is_final() && deletion.due.is_some_and(|due| due <= now)
        };
        let due = deletions.into_values().filter(is_due);
        Ok((new, due.map(|deletion| Candidate { deletion, lineage: image_record.lineage.clone() }).collect()))
    }
}

fn key(deletion: &Deletion) -> (Registry, Option<Tag>) {
    (deletion.registry.clone(), deletion.tag.clone())
}
