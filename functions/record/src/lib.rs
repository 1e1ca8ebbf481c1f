#![doc = include_str!("../README.md")]

pub mod config;
pub mod proof;
#[cfg(feature = "confirm")]
pub mod subscription;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aws::log;
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use domain::{
    alert::{Alert, AlertKind},
    event::{
        Event,
        notification::{Admission, Content, Envelope, Notification, NotificationError, Senders, Topic},
    },
    evidence::{Evidence, PlacementKey},
    fact::{Fact, Subject, What},
    image::{Image, Registry},
};
use jiff::Timestamp;
use metrics::{counter, describe_counter, describe_histogram, histogram};
use proof::{Proofs, Unproven};
use retry::{Disposition, chain};
use store::{RecordedAll, Stored, Table};
use tracing::{Instrument, Span, error, error_span, warn};

/// Registers the units and descriptions of the metrics below with CloudWatch.
pub fn describe_metrics() {
    describe_counter!("Events", metrics::Unit::Count, "facts that were new, by kind");
    describe_counter!("DuplicateFacts", metrics::Unit::Count, "facts that were recorded before");
    describe_counter!("Ignored", metrics::Unit::Count, "events that say nothing about an image of their registry");
    describe_counter!("Rejects", metrics::Unit::Count, "messages that can never be recorded");
    describe_counter!("Failures", metrics::Unit::Count, "messages to be tried again");
    describe_histogram!("ReplicationLag", metrics::Unit::Seconds, "from the push to the replica, by destination");
}

/// The record function: its table, from whom it takes messages, and what proves that.
#[derive(Debug)]
pub struct Record {
    /// The table with lineage.
    pub table: Table,
    /// The topics from which messages are taken.
    pub senders: Senders,
    /// What proves messages and memberships.
    pub proofs: Proofs,
}

/// The result of one batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Handled {
    /// The ids of the messages that failed.
    pub failed: Vec<String>,
    /// The subscriptions to confirm.
    pub confirmations: Vec<Confirmation>,
}

/// A subscription that the owner of an admitted topic made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// The id of the message that asks for it.
    pub message: String,
    /// The topic.
    pub topic: Topic,
    /// SNS's token.
    pub token: String,
}

impl Handled {
    /// The response to Lambda: the failed messages return to the queue.
    #[must_use]
    pub fn response(self) -> SqsBatchResponse {
        let failures = self.failed.into_iter().map(|id| {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            failure
        });
        let mut response = SqsBatchResponse::default();
        response.batch_item_failures = failures.collect();
        response
    }
}

impl Record {
    /// Records one batch of messages; each body is one message of an SNS topic.
    pub async fn handle(&self, batch: SqsEvent) -> Handled {
        let mut handled = Handled::default();
        let (mut events, mut messages, mut arrivals) = (Vec::new(), Vec::new(), Vec::new());
        // On the heap: the compiler limits how deep futures may be nested.
        for (id, envelope) in Box::pin(self.believed(batch, &mut handled.failed)).await {
            match self.take(&id, envelope, &mut handled).await {
                Ok(Some((arrival, event))) => {
                    events.push(event);
                    messages.push(id);
                    arrivals.push(arrival);
                }
                Ok(None) => {}
                Err(Refusal) => handled.failed.push(id),
            }
        }
        for ((event, message), recorded) in events.iter().zip(messages).zip(record(&self.table, &events).await) {
            if let Err(failure) = recorded {
                message_span(&message, Some(event)).in_scope(|| log_failure(&failure));
                handled.failed.push(message);
            }
        }
        self.note_events(arrivals.into_iter().zip(&events)).await;
        handled
    }

