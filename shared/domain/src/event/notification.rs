//! What arrives in the queue of `record`: the messages of the registries' SNS topics.
//!
//! An EventBridge rule in the registry's account and region publishes each event to a topic there, and SNS delivers it to
//! the hub's queue. The event is the text of the field `Message`, unchanged, with its own `id` and `time`
//! (<https://docs.aws.amazon.com/sns/latest/dg/sns-sqs-as-subscriber.html>). `TopicArn`, one of the fields around it, says
//! which account and region speak. A topic speaks for its own registry and for no other, whatever stands in the event.
//!
//! The fields around the event are SNS's only if SNS signed them: an admitted account that switches its subscription to
//! raw delivery writes the whole message itself. So a message is opened in two steps. [`Envelope::read`] reads SNS's own
//! fields, and `record` verifies the signature ([`signature`]) and the topic; [`Envelope::open`] reads the rest.
//!
//! SNS also asks the queue's owner to confirm a subscription that the topic's owner made
//! (<https://docs.aws.amazon.com/sns/latest/dg/sns-send-message-to-sqs-cross-account.html>).

pub mod signature;

use std::{collections::BTreeSet, fmt, str::FromStr};

use jiff::Timestamp;
use serde_json::Value;

use super::{Event, EventError, looks_like_aws, malformed, optional, read_value, registry, text, time};
use crate::image::{MalformedError, Registry};

/// The `source` of heartbeats, which the schedule of each registry's stack sends.
pub const HEARTBEAT_SOURCE: &str = "ecr-lineage";

/// The `detail-type` of heartbeats.
pub const HEARTBEAT_DETAIL_TYPE: &str = "ECR Lineage Heartbeat";

/// An SNS topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Topic {
    arn: String,
    /// The registry in the account and region of the topic.
    pub registry: Registry,
}

impl Topic {
    /// The ARN of the topic.
    #[must_use]
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// The name of the topic.
    #[must_use]
    pub fn name(&self) -> &str {
        self.arn.rsplit(':').next().unwrap_or_default()
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arn)
    }
}

impl FromStr for Topic {
    type Err = MalformedError;

    fn from_str(arn: &str) -> Result<Self, MalformedError> {
        let parts: Vec<_> = arn.split(':').collect();
        let &["arn", partition, "sns", region, account, name] = &*parts else {
            return Err(MalformedError::new(arn, "the ARN of an SNS topic", RULE));
        };
        let follows = |text: &str, also: &[u8]| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || also.contains(&byte))
        };
        // https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html
        if !follows(partition, b"-") || !follows(name, b"-_.") || name.len() > 256 {
            return Err(MalformedError::new(arn, "the ARN of an SNS topic", RULE));
        }
        Ok(Self { registry: Registry::new(account, region)?, arn: arn.to_owned() })
    }
}

const RULE: &str = "expected `arn:aws:sns:REGION:ACCOUNT:NAME`";

/// One message of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The topic that sent it.
    pub topic: Topic,
    /// When SNS received it.
    pub time: Timestamp,
    /// What it says.
    pub content: Content,
}

/// The content of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// An event of the topic's registry. Facts about another registry are left out: see [`read`].
    Event(Event),
    /// The path from the registry to the hub works: this heartbeat was sent at that time.
    Heartbeat(Timestamp),
    /// The topic's owner subscribed the queue, and SNS asks the queue's owner to confirm it with this token.
    SubscriptionConfirmation {
        /// The token, valid for two days.
        token: String,
    },
    /// The subscription was deleted: no further events arrive from this topic.
    UnsubscribeConfirmation,
}

/// The topics from which the hub takes messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Senders {
    /// The name of the topic in each registry's stack.
    pub topic_name: String,
    /// The accounts that may send.
    pub accounts: BTreeSet<String>,
    /// Whether accounts of the hub's organization may send as well.
    pub organization: bool,
}

/// Whether the hub takes messages from a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Yes: its account is listed.
    Listed,
    /// Only if its account belongs to the organization, which AWS must prove.
    IfMember,
    /// No.
    Refused,
}

