//! The way of an event from its registry to the hub: SNS's messages, who may send them, heartbeats.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use aws::topic::Topics;
use domain::{
    alert::{Alert, AlertKind, AlertState},
    event::notification::{HEARTBEAT_DETAIL_TYPE, HEARTBEAT_SOURCE, Senders, Topic},
    heartbeat::HeartbeatStatus,
    image::Registry,
};
use jiff::{SignedDuration, Timestamp};
use proptest::{collection::vec, prelude::*, sample::select};
use record::{
    Confirmation, Handled, Record,
    proof::{Members, Proofs},
    subscription,
};
use sandbox::local::{Local, LocalSettings};
use serde_json::{Value, json};
use simulator::queue::notification;

use crate::{
    events::{IRELAND, TOKYO, VIRGINIA, at, delete, image, push, replicate},
    registries::cases,
    test_table::{Store, handle, messages},
};

const MESSAGE: &str = "dc1e94d9-56c5-5e96-808d-cc7f68faa162";

fn time(second: u32) -> Timestamp {
    at(second).parse().unwrap()
}

async fn alerts(store: &Store) -> Vec<Alert> {
    store.table.alerts(time(0)).await.unwrap()
}

/// AWS's example of a subscription confirmation, with the topic of the test.
/// <https://docs.aws.amazon.com/sns/latest/dg/http-subscription-confirmation-json.html>
fn confirmation(topic: &str) -> String {
    json!({
        "Type": "SubscriptionConfirmation", "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
        "Token": "2336412f37fb687f5d51e6e2425dacbbab8eb8", "TopicArn": topic,
        "Message": format!("You have chosen to subscribe to the topic {topic}.\nTo confirm the subscription, visit the SubscribeURL included in this message."),
        "SubscribeURL": format!("https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription&TopicArn={topic}&Token=2336412f37"),
        "Timestamp": "2026-11-16T12:00:04.000Z", "SignatureVersion": "1", "Signature": "EXAMPLE",
        "SigningCertURL": "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-EXAMPLE.pem",
    })
    .to_string()
}

#[tokio::test]
async fn an_event_of_another_registry_is_refused_and_alerted() {
    let store = Store::new().await;
    // Ireland's topic claims that Tokyo lost an image.
    let forged = notification(&delete(TOKYO, 'a', None, 1), MESSAGE, time(2));
    let ireland = "arn:aws:sns:eu-west-1:111122223333:ecr-lineage-events";
    let forged = forged.replace("arn:aws:sns:ap-northeast-1:444455556666:ecr-lineage-events", ireland);
    assert_eq!(handle(&store.table, [forged]).await.failed, ["0"]);
    assert!(store.lineage(&image('a')).await.facts.is_empty());
    let alerts = alerts(&store).await;
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!((alert.kind, alert.subject.as_str()), (AlertKind::EventRefused, ireland));
    assert_eq!(alert.message, format!("{ireland} sent an event of {TOKYO}, which is not its own registry"));
}

#[tokio::test]
async fn only_an_admitted_topic_may_send_and_is_confirmed() {
    let store = Store::new().await;
    let senders = |organization| Senders {
        topic_name: "ecr-lineage-events".to_owned(),
        accounts: ["111122223333".to_owned()].into(),
        organization,
    };
    let ask = async |organization, topic: &str| {
        let (senders, proofs) = (senders(organization), Proofs::simulated());
        let record = Record { table: store.table.clone(), senders, proofs };
        record.handle(messages([confirmation(topic)])).await
    };
    let confirmed = |topic: &str| Handled {
        failed: Vec::new(),
        confirmations: vec![Confirmation {
            message: "0".to_owned(),
            topic: topic.parse().unwrap(),
            token: "2336412f37fb687f5d51e6e2425dacbbab8eb8".to_owned(),
        }],
    };
    let refused = Handled { failed: vec!["0".to_owned()], confirmations: Vec::new() };
    let own = "arn:aws:sns:eu-west-1:111122223333:ecr-lineage-events";
    let other = "arn:aws:sns:eu-west-1:444455556666:ecr-lineage-events";
    assert_eq!(ask(false, own).await, confirmed(own));
    assert_eq!(ask(true, own).await, confirmed(own));
    assert_eq!(ask(true, other).await, confirmed(other));
    assert!(alerts(&store).await.is_empty());
    assert_eq!(ask(false, other).await, refused);
    assert_eq!(ask(true, "arn:aws:sns:eu-west-1:111122223333:other").await, refused);
    let alerts = alerts(&store).await;
    assert_eq!(alerts.iter().map(|alert| alert.kind).collect::<Vec<_>>(), [AlertKind::EventRefused; 2]);
    // Nor is any event of such a topic recorded.
    let record = Record { table: store.table.clone(), senders: senders(false), proofs: Proofs::simulated() };
    let handled = record.handle(messages([notification(&push(TOKYO, 'a', None, 1), MESSAGE, time(2))])).await;
    assert_eq!(handled, refused);
    assert!(store.lineage(&image('a')).await.facts.is_empty());
}

