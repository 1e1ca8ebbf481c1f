//! The EventBridge event bus to which alerts and other events are published.

use std::{collections::BTreeMap, slice, sync::Arc, time::Duration};

use aws_sdk_eventbridge::{Client, primitives::DateTime, types::PutEventsRequestEntry};
pub use domain::alert::PageAddress;
use domain::alert::{EVENT_SOURCE, PublishedEvent};

use retry::{CallError, Disposition};

/// The maximum number of entries in one call.
/// <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>
const ENTRIES_PER_CALL: usize = 10;

/// How often an entry is sent if the bus refuses it but accepts others in the same call.
const ROUNDS: u32 = 4;

/// The pause before the second attempt; each further pause is twice as long, 0.7 s in total.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// An event bus, through an EventBridge client.
#[derive(Debug)]
pub struct Bus {
    client: Client,
    name: String,
    page: Option<PageAddress>,
}

/// Whether an event was published. The events of a call that failed as a whole share its error.
pub type PublishResult = Result<(), Arc<CallError>>;

impl Bus {
    /// The bus with this name.
    #[must_use]
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        Self { client, name: name.into(), page: None }
    }

    /// The bus, whose events have links to the page.
    #[must_use]
    pub fn with_page(self, page: Option<PageAddress>) -> Self {
        Self { page, ..self }
    }

    /// Publishes events, in order from call to call. Results are in the order of the events. If a response was lost,
    /// the event may be on the bus; publishing it again sends the same id.
    pub async fn publish(&self, events: &[PublishedEvent]) -> Vec<PublishResult> {
        let mut answers = Vec::with_capacity(events.len());
        for few in events.chunks(ENTRIES_PER_CALL) {
            for (event, answer) in few.iter().zip(self.publish_together(few).await) {
                // An invalid entry, such as one that is too large, makes EventBridge refuse the whole call.
                let wrong = answer.as_ref().is_err_and(|failure| failure.disposition == Disposition::Reject);
                answers.push(if wrong && few.len() > 1 {
                    self.publish_together(slice::from_ref(event)).await.pop().unwrap_or(answer)
                } else {
                    answer
                });
            }
        }
        answers
    }

    /// Publishes at most as many events as fit into one call; sends those again that were refused while others were
    /// accepted.
    async fn publish_together(&self, events: &[PublishedEvent]) -> Vec<PublishResult> {
        let mut waiting: BTreeMap<usize, _> = events.iter().map(|event| self.entry(event)).enumerate().collect();
        let mut refused = BTreeMap::new();
        for round in 0..ROUNDS {
            if round > 0 {
                tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(round - 1)).await;
            }
            refused = match self.put(&waiting).await {
                Ok(refused) => refused,
                // The client has retried that already.
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
        (0..events.len()).map(|place| refused.remove(&place).map_or(Ok(()), Err)).collect()
    }

    /// Makes one call, and returns the refused entries by their index.
    async fn put(
        &self,
        entries: &BTreeMap<usize, PutEventsRequestEntry>,
    ) -> Result<BTreeMap<usize, Arc<CallError>>, CallError> {
        let call = self.client.put_events().set_entries(Some(entries.values().cloned().collect()));
        let answer = call.send().await?;
        // A result belongs to an entry only by its index.
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

    fn entry(&self, event: &PublishedEvent) -> PutEventsRequestEntry {
        // An event always serializes to JSON. If it did not, the bus would refuse the empty detail.
        let detail = serde_json::to_string(&event.detail(self.page.as_ref())).unwrap_or_default();
        PutEventsRequestEntry::builder()
            .event_bus_name(&self.name)
            .source(EVENT_SOURCE)
            .detail_type(event.detail_type())
            .time(DateTime::from_secs(event.time().as_second()))
            .detail(detail)
            .build()
    }
}
