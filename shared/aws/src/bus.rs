//! The event bus, on which alerts are told to whoever listens.

use std::{collections::BTreeMap, slice, sync::Arc, time::Duration};

use aws_sdk_eventbridge::{Client, primitives::DateTime, types::PutEventsRequestEntry};
use domain::alert::{Alert, ChannelText};
use serde::Serialize;

use retry::{CallError, Disposition};

/// What our events have as their source.
pub const SOURCE: &str = "ecr-lineage";

/// As many entries as one call may have.
/// <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>
const ENTRIES_PER_CALL: usize = 10;

/// How often an entry is sent that the bus refuses while it takes others.
const ROUNDS: u32 = 4;

/// How long to wait before it is sent again: twice as long each time, 0.7 s together.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// An event bus, through an EventBridge client.
#[derive(Debug)]
pub struct Bus {
    client: Client,
    name: String,
}

/// What an event says: the alert, and the same for people.
#[derive(Debug, Serialize)]
pub struct Detail<'a> {
    #[serde(flatten)]
    alert: &'a Alert,
    channel_text: ChannelText,
}

/// Whether an alert was published. What refused a whole call is shared by its alerts.
pub type PublishResult = Result<(), Arc<CallError>>;

impl Bus {
    /// The bus of this name.
    #[must_use]
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        Self { client, name: name.into() }
    }

    /// Publishes alerts, in their order as far as calls go. Each answer stands for the alert in the same place. An alert
    /// whose answer was lost may be on the bus: who publishes it again publishes the same id.
    pub async fn publish(&self, alerts: &[Alert]) -> Vec<PublishResult> {
        let mut answers = Vec::with_capacity(alerts.len());
        for few in alerts.chunks(ENTRIES_PER_CALL) {
            for (alert, answer) in few.iter().zip(self.publish_together(few).await) {
                // An entry that is wrong in itself, too large for one, has its whole call refused.
                let wrong = answer.as_ref().is_err_and(|failure| failure.disposition == Disposition::Reject);
                answers.push(if wrong && few.len() > 1 {
                    self.publish_together(slice::from_ref(alert)).await.pop().unwrap_or(answer)
                } else {
                    answer
                });
            }
        }
        answers
    }

    /// Publishes no more alerts than one call takes, and those again that are refused while others are not.
    async fn publish_together(&self, alerts: &[Alert]) -> Vec<PublishResult> {
        let mut waiting: BTreeMap<usize, _> = alerts.iter().map(|alert| self.entry(alert)).enumerate().collect();
        let mut refused = BTreeMap::new();
        for round in 0..ROUNDS {
            if round > 0 {
                tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(round - 1)).await;
            }
            refused = match self.put(&waiting).await {
                Ok(refused) => refused,
                // The client has tried that again already.
                Err(failure) => {
                    let failure = Arc::new(failure);
                    refused = waiting.keys().map(|place| (*place, failure.clone())).collect();
                    break;
                }
            };
            waiting.retain(|place, _| refused.contains_key(place));
            if waiting.is_empty() {
                break;
            }
        }
        (0..alerts.len()).map(|place| refused.remove(&place).map_or(Ok(()), Err)).collect()
    }

    /// Makes one call, and returns what the bus refused of it, by place.
    async fn put(
        &self,
        entries: &BTreeMap<usize, PutEventsRequestEntry>,
    ) -> Result<BTreeMap<usize, Arc<CallError>>, CallError> {
        let call = self.client.put_events().set_entries(Some(entries.values().cloned().collect()));
        let answer = call.send().await?;
        // Answers are told apart by their places alone.
        if answer.entries().len() != entries.len() {
            let (asked, answered) = (entries.len(), answer.entries().len());
            return Err(CallError::unclear(format!("the bus answered {answered} entries, asked about {asked}")));
        }
        let answers = entries.keys().zip(answer.entries()).filter(|(_, answer)| answer.event_id().is_none());
        let failure = |code: Option<&str>, message: Option<&str>| {
            let (code, message) = (code.unwrap_or("unnamed error"), message.unwrap_or("without a message"));
            Arc::new(CallError::refused(code, message))
        };
        Ok(answers.map(|(place, answer)| (*place, failure(answer.error_code(), answer.error_message()))).collect())
    }

    fn entry(&self, alert: &Alert) -> PutEventsRequestEntry {
        // An alert is always JSON. If it were not, the bus would refuse the empty detail.
        let detail = serde_json::to_string(&Detail::of(alert)).unwrap_or_default();
        PutEventsRequestEntry::builder()
            .event_bus_name(&self.name)
            .source(SOURCE)
            .detail_type(alert.kind.detail_type())
            .time(DateTime::from_secs(alert.time.as_second()))
            .detail(detail)
            .build()
    }
}

impl<'a> Detail<'a> {
    /// What the event of an alert says.
    #[must_use]
    pub fn of(alert: &'a Alert) -> Self {
        Self { alert, channel_text: ChannelText::of(alert) }
    }
}