/// Answers calls to SNS, one after another, and returns their bodies.
fn sns(answers: Vec<(u16, &'static str)>) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        answers
            .into_iter()
            .map(|(status, answer)| {
                let (mut connection, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                let body = loop {
                    let mut part = [0; 4096];
                    let read = connection.read(&mut part).unwrap();
                    request.extend_from_slice(&part[..read]);
                    let text = String::from_utf8_lossy(&request).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length = head
                        .lines()
                        .find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
                    if body.len() >= length.unwrap().parse().unwrap() {
                        break body.to_owned();
                    }
                };
                let length = answer.len();
                write!(
                    connection,
                    "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{answer}"
                )
                .unwrap();
                body
            })
            .collect()
    });
    (endpoint, serving)
}

const READ: &str = "<GetTopicAttributesResponse><GetTopicAttributesResult><Attributes/></GetTopicAttributesResult></GetTopicAttributesResponse>";
const CONFIRMED: &str = "<ConfirmSubscriptionResponse><ConfirmSubscriptionResult/></ConfirmSubscriptionResponse>";
const DENIED: &str = "<ErrorResponse><Error><Type>Sender</Type><Code>AuthorizationError</Code><Message>not authorized</Message></Error></ErrorResponse>";

/// Topics behind these answers.
async fn topics(answers: Vec<(u16, &'static str)>) -> (Topics, thread::JoinHandle<Vec<String>>) {
    let (endpoint, serving) = sns(answers);
    let sdk = aws::start::loader()
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(endpoint)
        .region(aws_config::Region::from_static("us-east-1"))
        .retry_config(aws_config::retry::RetryConfig::disabled())
        .credentials_provider(aws_sdk_dynamodb::config::Credentials::new("111122223333", "secret", None, None, "test"));
    (Topics::new(sdk.load().await), serving)
}

/// The ARN of Tokyo's topic, as a part of a call.
const TOPIC_OF_CALL: &str = "TopicArn=arn%3Aaws%3Asns%3Aap-northeast-1%3A444455556666%3Aecr-lineage-events";

#[tokio::test]
async fn a_subscription_is_confirmed_by_its_token() {
    let confirm = async |answer| {
        let (topics, serving) = topics(vec![answer]).await;
        let topic = "arn:aws:sns:ap-northeast-1:444455556666:ecr-lineage-events".parse().unwrap();
        let confirmation = Confirmation { message: "m".to_owned(), topic, token: "t".to_owned() };
        let mut handled = Handled { failed: Vec::new(), confirmations: vec![confirmation] };
        subscription::confirm_all(&topics, &mut handled).await;
        (handled.failed, serving.join().unwrap())
    };
    let call = format!("Action=ConfirmSubscription&Version=2010-03-31&{TOPIC_OF_CALL}&Token=t");
    assert_eq!(confirm((200, CONFIRMED)).await, (Vec::new(), vec![call.clone()]));
    assert_eq!(confirm((403, DENIED)).await, (vec!["m".to_owned()], vec![call]));
}

/// The answers to calls that prove memberships, of a hub with an organization and one listed account.
async fn members(store: &Store, answers: Vec<(u16, &'static str)>) -> (Record, thread::JoinHandle<Vec<String>>) {
    let senders = Senders {
        topic_name: "ecr-lineage-events".to_owned(),
        accounts: ["111122223333".to_owned()].into(),
        organization: true,
    };
    let (topics, serving) = topics(answers).await;
    let proofs = Proofs { certificates: None, members: Some(Members::new(topics)) };
    (Record { table: store.table.clone(), senders, proofs }, serving)
}

const THROTTLED: &str =
    "<ErrorResponse><Error><Type>Sender</Type><Code>Throttled</Code><Message>slow</Message></Error></ErrorResponse>";

#[tokio::test]
async fn every_message_of_the_organization_needs_a_proof_of_membership() {
    let store = Store::new().await;
    let tokyo = "arn:aws:sns:ap-northeast-1:444455556666:ecr-lineage-events";
    let event = || notification(&push(TOKYO, 'a', None, 1), MESSAGE, time(2));
    let own = notification(&push(IRELAND, 'b', None, 1), MESSAGE, time(2));
    let call = format!("Action=GetTopicAttributes&Version=2010-03-31&{TOPIC_OF_CALL}");

    // The account left, or was never in the organization. A listed account needs no proof.
    let (record, serving) = members(&store, vec![(403, DENIED)]).await;
    let handled = record.handle(messages([event(), own.clone(), confirmation(tokyo)])).await;
    assert_eq!((handled.failed, handled.confirmations), (vec!["0".to_owned(), "2".to_owned()], Vec::new()));
    assert_eq!(serving.join().unwrap(), std::slice::from_ref(&call));
    assert!(store.lineage(&image('a')).await.facts.is_empty());
    assert_eq!(store.lineage(&image('b')).await.facts.len(), 1);
    let found = alerts(&store).await;
    let [alert] = &found[..] else { panic!("{found:?}") };
    assert_eq!((alert.kind, alert.subject.as_str()), (AlertKind::EventRefused, tokyo));
    let why = "its account is not proven to be a member of the organization: AuthorizationError: not authorized";
    assert_eq!(alert.message, format!("{tokyo} is not a topic of this hub: {why}"));

    // Another failure says nothing about the account.
    let (record, serving) = members(&store, vec![(400, THROTTLED)]).await;
    assert_eq!(record.handle(messages([event()])).await.failed, ["0"]);
    assert_eq!((serving.join().unwrap().len(), alerts(&store).await.len()), (1, 1));
    assert!(store.lineage(&image('a')).await.facts.is_empty());

    // One proof serves all messages of the topic.
    let (record, serving) = members(&store, vec![(200, READ)]).await;
    let handled = record.handle(messages([event(), confirmation(tokyo), event()])).await;
    assert_eq!((handled.failed, handled.confirmations.len()), (Vec::new(), 1));
    assert!(record.handle(messages([event()])).await.failed.is_empty());
    assert_eq!(serving.join().unwrap(), [call]);
    assert_eq!(store.lineage(&image('a')).await.facts.len(), 1);
}

#[tokio::test]
async fn a_proof_of_membership_counts_for_less_than_an_hour() {
    let (topics, serving) = topics(vec![(200, READ), (403, DENIED), (200, READ), (200, READ)]).await;
    let members = Members::new(topics);
    let tokyo: Topic = "arn:aws:sns:ap-northeast-1:444455556666:ecr-lineage-events".parse().unwrap();
    let is_member = async |second| {
        let now = time(0) + SignedDuration::from_secs(second);
        members.unproven([tokyo.clone()].into(), now).await.is_empty()
    };
    assert!(is_member(0).await && is_member(3_599).await);
    assert!(!is_member(3_600).await);
    // A denial is not remembered, and a clock that was set back proves nothing.
    assert!(is_member(3_601).await && is_member(3_602).await);
    assert!(is_member(0).await);
    assert_eq!(serving.join().unwrap().len(), 4);
}

#[tokio::test]
async fn a_replayed_event_is_the_same_event() {
    let store = Store::new().await;
    let event = push(IRELAND, 'a', Some("latest"), 1);
    assert!(store.deliver(std::slice::from_ref(&event)).await.is_empty());
    let once = store.dump().await;
    // A replay keeps the time and gives another id; another writer may order the fields otherwise.
    let mut replayed = event.clone();
    replayed["id"] = "6f87d04b-9f74-4f04-a780-7acf4b0a9b38".into();
    replayed["replay-name"] = "monday".into();
    let detail = replayed["detail"].as_object().unwrap().clone();
    replayed["detail"] = detail.into_iter().rev().collect::<serde_json::Map<_, _>>().into();
    assert!(store.deliver(&[replayed]).await.is_empty());
    assert_eq!(store.dump().await, once);
}

/// The same events, as a bus in another region would forward them: with an id and a time of its own.
fn forwarded(event: &Value, place: usize, late: u32) -> Value {
    let mut event = event.clone();
    let time: Timestamp = event["time"].as_str().unwrap().parse().unwrap();
    event["id"] = format!("forwarded-{place}").into();
    event["time"] = (time + SignedDuration::from_secs(late.into())).to_string().into();
    event
}

fn event() -> impl Strategy<Value = Value> {
    let registry = || select(vec![IRELAND, VIRGINIA, TOKYO]);
    let tag = || select(vec![None, Some("latest")]);
    prop_oneof![
        (registry(), tag(), 0u32..600).prop_map(|(r, t, s)| push(r, 'a', t, s)),
        (registry(), registry(), tag(), 0u32..600).prop_map(|(q, r, t, s)| replicate(q, r, 'a', t, s)),
        (registry(), tag(), 0u32..600).prop_map(|(r, t, s)| delete(r, 'a', t, s)),
    ]
}

proptest! {
    #![proptest_config(cases(16))]

    /// A hop gives an event another envelope. On this route it is SNS's, so there is one table; on a route of buses it is
    /// the event's own, so there would be another.
    #[test]
    fn a_hop_changes_nothing_on_this_route_and_would_on_a_route_of_buses(
        events in vec((event(), 1u32..3_600), 1..6)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (direct, hopped, buses) = (Store::new().await, Store::new().await, Store::new().await);
            for (place, (event, late)) in events.iter().enumerate() {
                assert!(direct.deliver(std::slice::from_ref(event)).await.is_empty());
                // Both the first envelope and another one arrive.
                let sent: Timestamp = event["time"].as_str().unwrap().parse().unwrap();
                let arrived = sent + SignedDuration::from_secs((*late).into());
                let envelopes = [notification(event, MESSAGE, sent), notification(event, &place.to_string(), arrived)];
                assert!(handle(&hopped.table, envelopes).await.failed.is_empty());
                let both = [event.clone(), forwarded(event, place, *late)];
                assert!(buses.deliver(&both).await.is_empty());
            }
            assert_eq!(direct.dump().await, hopped.dump().await);
            assert_ne!(direct.dump().await, buses.dump().await);
        });
    }
}