impl Senders {
    /// Whether the hub takes messages from a topic.
    #[must_use]
    pub fn admit(&self, topic: &Topic) -> Admission {
        match topic.name() == self.topic_name {
            true if self.accounts.contains(topic.registry.account()) => Admission::Listed,
            true if self.organization => Admission::IfMember,
            _ => Admission::Refused,
        }
    }
}

/// Why a message is refused.
#[derive(Debug, thiserror::Error)]
pub enum NotificationError {
    /// The message is not JSON.
    #[error("not a JSON document")]
    NotJson(#[source] serde_json::Error),
    /// A field of SNS's own is missing or malformed.
    #[error("not a message of an SNS topic")]
    NotOfSns(#[source] EventError),
    /// The event in the message is not JSON, or cannot be read.
    #[error("the event from {topic} cannot be read")]
    Event {
        /// The topic that sent it.
        topic: Topic,
        /// When SNS received it.
        time: Timestamp,
        /// Whether it looks like an event of AWS.
        of_aws: bool,
        /// Why it cannot be read.
        #[source]
        source: Box<EventError>,
    },
    /// The event in the message names another account or region than the topic.
    #[error("{topic} sent an event of {registry}, which is not its own registry")]
    OtherRegistry {
        /// The topic that sent it.
        topic: Topic,
        /// When SNS received it.
        time: Timestamp,
        /// The registry that the event names.
        registry: Registry,
    },
}

/// A message of which only SNS's own fields were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The topic that the message names.
    pub topic: Topic,
    /// When SNS received it, as the message says.
    pub time: Timestamp,
    kind: Kind,
    message: Value,
}

/// SNS's type of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Notification,
    SubscriptionConfirmation,
    UnsubscribeConfirmation,
}

impl Envelope {
    /// Reads the fields that all messages of SNS have.
    ///
    /// # Errors
    /// When the message is not one of SNS's.
    pub fn read(body: &[u8]) -> Result<Self, NotificationError> {
        let message: Value = serde_json::from_slice(body).map_err(NotificationError::NotJson)?;
        let (topic, time, kind) = of_sns(&message).map_err(NotificationError::NotOfSns)?;
        Ok(Self { topic, time, kind, message })
    }

    /// Reads the content.
    ///
    /// The facts of an event are those about the topic's own registry. A call that names another account's registry is in
    /// the CloudTrail trails of both accounts; only the owner's record is taken, because only the owner's topic proves
    /// it.
    ///
    /// # Errors
    /// When the event cannot be read or names another registry.
    pub fn open(self) -> Result<Notification, NotificationError> {
        let Self { topic, time, kind, message } = self;
        let content = match kind {
            Kind::Notification => {
                let mut of_aws = false;
                let content = (|| {
                    let text = text(&message, "Message")?;
                    let event: Value = serde_json::from_str(text).map_err(EventError::NotJson)?;
                    of_aws = looks_like_aws(&event);
                    Ok((registry(&event, "account", "region")?, of_event(&event)?))
                })();
                let (registry, mut content) = content.map_err(|source| NotificationError::Event {
                    topic: topic.clone(),
                    time,
                    of_aws,
                    source: Box::new(source),
                })?;
                if registry != topic.registry {
                    return Err(NotificationError::OtherRegistry { topic, time, registry });
                }
                if let Content::Event(event) = &mut content {
                    event.facts.retain(|fact| fact.registry == topic.registry);
                }
                content
            }
            Kind::SubscriptionConfirmation => {
                let token = text(&message, "Token").map_err(NotificationError::NotOfSns)?.to_owned();
                Content::SubscriptionConfirmation { token }
            }
            Kind::UnsubscribeConfirmation => Content::UnsubscribeConfirmation,
        };
        Ok(Notification { topic, time, content })
    }
}

/// Reads one message, without any proof that it is SNS's.
///
/// # Errors
/// When the message is not one of SNS's, or its event cannot be read or names another registry.
pub fn read(body: &[u8]) -> Result<Notification, NotificationError> {
    Envelope::read(body)?.open()
}

