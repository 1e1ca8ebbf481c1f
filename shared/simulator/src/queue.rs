//! The queue in front of `record`: Amazon SQS, filled by the registries' SNS topics and emptied by a Lambda function.
//!
//! Messages are delivered at least once, in no order. A received message is hidden for a while; after too many receives
//! it moves to the dead-letter queue.
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html>,
//! `sqs-dead-letter-queues.html`

use std::collections::{BTreeMap, BTreeSet};

use domain::partition::Partition;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::later;

/// A message of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The id of the message.
    pub id: u64,
    /// The message of the topic, as JSON.
    pub body: String,
    /// The number of receives so far.
    pub receives: u32,
    /// When the message becomes visible; nothing in the dead-letter queue.
    pub(crate) visible_at: Option<Timestamp>,
}

/// What waits for `record`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// The number of messages in the queue, visible or not.
    pub waiting: usize,
    /// The number of them that could be received now.
    pub receivable: usize,
    /// Since when the first of these could be received.
    pub since: Option<Timestamp>,
    /// The number of messages in the dead-letter queue.
    pub dead: usize,
}

/// The name of the topic in each registry's stack.
pub const TOPIC_NAME: &str = "ecr-lineage-events";

/// An event in a message of its registry's topic, as SNS delivers it to a queue.
/// <https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>
///
/// A topic is in the account and region that the event names. `id` and `time` are those of the message, not of the event.
#[must_use]
pub fn notification(event: &Value, id: &str, time: Timestamp) -> String {
    let field = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    let (account, region) = (field("account"), field("region"));
    let Partition { name, dns_suffix, .. } = Partition::of(region);
    let host = format!("https://sns.{region}.{dns_suffix}");
    let topic = format!("arn:{name}:sns:{region}:{account}:{TOPIC_NAME}");
    json!({
        "Type": "Notification", "MessageId": id, "TopicArn": topic, "Message": event.to_string(),
        "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string(), "SignatureVersion": "1", "Signature": "EXAMPLE",
        "SigningCertURL": format!("{host}/SimpleNotificationService-EXAMPLE.pem"),
        "UnsubscribeURL": format!("{host}/?Action=Unsubscribe&SubscriptionArn={topic}:EXAMPLE"),
    })
    .to_string()
}

/// How long a received message is hidden: six times the function's timeout of 30 s, as AWS recommends for Lambda.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>
pub const VISIBILITY_TIMEOUT: SignedDuration = SignedDuration::from_secs(180);

/// The number of receives after which a message moves to the dead-letter queue.
pub const MAX_RECEIVES: u32 = 5;

/// The messages of the queue and of the dead-letter queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    messages: BTreeMap<u64, Message>,
    visible: BTreeSet<(Timestamp, u64)>,
}

impl Queue {
    pub(crate) fn get(&self, id: u64) -> Option<&Message> {
        self.messages.get(&id)
    }

    pub(crate) fn put(&mut self, message: Message) {
        self.visible.extend(message.visible_at.map(|at| (at, message.id)));
        self.messages.insert(message.id, message);
    }

    /// Receives up to `most` visible messages. Also returns the ids of all messages that this changed, including those
    /// that moved to the dead-letter queue.
    pub(crate) fn receive(&mut self, most: usize, now: Timestamp, hidden: SignedDuration) -> (Vec<Message>, Vec<u64>) {
        let (mut received, mut changed) = (Vec::new(), Vec::new());
        while received.len() < most {
            let Some((at, id)) = self.visible.first().copied().filter(|(at, _)| *at <= now) else { break };
            self.visible.remove(&(at, id));
            let Some(message) = self.messages.get_mut(&id) else { continue };
            changed.push(id);
            if message.receives >= MAX_RECEIVES {
                message.visible_at = None;
                continue;
            }
            message.receives += 1;
            let again = later(now, hidden);
            message.visible_at = Some(again);
            self.visible.insert((again, id));
            received.push(message.clone());
        }
        (received, changed)
    }

    /// Makes every received message visible again. Returns the ids of those that were not.
    pub(crate) fn return_received(&mut self, now: Timestamp) -> Vec<u64> {
        let mut returned = Vec::new();
        for message in self.messages.values_mut() {
            if let Some(at) = message.visible_at.filter(|at| message.receives > 0 && *at > now) {
                self.visible.remove(&(at, message.id));
                self.visible.insert((now, message.id));
                message.visible_at = Some(now);
                returned.push(message.id);
            }
        }
        returned
    }

    pub(crate) fn delete(&mut self, id: u64) {
        if let Some(Message { visible_at: Some(at), .. }) = self.messages.remove(&id) {
            self.visible.remove(&(at, id));
        }
    }

    /// When the next message becomes visible.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.visible.first().map(|(at, _)| *at)
    }

    pub(crate) fn backlog(&self, now: Timestamp) -> Backlog {
        let since = self.visible.first().map(|(at, _)| *at).filter(|at| *at <= now);
        let dead = self.messages.len() - self.visible.len();
        // Those that are being received are few, however many wait.
        let received = self.visible.iter().rev().take_while(|(at, _)| now < *at).count();
        Backlog { waiting: self.visible.len(), receivable: self.visible.len() - received, since, dead }
    }

    #[cfg(test)]
    fn dead(&self) -> impl Iterator<Item = &Message> {
        self.messages.values().filter(|message| message.visible_at.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn message(id: u64, second: i64) -> Message {
        Message { id, body: String::new(), receives: 0, visible_at: Some(at(second)) }
    }

    #[test]
    fn a_received_message_is_hidden_until_its_timeout_or_deletion() {
        let mut queue = Queue::default();
        queue.put(message(1, 0));
        queue.put(message(2, 50));
        let ids = |queue: &mut Queue, second| -> Vec<_> {
            queue.receive(10, at(second), VISIBILITY_TIMEOUT).0.into_iter().map(|message| message.id).collect()
        };
        assert_eq!(ids(&mut queue, 0), [1]);
        assert_eq!(ids(&mut queue, 60), [2]);
        queue.delete(2);
        assert_eq!(ids(&mut queue, 179), [0; 0]);
        assert_eq!(ids(&mut queue, 180), [1]);
        let backlog = Backlog { waiting: 1, receivable: 0, since: None, dead: 0 };
        assert_eq!(queue.backlog(at(180)), backlog);
        let mut restarted = Queue::default();
        restarted.put(queue.get(1).unwrap().clone());
        assert_eq!(restarted.return_received(at(181)), [1]);
        assert_eq!(restarted.backlog(at(181)).receivable, 1);
        assert_eq!(queue.backlog(at(360)), Backlog { receivable: 1, since: Some(at(360)), ..backlog });
    }

    #[test]
    fn a_message_received_five_times_becomes_a_dead_letter() {
        let mut queue = Queue::default();
        queue.put(message(1, 0));
        for time in 0..5 {
            assert_eq!(queue.receive(10, at(time * 200), VISIBILITY_TIMEOUT).0.len(), 1);
            assert_eq!(queue.dead().count(), 0);
        }
        assert!(queue.receive(10, at(1000), VISIBILITY_TIMEOUT).0.is_empty());
        assert_eq!(queue.dead().map(|message| message.receives).collect::<Vec<_>>(), [5]);
        assert_eq!((queue.backlog(at(2000)).waiting, queue.backlog(at(2000)).dead, queue.next()), (0, 1, None));
    }
}