#[tokio::test]
async fn the_table_is_the_same_whether_or_not_events_hop() {
    let mut tables = Vec::new();
    for hop in [0.0, 1.0] {
        let settings = LocalSettings { now: time(0), ..LocalSettings::default() };
        let local = Local::start(settings).await.unwrap();
        local.simulator.set(|settings| settings.trouble.hop = hop);
        let caller = simulator::ApiCaller {
            account: "111122223333".into(),
            region: "eu-west-1".into(),
            arn: "arn:aws:iam::111122223333:user/dana".into(),
        };
        let call = |operation: &str, mut body: Value| {
            body["repositoryName"] = json!("team/app");
            local.simulator.call(&caller, operation, body.to_string().as_bytes()).unwrap().unwrap();
        };
        let manifest = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"size": 1}});
        let rules = json!({"rules": [{"destinations": [{"region": "us-east-1", "registryId": "111122223333"}]}]});
        call("CreateRepository", json!({}));
        call("PutReplicationConfiguration", json!({"replicationConfiguration": rules}));
        call("PutImage", json!({"imageManifest": manifest.to_string(), "imageTag": "v1"}));
        local.simulator.step(std::time::Duration::from_secs(600));
        call("BatchDeleteImage", json!({"imageIds": [{"imageTag": "v1"}]}));
        local.deliver_now().await;
        assert_eq!(local.simulator.queue_lengths(), (0, 0));
        let image = local.simulator.held().into_keys().next().unwrap().1;
        tables.push(local.table.lineage(&image).await.unwrap());
        local.close().await;
    }
    assert_eq!(tables[0], tables[1]);
    assert!(tables[0].facts.len() >= 3, "{:?}", tables[0].facts);
}

