//! Sends alerts to a URL, as an EventBridge API destination does.

use std::time::Duration;

use domain::alert::{EVENT_SOURCE, EventDetail, PageAddress, PublishedEvent};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

/// The timeout of one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Attempts to send an alert; the pause between two attempts doubles.
const TRIES: u32 = 5;

/// An alert as an EventBridge event.
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html>
#[derive(Debug, Serialize)]
struct EventBridgeEvent<'a> {
    version: &'static str,
    /// Derived from the alert's id, so that a repeated delivery has the same id; EventBridge creates a new one each
    /// time.
    id: String,
    #[serde(rename = "detail-type")]
    detail_type: String,
    source: &'static str,
    account: &'a str,
    time: jiff::Timestamp,
    region: &'a str,
    resources: [&'static str; 0],
    detail: EventDetail<'a>,
}

/// The request body for an event, with its account and region, and with a link to the page.
#[must_use]
pub fn body(published: &PublishedEvent, (account, region): (&str, &str), page: Option<&PageAddress>) -> String {
    let hash = Sha256::digest(published.id().as_bytes());
    let hex =
        |from: usize, to: usize| hash.iter().take(to).skip(from).map(|byte| format!("{byte:02x}")).collect::<String>();
    let event = EventBridgeEvent {
        version: "0",
        id: [hex(0, 4), hex(4, 6), hex(6, 8), hex(8, 10), hex(10, 16)].join("-"),
        detail_type: published.detail_type(),
        source: EVENT_SOURCE,
        account,
        time: published.time(),
        region,
        resources: [],
        detail: published.detail(page),
    };
    // An event always serializes to JSON.
    serde_json::to_string(&event).unwrap_or_default()
}

/// Posts each body from the channel to a URL, one after the other, until the channel closes. Calls `fail` for each one
/// that could not be sent.
pub async fn send(url: String, mut bodies: mpsc::UnboundedReceiver<String>, fail: impl Fn(&str)) {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build().into();
    while let Some(body) = bodies.recv().await {
        let mut pause = Duration::from_millis(500);
        for tried in 1..=TRIES {
            let (agent, url, body) = (agent.clone(), url.clone(), body.clone());
            let sent = tokio::task::spawn_blocking(move || {
                agent.post(&url).content_type("application/json").send(body).map(drop)
            });
            let why = match sent.await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            if tried == TRIES {
                fail(&format!("the webhook did not accept an alert in {TRIES} attempts: {why}"));
            } else {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
    }
}