/// The fields that all messages of SNS have.
fn of_sns(message: &Value) -> Result<(Topic, Timestamp, Kind), EventError> {
    let arn = text(message, "TopicArn")?;
    let topic = arn.parse().map_err(|source| EventError::Field { field: "TopicArn", source })?;
    let kind = match optional(message, "Type")? {
        Some("Notification") => Kind::Notification,
        Some("SubscriptionConfirmation") => Kind::SubscriptionConfirmation,
        Some("UnsubscribeConfirmation") => Kind::UnsubscribeConfirmation,
        other => {
            let rule = "expected `Notification`, `SubscriptionConfirmation` or `UnsubscribeConfirmation`";
            return Err(malformed("Type", other.unwrap_or_default(), "a type of message", rule));
        }
    };
    Ok((topic, time(message, "Timestamp")?, kind))
}

fn of_event(event: &Value) -> Result<Content, EventError> {
    if is_heartbeat(event) {
        time(event, "time").map(Content::Heartbeat)
    } else {
        read_value(event).map(Content::Event)
    }
}

pub(super) fn is_heartbeat(event: &Value) -> bool {
    let is = |field, text: &str| event.get(field).and_then(Value::as_str) == Some(text);
    is("source", HEARTBEAT_SOURCE) && is("detail-type", HEARTBEAT_DETAIL_TYPE)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// AWS's example of a message in a queue, with the topic and the event of the test.
    /// <https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>
    fn message(kind: &str, arn: &str, text: &str) -> Vec<u8> {
        json!({
            "Type": kind, "MessageId": "dc1e94d9-56c5-5e96-808d-cc7f68faa162", "TopicArn": arn, "Message": text,
            "Token": "2336412f37fb687f5d51e6e2425c464de257eb", "Timestamp": "2026-11-16T12:00:07.335Z",
            "SignatureVersion": "1", "Signature": "EXAMPLE", "SigningCertURL": "EXAMPLE", "UnsubscribeURL": "EXAMPLE",
        })
        .to_string()
        .into_bytes()
    }

    const IRELAND: &str = "arn:aws:sns:eu-west-1:111122223333:ecr-lineage-events";

    fn push(account: &str, region: &str) -> Value {
        json!({
            "version": "0", "id": "13cde686-328b-6117-af20-0e5566167482", "detail-type": "ECR Image Action",
            "source": "aws.ecr", "account": account, "time": "2026-11-16T12:00:05Z", "region": region, "resources": [],
            "detail": {
                "result": "SUCCESS", "repository-name": "team/app", "image-digest": format!("sha256:{}", "a".repeat(64)),
                "action-type": "PUSH", "image-tag": "latest",
            },
        })
    }

    #[test]
    fn a_topic_speaks_for_its_own_registry_and_for_no_other() {
        let own = push("111122223333", "eu-west-1");
        let read_own = read(&message("Notification", IRELAND, &own.to_string())).unwrap();
        assert_eq!(read_own.topic.registry.to_string(), "111122223333/eu-west-1");
        assert_eq!(read_own.topic.name(), "ecr-lineage-events");
        let Content::Event(event) = read_own.content else { panic!("{:?}", read_own.content) };
        assert_eq!(event, read_value(&own).unwrap());
        for (account, region) in [("444455556666", "eu-west-1"), ("111122223333", "us-east-1")] {
            let forged = push(account, region).to_string();
            let refused = read(&message("Notification", IRELAND, &forged)).unwrap_err();
            assert_eq!(
                refused.to_string(),
                format!("{IRELAND} sent an event of {account}/{region}, which is not its own registry")
            );
        }
    }

    #[test]
    fn a_record_about_another_accounts_registry_gives_no_fact() {
        let record = |registry_id: &str| {
            json!({
                "version": "0", "id": "x", "detail-type": "AWS API Call via CloudTrail", "source": "aws.ecr",
                "account": "111122223333", "time": "2026-11-16T12:00:05Z", "region": "eu-west-1", "resources": [],
                "detail": {
                    "eventID": "e", "eventTime": "2026-11-16T12:00:04Z", "eventSource": "ecr.amazonaws.com",
                    "eventName": "DeleteRepository", "awsRegion": "eu-west-1", "recipientAccountId": "111122223333",
                    "userIdentity": {"arn": "arn:aws:iam::111122223333:user/ana"},
                    "requestParameters": {"repositoryName": "team/app", "registryId": registry_id},
                    "responseElements": {"repository": {"repositoryName": "team/app"}},
                },
            })
            .to_string()
        };
        let facts =
            |registry_id: &str| match read(&message("Notification", IRELAND, &record(registry_id))).unwrap().content {
                Content::Event(event) => event.facts.len(),
                other => panic!("{other:?}"),
            };
        assert_eq!([facts("111122223333"), facts("444455556666")], [1, 0]);
    }

    #[test]
    fn heartbeats_and_confirmations_are_no_events() {
        let mut heartbeat = push("111122223333", "eu-west-1");
        heartbeat["source"] = HEARTBEAT_SOURCE.into();
        heartbeat["detail-type"] = HEARTBEAT_DETAIL_TYPE.into();
        let content = |kind, text: &str| read(&message(kind, IRELAND, text)).unwrap().content;
        assert_eq!(
            content("Notification", &heartbeat.to_string()),
            Content::Heartbeat("2026-11-16T12:00:05Z".parse().unwrap())
        );
        assert_eq!(
            content("SubscriptionConfirmation", "You have chosen to subscribe to the topic …"),
            Content::SubscriptionConfirmation { token: "2336412f37fb687f5d51e6e2425c464de257eb".to_owned() }
        );
        assert_eq!(content("UnsubscribeConfirmation", "You have chosen …"), Content::UnsubscribeConfirmation);
    }

    #[test]
    fn only_topics_of_the_right_name_and_account_are_admitted() {
        let topic = |arn: &str| arn.parse::<Topic>().unwrap();
        let mut senders = Senders {
            topic_name: "ecr-lineage-events".to_owned(),
            accounts: ["111122223333".to_owned()].into(),
            organization: false,
        };
        let admit = |senders: &Senders, account: &str, name: &str| {
            senders.admit(&topic(&format!("arn:aws:sns:eu-west-1:{account}:{name}")))
        };
        assert_eq!(senders.admit(&topic(IRELAND)), Admission::Listed);
        assert_eq!(admit(&senders, "444455556666", "ecr-lineage-events"), Admission::Refused);
        assert_eq!(admit(&senders, "111122223333", "other"), Admission::Refused);
        senders.organization = true;
        assert_eq!(admit(&senders, "111122223333", "ecr-lineage-events"), Admission::Listed);
        assert_eq!(admit(&senders, "444455556666", "ecr-lineage-events"), Admission::IfMember);
        assert_eq!(admit(&senders, "444455556666", "other"), Admission::Refused);
    }

    #[test]
    fn what_is_not_a_message_of_a_topic_is_refused() {
        let chain = |body: &[u8]| {
            let error = read(body).unwrap_err();
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            text
        };
        // The event itself, as a rule or a person could have put it there.
        let bare = push("111122223333", "eu-west-1").to_string();
        assert_eq!(chain(bare.as_bytes()), "not a message of an SNS topic: field `TopicArn` is missing");
        assert!(chain(b"{").starts_with("not a JSON document: "));
        assert_eq!(
            chain(&message("Notification", IRELAND, r#"{"account": "111122223333", "region": "eu-west-1"}"#)),
            format!("the event from {IRELAND} cannot be read: field `source` is missing")
        );
        assert!(
            chain(&message("Notification", "arn:aws:sns:eu-west-1:1111:x", "{}")).contains("`TopicArn` cannot be read")
        );
        assert!(
            chain(&message("Notification", "arn:aws:sqs:eu-west-1:111122223333:x", "{}")).contains("ARN of an SNS")
        );
        assert!(chain(&message("Hello", IRELAND, "{}")).contains("`Hello` is not a type of message"));
    }
}