fn heartbeat(registry: &str, second: u32) -> String {
    let (account, region) = registry.split_once('/').unwrap();
    let event = json!({
        "version": "0", "id": "b", "detail-type": HEARTBEAT_DETAIL_TYPE, "source": HEARTBEAT_SOURCE, "account": account,
        "time": at(second), "region": region, "resources": [], "detail": {},
    });
    notification(&event, MESSAGE, time(second))
}

#[tokio::test]
async fn a_heartbeat_is_stored_and_never_goes_back() {
    let store = Store::new().await;
    let ireland: Registry = IRELAND.parse().unwrap();
    for second in [300, 600, 0] {
        assert!(handle(&store.table, [heartbeat(IRELAND, second)]).await.failed.is_empty());
    }
    // The sender chooses the time of the event: one in the future counts as that at which SNS received it.
    let future = heartbeat(IRELAND, 500).replace("2026-11-16T12:08:20Z", "2999-01-01T00:00:00Z");
    assert!(future.contains("2999"));
    assert!(handle(&store.table, [future]).await.failed.is_empty());
    let stored = store.table.heartbeats().await.unwrap();
    assert_eq!(stored[&ireland].heartbeat_at, Some(time(600)));
    assert_eq!((stored.len(), stored[&ireland].event_at), (1, None));
    // A heartbeat is not an event, and registers no registry whose settings would be read.
    assert!(store.table.known_registries().await.unwrap().is_empty());
    assert!(store.deliver(&[push(IRELAND, 'a', None, 700)]).await.is_empty());
    assert_eq!(store.table.heartbeats().await.unwrap()[&ireland].event_at, Some(time(600)));
}