    /// The messages of a batch that can be read, that SNS signed, and whose topics may send. The others fail.
    async fn believed(&self, batch: SqsEvent, failed: &mut Vec<String>) -> Vec<(String, Envelope)> {
        let mut read = Vec::new();
        for message in batch.records {
            // A message without an id cannot be reported as failed; SQS always sends one.
            let id = message.message_id.unwrap_or_default();
            match Envelope::read(message.body.unwrap_or_default().as_bytes()) {
                Ok(envelope) => read.push((id, envelope)),
                Err(error) => {
                    message_span(&id, None).in_scope(|| log_reject(&error));
                    failed.push(id);
                }
            }
        }
        self.admitted(self.signed(read, failed).await, failed).await
    }

    /// The messages that SNS signed.
    async fn signed(&self, messages: Vec<(String, Envelope)>, failed: &mut Vec<String>) -> Vec<(String, Envelope)> {
        let proofs = self.proofs.prove_signed(messages.iter().map(|(_, envelope)| envelope)).await;
        let mut signed = Vec::new();
        for ((id, envelope), proof) in messages.into_iter().zip(proofs) {
            let Err(unproven) = proof else {
                signed.push((id, envelope));
                continue;
            };
            let topic = &envelope.topic;
            let span = message_span(&id, None);
            if let Unproven::Refused(why) = &unproven {
                // Its author chose the topic and the time, too. One alert a day for all such messages.
                let text = format!("a message that names {topic} is refused: {why}");
                let alert = refused(&self.senders.topic_name, Timestamp::now(), text);
                self.put_alert(&alert).instrument(span.clone()).await;
            }
            span.in_scope(|| log_unproven(topic, &unproven));
            failed.push(id);
        }
        signed
    }

    /// The messages whose topics may send.
    async fn admitted(&self, messages: Vec<(String, Envelope)>, failed: &mut Vec<String>) -> Vec<(String, Envelope)> {
        let topics = messages.iter().map(|(_, envelope)| &envelope.topic);
        let asked: BTreeSet<_> =
            topics.filter(|topic| self.senders.admit(topic) == Admission::IfMember).cloned().collect();
        let unproven = self.proofs.unproven_members(asked, Timestamp::now()).await;
        let stranger = Unproven::Refused("its name or its account is not admitted".to_owned());
        let mut admitted = Vec::new();
        for (id, envelope) in messages {
            let Envelope { topic, time, .. } = &envelope;
            let reason = match self.senders.admit(topic) {
                Admission::Refused => Some(&stranger),
                Admission::Listed | Admission::IfMember => unproven.get(topic),
            };
            let Some(reason) = reason else {
                admitted.push((id, envelope));
                continue;
            };
            let span = message_span(&id, None);
            if let Unproven::Refused(why) = reason {
                let text = format!("{topic} is not a topic of this hub: {why}");
                self.put_alert(&refused(topic.arn(), *time, text)).instrument(span.clone()).await;
            }
            span.in_scope(|| log_unproven(topic, reason));
            failed.push(id);
        }
        admitted
    }

    /// Takes one message: returns its event, and does everything else at once.
    async fn take(
        &self,
        id: &str,
        envelope: Envelope,
        handled: &mut Handled,
    ) -> Result<Option<(Arrival, Event)>, Refusal> {
        let span = message_span(id, None);
        let Notification { topic, time, content } = match envelope.open() {
            Ok(notification) => notification,
            Err(error) => {
                if let Some(alert) = Self::alert_about(&error) {
                    self.put_alert(&alert).instrument(span.clone()).await;
                }
                span.in_scope(|| log_reject(&error));
                return Err(Refusal);
            }
        };
        match content {
            // Another service, a read, another account's registry: it arrived, and says nothing about an image here.
            Content::Event(event) if event.facts.is_empty() => counter!("Ignored").increment(1),
            Content::Event(event) => return Ok(Some((Arrival { registry: topic.registry, time }, event))),
            Content::Heartbeat(sent_at) => {
                // The sender chose the event's time, and a time in the future would hide that heartbeats stop.
                let stored = self.table.put_heartbeat(&topic.registry, sent_at.min(time)).await;
                stored.map_err(|failure| span.in_scope(|| refusal(&failure)))?;
            }
            Content::SubscriptionConfirmation { token } => {
                handled.confirmations.push(Confirmation { message: id.to_owned(), topic, token });
            }
            // The heartbeats of this registry stop, and `watch` raises an alert.
            Content::UnsubscribeConfirmation => span.in_scope(|| log_unsubscribed(&topic)),
        }
        Ok(None)
    }

