//! Whether SNS signed a message: messages that AWS's SNS signed, and messages that the key of `tests/fixtures/sns`
//! signed as SNS does.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use aws::signature::Certificates;
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{
    alert::{Alert, AlertKind},
    event::notification::{Envelope, Senders},
};
use jiff::Timestamp;
use record::{Record, proof::Proofs};
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use simulator::queue::{TOPIC_NAME, notification};

use crate::{
    events::{IRELAND, TOKYO, at, delete, image, push},
    test_table::{Store, messages},
};

const CERTIFICATE: &str = include_str!("../fixtures/sns/certificate.pem");
const OTHER_CERTIFICATE: &str = include_str!("../fixtures/sns/other-certificate.pem");
const KEY: &str = include_str!("../fixtures/sns/key.pem");

const URL: &str = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem";

/// SNS's hosts: the answers by URL, and every URL that was asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts {
    answers: Arc<Mutex<BTreeMap<String, (u16, String)>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Hosts {
    /// Hosts of which one has the certificate of the tests.
    pub(crate) fn new() -> Self {
        let hosts = Self::default();
        hosts.answer(URL, 200, CERTIFICATE);
        hosts
    }

    fn answer(&self, url: &str, status: u16, body: &str) {
        self.answers.lock().unwrap().insert(url.to_owned(), (status, body.to_owned()));
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn certificates(&self) -> Certificates {
        Certificates::new(SharedHttpConnector::new(self.clone()))
    }
}

impl HttpConnector for Hosts {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.asked.lock().unwrap().push(request.uri().to_owned());
        HttpConnectorFuture::ready(match self.answers.lock().unwrap().get(request.uri()) {
            Some((status, body)) => {
                Ok(HttpResponse::new(StatusCode::try_from(*status).unwrap(), SdkBody::from(body.as_str())))
            }
            None => Err(ConnectorError::io("connection refused".into())),
        })
    }
}

/// Signs a message with the key of the tests.
pub(crate) fn sign(message: &str) -> String {
    let mut message: Value = serde_json::from_str(message).unwrap();
    message["SignatureVersion"] = "2".into();
    message["SigningCertURL"] = URL.into();
    message["Signature"] = "none yet".into();
    let text = Envelope::read(message.to_string().as_bytes()).unwrap().signed().unwrap().text;
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let key = RsaKeyPair::from_pkcs8(key.secret_der()).unwrap();
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
    message["Signature"] = STANDARD.encode(signature).into();
    message.to_string()
}

/// Verifies one message: nothing, or why it is not believed, and whether it may be later.
async fn verify(hosts: &Hosts, message: &Value) -> Option<(String, bool)> {
    let signed = Envelope::read(message.to_string().as_bytes()).unwrap().signed();
    let error = hosts.certificates().verify([signed]).await.remove(0).err()?;
    Some((retry::chain(&error), error.is_temporary()))
}

fn captured() -> (String, Vec<Value>) {
    let captured: Value = serde_json::from_str(include_str!("../fixtures/sns/captured.json")).unwrap();
    (captured["certificate"].as_str().unwrap().to_owned(), captured["messages"].as_array().unwrap().clone())
}

#[tokio::test]
async fn what_sns_signed_is_verified_and_version_1_is_refused() {
    let (certificate, messages) = captured();
    let hosts = Hosts::default();
    hosts.answer(messages[0]["SigningCertURL"].as_str().unwrap(), 200, &certificate);
    let mut verified = Vec::new();
    for message in &messages {
        let refused = verify(&hosts, message).await;
        if message["SignatureVersion"] == "2" {
            assert_eq!(refused, None, "{message}");
            verified.push(message["Type"].as_str().unwrap());
            continue;
        }
        let (why, is_temporary) = refused.unwrap();
        assert!(why.starts_with("its signature has version `1`, and only version 2 (SHA-256) is accepted"), "{why}");
        assert!(why.contains("deploy infra/registry.yaml again") && !is_temporary, "{why}");
        // The text is the same in both versions. `ring` verifies SHA-1 in this test alone.
        let mut other = message.clone();
        other["SignatureVersion"] = "2".into();
        let text = Envelope::read(other.to_string().as_bytes()).unwrap().signed().unwrap().text;
        let signature = STANDARD.decode(message["Signature"].as_str().unwrap()).unwrap();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, public_key(&certificate));
        key.verify(text.as_bytes(), &signature).unwrap();
        assert!(text.contains("Subject\nMy message subject\n") == (message["Type"] == "Notification"));
        // And a signature of SHA-1 is none of SHA-256.
        assert!(verify(&hosts, &other).await.unwrap().0.ends_with("does not match"));
    }
    assert_eq!(verified, ["Notification", "UnsubscribeConfirmation"]);
}

/// The RSA key in a certificate: what follows the header of its 270 bytes.
fn public_key(certificate: &str) -> Vec<u8> {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let header = [0x03, 0x82, 0x01, 0x0f, 0x00, 0x30, 0x82, 0x01, 0x0a];
    let start = certificate.windows(header.len()).position(|part| part == header).unwrap() + 5;
    certificate[start..start + 270].to_vec()
}