#[tokio::test]
async fn a_registry_without_heartbeats_raises_an_alert() {
    let settings = LocalSettings { now: time(0), heartbeats: true, ..LocalSettings::default() };
    let local = Local::start(settings).await.unwrap();
    let missing = async || {
        local.watch_now().await.unwrap();
        let mut alerts = local.table.alerts(local.simulator.clock().now()).await.unwrap();
        alerts.retain(|alert| alert.kind == AlertKind::EventsMissing);
        alerts.into_iter().map(|alert| alert.message).collect::<Vec<_>>()
    };
    let nothing: Vec<String> = Vec::new();
    local.table.register_registry(&IRELAND.parse().unwrap()).await.unwrap();
    local.table.put_heartbeat(&VIRGINIA.parse().unwrap(), time(0)).await.unwrap();
    assert_eq!(missing().await, nothing);
    local.simulator.step(std::time::Duration::from_secs(16 * 60));
    let late = format!("no heartbeat of {VIRGINIA} since 2026-11-16 12:00:00 UTC: its events do not reach the hub");
    assert_eq!(missing().await, std::slice::from_ref(&late));
    local.simulator.step(std::time::Duration::from_secs(45 * 60));
    let expected = "expected since 2026-11-16 12:00:00 UTC";
    let never = format!("no heartbeat of {IRELAND} ever arrived, {expected}: deploy infra/registry.yaml there");
    // One alert a day for each outage.
    assert_eq!(missing().await, [never.clone(), late.clone()]);
    let again = format!("heartbeats of {VIRGINIA} arrive again");
    local.table.put_heartbeat(&VIRGINIA.parse().unwrap(), local.simulator.clock().now()).await.unwrap();
    assert_eq!(missing().await, [never.clone(), late.clone(), again.clone()]);
    assert_eq!(missing().await.len(), 3);
    local.simulator.step(std::time::Duration::from_secs(16 * 60));
    let later = late.replace("12:00:00", "13:01:00");
    assert_eq!(missing().await, [never, late, again, later]);
    local.close().await;
}