    /// The alert about a message that cannot be read, if its topic is known.
    fn alert_about(error: &NotificationError) -> Option<Alert> {
        match error {
            NotificationError::OtherRegistry { topic, time, .. } => {
                Some(refused(topic.arn(), *time, error.to_string()))
            }
            NotificationError::Event { topic, time, of_aws, .. } => {
                let whose = if *of_aws {
                    "it looks like an event of AWS, so this is a bug of ecr-lineage: report it"
                } else {
                    "it does not look like an event of AWS: find out who publishes to this topic"
                };
                let message = format!("{}; {whose}", chain(error));
                Some(Alert::notice(AlertKind::PipelineUnhealthy, topic.arn(), message, *time))
            }
            NotificationError::NotJson(_) | NotificationError::NotOfSns(_) => None,
        }
    }

    /// Stores an alert about a message. The message fails in any case; the alert comes in addition.
    async fn put_alert(&self, alert: &Alert) {
        if let Err(failure) = self.table.put_alert(alert).await {
            warn!(alert.id = alert.id, error = chain(&failure), "an alert about a refused message cannot be stored");
        }
    }

    /// Notes for each registry when the last of these events happened. A failure costs only that note.
    async fn note_events<'a>(&self, events: impl Iterator<Item = (Arrival, &'a Event)>) {
        let mut last: BTreeMap<Registry, Timestamp> = BTreeMap::new();
        for (Arrival { registry, time }, event) in events {
            let times = event.facts.iter().map(|fact| fact.time.min(time)).chain(last.get(&registry).copied());
            if let Some(time) = times.max() {
                last.insert(registry, time);
            }
        }
        for (registry, time) in last {
            if let Err(failure) = self.table.put_last_event(&registry, time).await {
                log::registry(&registry)
                    .in_scope(|| warn!(error = chain(&failure), "the time of the last event cannot be stored"));
            }
        }
    }
}

/// Where an event comes from, and when SNS received it.
struct Arrival {
    registry: Registry,
    time: Timestamp,
}

/// A message that fails: it was logged, and returns to the queue.
struct Refusal;

/// Records events. Each result belongs to the event at the same index: how each of its facts was stored, or the error.
/// A failed event may be recorded in part; recording it again completes it.
pub async fn record(table: &Table, events: &[Event]) -> Vec<Result<Vec<Stored>, Arc<store::Error>>> {
    // Facts about one image are merged before they are written, even if they come from different events.
    let mut places: BTreeMap<(&Subject, Option<&Registry>), usize> = BTreeMap::new();
    // For each subject its facts, and for each fact the index of its event.
    let (mut subjects, mut event_places): (Vec<Vec<&Fact>>, Vec<Vec<usize>>) = (Vec::new(), Vec::new());
    for (index, event) in events.iter().enumerate() {
        for fact in &event.facts {
            let registry = (fact.subject == Subject::Registry).then_some(&fact.registry);
            let place = *places.entry((&fact.subject, registry)).or_insert(subjects.len());
            if place == subjects.len() {
                subjects.push(Vec::new());
                event_places.push(Vec::new());
            }
            if let (Some(facts), Some(event_places)) = (subjects.get_mut(place), event_places.get_mut(place)) {
                facts.push(fact);
                event_places.push(index);
            }
        }
    }
    let mut answers: Vec<_> = events.iter().map(|_| Ok(Vec::new())).collect();
    let RecordedAll { subjects: recorded, known } = table.record_all(&subjects).await;
    for ((facts, event_places), stored) in subjects.iter().zip(event_places).zip(recorded) {
        if let Ok(stored) = &stored {
            measure_all(table, facts, stored, &known).await;
        }
        for (place, index) in event_places.into_iter().enumerate() {
            let Some(answer) = answers.get_mut(index) else { continue };
            match (&stored, &mut *answer) {
                (Ok(stored), Ok(list)) => list.extend(stored.get(place)),
                (Err(failure), Ok(_)) => *answer = Err(failure.clone()),
                (_, Err(_)) => {}
            }
        }
    }
    answers
}

