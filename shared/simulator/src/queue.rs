//! The queue in front of `record`: Amazon SQS as an EventBridge rule fills it and a Lambda function empties it.
//!
//! At least once, in no order; a message that is received is hidden for a while, and what was received too often goes
//! to the dead letters.
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html>,
//! `sqs-dead-letter-queues.html`

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::clock::later;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its number.
    pub id: u64,
    /// The event, as JSON.
    pub body: String,
    /// How often it was received.
    pub receives: u32,
    /// When it can be received next; nothing among the dead letters.
    pub(crate) visible_at: Option<Timestamp>,
}

/// How long a received message is hidden: six times the function's timeout of 30 s, as Lambda recommends.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>
pub const VISIBILITY_TIMEOUT: SignedDuration = SignedDuration::from_secs(180);

/// How often a message is received before it goes to the dead letters.
pub const MAX_RECEIVES: u32 = 5;

/// The messages that wait, and the dead letters.
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

    /// Up to `most` messages that are visible, and all that this changed: those that are dead now are not received.
    pub(crate) fn receive(&mut self, most: usize, now: Timestamp) -> (Vec<Message>, Vec<u64>) {
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
            let again = later(now, VISIBILITY_TIMEOUT);
            message.visible_at = Some(again);
            self.visible.insert((again, id));
            received.push(message.clone());
        }
        (received, changed)
    }

    pub(crate) fn delete(&mut self, id: u64) {
        if let Some(Message { visible_at: Some(at), .. }) = self.messages.remove(&id) {
            self.visible.remove(&(at, id));
        }
    }

    /// When the next message can be received.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.visible.first().map(|(at, _)| *at)
    }

    /// How many wait, whether visible or not.
    pub(crate) fn waiting(&self) -> usize {
        self.visible.len()
    }

    pub(crate) fn dead(&self) -> impl Iterator<Item = &Message> {
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
    fn a_message_is_hidden_until_it_is_deleted_or_forgotten() {
        let mut queue = Queue::default();
        queue.put(message(1, 0));
        queue.put(message(2, 50));
        let ids = |queue: &mut Queue, second| -> Vec<_> {
            queue.receive(10, at(second)).0.into_iter().map(|message| message.id).collect()
        };
        assert_eq!(ids(&mut queue, 0), [1]);
        assert_eq!(ids(&mut queue, 60), [2]);
        queue.delete(2);
        assert_eq!(ids(&mut queue, 179), [0; 0]);
        assert_eq!(ids(&mut queue, 180), [1]);
        assert_eq!(queue.waiting(), 1);
    }

    #[test]
    fn what_is_received_five_times_goes_to_the_dead_letters() {
        let mut queue = Queue::default();
        queue.put(message(1, 0));
        for time in 0..5 {
            assert_eq!(queue.receive(10, at(time * 200)).0.len(), 1);
            assert_eq!(queue.dead().count(), 0);
        }
        assert!(queue.receive(10, at(1000)).0.is_empty());
        assert_eq!(queue.dead().map(|message| message.receives).collect::<Vec<_>>(), [5]);
        assert_eq!((queue.waiting(), queue.next()), (0, None));
    }
}