/// A hub that admits two accounts, and knows a source with destinations in three.
async fn hub_with_destinations() -> Local {
    let settings = LocalSettings { now: time(0), heartbeats: true, ..LocalSettings::default() };
    let mut local = Local::start(settings).await.unwrap();
    local.watch.admitted = Some(["111122223333", "444455556666"].map(str::to_owned).into());
    let source: Registry = IRELAND.parse().unwrap();
    local.table.register_registry(&source).await.unwrap();
    // The source is alive for the whole test.
    local.table.put_heartbeat(&source, time(0) + SignedDuration::from_hours(4)).await.unwrap();
    let destinations: Vec<_> = [TOKYO, CUSTOMER].map(|registry| registry.split_once('/').unwrap()).into();
    let destinations: Vec<_> =
        destinations.iter().map(|(account, region)| json!({"registryId": account, "region": region})).collect();
    let caller = simulator::ApiCaller {
        account: "111122223333".into(),
        region: "eu-west-1".into(),
        arn: "arn:aws:iam::111122223333:user/dana".into(),
    };
    let body = json!({"replicationConfiguration": {"rules": [{"destinations": destinations}]}}).to_string();
    local.simulator.call(&caller, "PutReplicationConfiguration", body.as_bytes()).unwrap().unwrap();
    local.watch_now().await.unwrap();
    local
}

/// A registry of an account that is not the hub's to watch.
const CUSTOMER: &str = "777788889999/eu-west-1";

async fn missing(local: &Local) -> Vec<(AlertState, String)> {
    local.watch_now().await.unwrap();
    let mut alerts = local.table.alerts(local.simulator.clock().now()).await.unwrap();
    alerts.retain(|alert| alert.kind == AlertKind::EventsMissing);
    alerts.into_iter().map(|alert| (alert.state, alert.subject)).collect()
}

#[tokio::test]
async fn a_stack_is_expected_only_where_the_hub_admits_one_or_something_arrived() {
    let local = hub_with_destinations().await;
    local.simulator.step(std::time::Duration::from_secs(62 * 60));
    assert_eq!(missing(&local).await, [(AlertState::Opened, TOKYO.to_owned())]);
    // What was seen is expected in any account.
    local.table.put_heartbeat(&CUSTOMER.parse().unwrap(), time(0)).await.unwrap();
    assert!(missing(&local).await.contains(&(AlertState::Opened, CUSTOMER.to_owned())));
    local.close().await;
}

#[tokio::test]
async fn a_forgotten_registry_is_not_expected_until_it_is_back() {
    let local = hub_with_destinations().await;
    let tokyo: Registry = TOKYO.parse().unwrap();
    local.simulator.step(std::time::Duration::from_secs(62 * 60));
    assert_eq!(missing(&local).await, [(AlertState::Opened, TOKYO.to_owned())]);
    let now = local.simulator.clock().now();
    let unknown = "123456789012/eu-west-1".parse().unwrap();
    assert!(answers::registries::forget(&local.table, &unknown, None, "dana", now).await.is_err());
    let forgotten = answers::registries::forget(&local.table, &tokyo, Some(" closed "), "dana", now).await.unwrap();
    assert_eq!(forgotten.forgotten.reason.as_deref(), Some("closed"));
    assert_eq!(missing(&local).await.last(), Some(&(AlertState::Resolved, TOKYO.to_owned())));
    let overview = answers::overview::overview(&local.table, now).await.unwrap();
    let events = &overview.registries.iter().find(|each| each.registry == tokyo).unwrap().events;
    assert_eq!((events.status, events.last.forgotten.clone()), (HeartbeatStatus::Forgotten, Some(forgotten.forgotten)));
    local.simulator.step(std::time::Duration::from_secs(62 * 60));
    assert_eq!(missing(&local).await.len(), 2);
    // Its next heartbeat brings it back.
    local.simulator.step(std::time::Duration::from_secs(60));
    local.table.put_heartbeat(&tokyo, local.simulator.clock().now()).await.unwrap();
    local.simulator.step(std::time::Duration::from_secs(16 * 60));
    assert_eq!(missing(&local).await.len(), 3);
    let overview = answers::overview::overview(&local.table, local.simulator.clock().now()).await.unwrap();
    let events = &overview.registries.iter().find(|each| each.registry == tokyo).unwrap().events;
    assert_eq!((events.status, &events.last.forgotten), (HeartbeatStatus::Late, &None));
    local.close().await;
}