/// Updates metrics for the facts about one subject.
async fn measure_all(table: &Table, facts: &[&Fact], stored: &[Stored], known: &BTreeMap<PlacementKey, Evidence>) {
    for (fact, stored) in facts.iter().zip(stored) {
        match stored {
            Stored::New => measure(table, fact, known).await,
            Stored::Known => counter!("DuplicateFacts").increment(1),
        }
    }
}

/// Counts a new fact, and measures the replication lag if the push is known.
async fn measure(table: &Table, fact: &Fact, known: &BTreeMap<PlacementKey, Evidence>) {
    counter!("Events", "Kind" => fact.what.kind()).increment(1);
    let (Subject::Image(image), What::Replicated { source, tag }) = (&fact.subject, &fact.what) else { return };
    let name =
        |registry: &Registry| PlacementKey { image: Image::clone(image), registry: registry.clone(), tag: tag.clone() };
    let Some(here) = known.get(&name(&fact.registry)) else { return };
    let at_source = match known.get(&name(source)) {
        Some(evidence) => Ok(evidence.clone()),
        None => table.evidence(&name(source)).await,
    };
    // The event is recorded either way; a missing measurement is not a failure.
    match at_source {
        Ok(there) => {
            if let Some(lag) = here.lag_seconds(source, &there) {
                #[expect(clippy::cast_precision_loss, reason = "seconds, exact up to 2^53")]
                histogram!("ReplicationLag", "Destination" => fact.registry.to_string()).record(lag as f64);
            }
        }
        Err(failure) => log::placement(source, image).in_scope(|| {
            warn!(error = chain(&failure), "the lag of a replication was not measured: its push cannot be read");
        }),
    }
}

fn refusal(failure: &store::Error) -> Refusal {
    log_failure(failure);
    Refusal
}

/// The alert about a message that is refused.
fn refused(subject: &str, time: Timestamp, message: String) -> Alert {
    Alert::notice(AlertKind::EventRefused, subject, message, time)
}

fn log_unproven(topic: &Topic, unproven: &Unproven) {
    match unproven {
        Unproven::Refused(error) => {
            counter!("Rejects").increment(1);
            error!(topic = topic.arn(), error, "a message is refused, bound for the dead letters");
        }
        Unproven::Later(error) => {
            counter!("Failures").increment(1);
            warn!(topic = topic.arn(), error, "a message cannot be proven, will be tried again");
        }
    }
}

fn log_unsubscribed(topic: &Topic) {
    error!(topic = topic.arn(), "the subscription to a topic was deleted: no more events arrive from its registry");
}

/// The span of work on a message, whose event is known if it could be read.
fn message_span(message: &str, event: Option<&Event>) -> Span {
    error_span!("message", message.id = message, event.id = event.map(|event| event.id.as_str()))
}

fn log_reject(reject: &NotificationError) {
    counter!("Rejects").increment(1);
    error!(error = chain(reject), "not an event of a registry, bound for the dead letters");
}

fn log_failure(failure: &store::Error) {
    match failure.disposition() {
        Disposition::Retry => {
            counter!("Failures").increment(1);
            warn!(error = chain(failure), "not recorded, will be tried again");
        }
        Disposition::Reject => {
            counter!("Rejects").increment(1);
            error!(error = chain(failure), "cannot be recorded, bound for the dead letters");
        }
    }
}