/// One message of each type, with everything that a value may contain.
fn examples() -> Vec<Value> {
    let topic = "arn:aws:sns:eu-west-1:111122223333:ecr-lineage-events";
    let message = |kind: &str, text: &str| {
        json!({
            "Type": kind, "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b", "TopicArn": topic, "Message": text,
            "Token": "2336412f37", "SubscribeURL": format!("https://sns.eu-west-1.amazonaws.com/?TopicArn={topic}"),
            "Timestamp": "2026-11-16T12:00:04.123Z",
        })
    };
    let mut with_subject = message("Notification", "Ａ Ｍｅｓｓａｇｅ \u{1f980}\n\r\t\"\\ \u{2028}");
    with_subject["Subject"] = "Grüße".into();
    let all = [
        message("Notification", &push(IRELAND, 'a', Some("latest"), 1).to_string()),
        with_subject,
        message("SubscriptionConfirmation", "You have chosen to subscribe.\nTo confirm, visit the SubscribeURL."),
        message("UnsubscribeConfirmation", "You have chosen to deactivate."),
    ];
    all.into_iter().map(|message| serde_json::from_str(&sign(&message.to_string())).unwrap()).collect()
}

#[tokio::test]
async fn a_change_of_any_signed_field_is_noticed() {
    let hosts = Hosts::new();
    let mismatch = Some(("SNS did not sign it: its signature does not match".to_owned(), false));
    for message in examples() {
        assert_eq!(verify(&hosts, &message).await, None, "{message}");
        let is_notification = message["Type"] == "Notification";
        let mut changes = vec![
            ("TopicArn", json!("arn:aws:sns:eu-west-1:444455556666:ecr-lineage-events")),
            ("Message", json!(format!("{} ", message["Message"].as_str().unwrap()))),
            ("MessageId", json!("165545c9-2a5c-472c-8df2-7ff2be2b3b1c")),
            ("Timestamp", json!("2026-11-16T12:00:04.124Z")),
            ("Signature", json!(STANDARD.encode([0; 256]))),
            ("Signature", json!(STANDARD.encode("NOT A VALID SIGNATURE"))),
            ("Signature", json!("not Base64")),
            ("Type", json!(if is_notification { "SubscriptionConfirmation" } else { "Notification" })),
        ];
        if is_notification {
            changes.push(("Subject", json!("another")));
            changes.extend((!message["Subject"].is_null()).then(|| ("Subject", Value::Null)));
        } else {
            changes.push(("Token", json!("another")));
            changes.push(("SubscribeURL", json!("https://evil.example/")));
        }
        for (field, value) in changes {
            let mut changed = message.clone();
            changed[field] = value;
            assert_eq!(verify(&hosts, &changed).await, mismatch, "{field}: {changed}");
        }
        // These fields are not signed.
        let mut more = message.clone();
        more["UnsubscribeURL"] = "https://evil.example/".into();
        more["MessageAttributes"] = json!({});
        assert_eq!(verify(&hosts, &more).await, None);
    }
}

#[tokio::test]
async fn a_certificate_is_fetched_once_and_a_failed_fetch_is_not_a_refusal() {
    let hosts = Hosts::new();
    let certificates = hosts.certificates();
    let signed = |message: &Value| Envelope::read(message.to_string().as_bytes()).unwrap().signed();
    for _ in 0..2 {
        let verified = certificates.verify(examples().iter().map(signed)).await;
        assert!(verified.iter().all(Result::is_ok), "{verified:?}");
    }
    assert_eq!(hosts.asked(), [URL]);

    let [message, ..] = &examples()[..] else { panic!() };
    hosts.answer(URL, 200, OTHER_CERTIFICATE);
    assert!(verify(&hosts, message).await.unwrap().0.ends_with("does not match"));
    hosts.answer(URL, 404, "<UnknownOperationException/>");
    assert_eq!(verify(&hosts, message).await.unwrap(), (format!("SNS has no certificate {URL}"), false));
    let huge = "x".repeat(20_000);
    for (status, body, why) in [
        (403, "", "HTTP status 403"),
        (301, "", "HTTP status 301"),
        (503, "", "HTTP status 503"),
        (200, "", "no items found"),
        (200, KEY, "no items found"),
        (200, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "SignedData"),
        (200, &huge, "the answer has more than 16384 bytes"),
    ] {
        hosts.answer(URL, status, body);
        let (said, is_temporary) = verify(&hosts, message).await.unwrap();
        assert!(said.starts_with(&format!("the certificate {URL} cannot be read: ")), "{said}");
        assert!(said.contains(why) && is_temporary, "{said}");
    }
    let (said, is_temporary) = verify(&Hosts::default(), message).await.unwrap();
    assert!(said.contains("connection refused") && is_temporary, "{said}");
    // A URL of another host is not even asked for.
    let (before, mut elsewhere) = (hosts.asked().len(), message.clone());
    elsewhere["SigningCertURL"] =
        "https://sns.s3-us-west-2.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem".into();
    let (said, is_temporary) = verify(&hosts, &elsewhere).await.unwrap();
    assert!(said.contains("is not the URL of a certificate of SNS") && !is_temporary, "{said}");
    assert_eq!(hosts.asked().len(), before);
}

#[tokio::test]
async fn as_many_certificates_are_kept_as_there_are_regions_and_no_more() {
    let hosts = Hosts::default();
    let certificates = hosts.certificates();
    let [message, ..] = &examples()[..] else { panic!() };
    let url = |number: usize| URL.replace("0123456789abcdef0123456789abcdef", &format!("{number:x}"));
    let verified = async |number: usize| {
        let mut message = message.clone();
        message["SigningCertURL"] = url(number).into();
        hosts.answer(&url(number), 200, CERTIFICATE);
        let signed = Envelope::read(message.to_string().as_bytes()).unwrap().signed();
        certificates.verify([signed]).await.remove(0).unwrap();
        hosts.asked().len()
    };
    for number in 0..64 {
        assert_eq!(verified(number).await, number + 1);
    }
    assert_eq!((verified(0).await, verified(64).await), (64, 65));
    // The oldest made room.
    assert_eq!((verified(1).await, verified(0).await), (65, 66));
}

/// The function as it is deployed, except for the calls to topics.
fn record(store: &Store, hosts: &Hosts, accounts: &[&str]) -> Record {
    let accounts = accounts.iter().map(|account| (*account).to_owned()).collect();
    let senders = Senders { topic_name: TOPIC_NAME.to_owned(), accounts, organization: false };
    let proofs = Proofs { certificates: Some(hosts.certificates()), members: None };
    Record { table: store.table.clone(), senders, proofs }
}

async fn alerts(store: &Store) -> Vec<Alert> {
    store.table.alerts(Timestamp::now()).await.unwrap()
}

#[tokio::test]
async fn an_imitation_by_raw_delivery_is_refused_and_alerted() {
    let (store, hosts) = (Store::new().await, Hosts::new());
    let record = record(&store, &hosts, &["111122223333", "444455556666"]);
    let time = |second: u32| at(second).parse().unwrap();
    let pushed = sign(&notification(&push(TOKYO, 'a', None, 1), "m", time(2)));
    assert!(record.handle(messages([pushed.clone()])).await.failed.is_empty());
    let before = store.dump().await;

    // With raw delivery, what a principal of an admitted account publishes is the whole body. It claims that Tokyo, a
    // registry of another account, deleted its image, or is alive, and wants a subscription.
    let deletion = notification(&delete(TOKYO, 'a', None, 3), "m", time(4));
    let unsigned = deletion.clone();
    let mut of_another: Value = serde_json::from_str(&pushed).unwrap();
    of_another["Message"] = serde_json::from_str::<Value>(&deletion).unwrap()["Message"].clone();
    // Its own topic does sign what it publishes, for its own ARN.
    let own = sign(&deletion.replace("sns:ap-northeast-1:444455556666", "sns:eu-west-1:111122223333"));
    let own = own.replace("sns:eu-west-1:111122223333", "sns:ap-northeast-1:444455556666");
    let mut without: Value = serde_json::from_str(&pushed).unwrap();
    without.as_object_mut().unwrap().remove("Signature");
    let mut confirmation = examples()[2].clone();
    confirmation["TopicArn"] = "arn:aws:sns:ap-northeast-1:444455556666:ecr-lineage-events".into();
    let imitations = [unsigned, of_another.to_string(), own, without.to_string(), confirmation.to_string()];
    let handled = record.handle(messages(imitations)).await;
    assert_eq!((handled.failed.len(), handled.confirmations.len()), (5, 0));
    let found = alerts(&store).await;
    let [alert] = &found[..] else { panic!("{found:?}") };
    assert_eq!((alert.kind, alert.subject.as_str()), (AlertKind::EventRefused, TOPIC_NAME));
    let claimed = "arn:aws:sns:ap-northeast-1:444455556666:ecr-lineage-events";
    assert!(
        alert.message.starts_with(&format!("a message that names {claimed} is refused: its signature has version `1`"))
    );
    // Nothing else was written.
    let mut after = store.dump().await;
    after.retain(|(_, sort_key), _| !sort_key.contains("event_refused"));
    assert_eq!(after, before);
    assert_eq!(store.lineage(&image('a')).await.facts.len(), 1);
}

#[tokio::test]
async fn a_message_whose_certificate_cannot_be_read_returns_to_the_queue_without_an_alert() {
    let (store, hosts) = (Store::new().await, Hosts::default());
    let record = record(&store, &hosts, &["444455556666"]);
    let pushed = sign(&notification(&push(TOKYO, 'a', None, 1), "m", at(2).parse().unwrap()));
    assert_eq!(record.handle(messages([pushed.clone()])).await.failed, ["0"]);
    assert!(store.lineage(&image('a')).await.facts.is_empty() && alerts(&store).await.is_empty());
    hosts.answer(URL, 200, CERTIFICATE);
    assert!(record.handle(messages([pushed])).await.failed.is_empty());
    assert_eq!(store.lineage(&image('a')).await.facts.len(), 1);
}
