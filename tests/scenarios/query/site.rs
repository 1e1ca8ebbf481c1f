//! A table that has something of every kind, for tests of all operations.

use domain::{
    alert::{Alert, AlertKind},
    breaker::BreakerLimits,
    deletion::DeletionStatus,
    expectation::{ProblemChange, ReplicationProblem},
    image::{Image, Registry},
    plan::Mode,
    replication::{ReplicationSettings, Route},
    settings::{MirrorSettings, PolicyInUse},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Asking, operator};
use crate::events::{IRELAND, TOKYO, VIRGINIA, at, delete, image, push, replicate};

fn time(second: u32) -> Timestamp {
    at(second).parse().unwrap()
}

/// `v1` is everywhere; `v2` was deleted in Ireland, and Tokyo's replica is an orphan with a deletion; `v3` is late; `v4` of
/// another repository was kept.
pub(super) async fn site() -> Asking {
    let asking = Asking::new(operator()).await;
    let (ireland, tokyo): (Registry, Registry) = (IRELAND.parse().unwrap(), TOKYO.parse().unwrap());
    asking.store.table.register_registry(&ireland).await.unwrap();
    let known = asking.store.table.known_registries().await.unwrap().pop().unwrap();
    let route = |destination: &Registry| Route {
        destination: destination.clone(),
        prefix: String::new(),
        deletes_natively: false,
        since: time(0),
    };
    let settings = ReplicationSettings { routes: [route(&tokyo)].into(), read_at: time(1) };
    asking.store.table.put_settings(&known, Some(&settings), time(3_599)).await.unwrap();
    let events = [
        push(IRELAND, 'a', Some("v1"), 10),
        replicate(IRELAND, TOKYO, 'a', Some("v1"), 52),
        push(IRELAND, 'b', Some("v2"), 60),
        replicate(IRELAND, TOKYO, 'b', Some("v2"), 100),
        push(IRELAND, 'c', Some("v3"), 120),
        push(VIRGINIA, 'd', Some("v4"), 180),
        delete(IRELAND, 'b', None, 600),
    ];
    assert!(asking.store.deliver(&events).await.is_empty());
    asking.deletion('b', TOKYO, 600).await;
    let mut kept = asking.deletion_of('a', Some("old"), TOKYO, 300).await;
    kept.status = DeletionStatus::Kept;
    kept.due = None;
    asking.store.table.put_deletion(&mut kept).await.unwrap();
    late(&asking, &tokyo).await;
    let message = "the breaker of 111122223333/eu-west-1 was closed by dana".to_owned();
    let alert = Alert::notice(AlertKind::BreakerReset, IRELAND, message, time(900));
    asking.store.table.put_alert(&alert).await.unwrap();
    let text = "@id(\"all\") permit (principal, action, resource);";
    let policy = PolicyInUse::new("all.cedar", Ok(text));
    let (since, mode) = (time(5), Mode::Observe);
    let (limits, known, usage) = (BreakerLimits::default(), [].into(), [].into());
    let mirror = MirrorSettings { since, mode, policy, limits, known, usage, revisions: 1 };
    asking.store.table.put_mirror_settings(&mirror).await.unwrap();
    asking
}

/// The copy of `v3` is late.
async fn late(asking: &Asking, tokyo: &Registry) {
    let image: Image = image('c').parse().unwrap();
    let record = asking.store.table.expectations(&image).await.unwrap();
    let mut expectation = record.expectations.into_iter().next().unwrap();
    let (kind, why) = (AlertKind::ReplicationLate, format!("team/app:v3 is on its way to {tokyo}"));
    let problem = ReplicationProblem { kind, since: time(1_920), why: why.clone(), over: None };
    expectation.state.problems.insert(tokyo.clone(), problem);
    let begun = ProblemChange { kind, destination: tokyo.clone(), end: None, why };
    asking.store.table.put_expectation(&expectation, &[begun], time(1_920)).await.unwrap();
}

/// An operation of the OpenAPI document.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) described: Value,
}

impl Operation {
    /// All operations that the document names.
    pub(super) async fn all(asking: &Asking) -> Vec<Self> {
        let document = asking.get("/v1/openapi.json").await.json();
        let mut all = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, described) in methods.as_object().unwrap() {
                all.push(Self { method: method.to_uppercase(), path: path.clone(), described: described.clone() });
            }
        }
        all
    }

    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub(super) fn parameters(&self) -> Vec<&Value> {
        self.described["parameters"].as_array().into_iter().flatten().collect()
    }

    pub(super) fn has(&self, parameter: &str) -> bool {
        self.parameters().iter().any(|one| one["name"] == parameter)
    }

    /// The path with the examples of the required parameters, and with other ones.
    pub(super) fn asked(&self, more: &[(&str, &str)]) -> String {
        let given = |name: &str| more.iter().any(|(other, _)| *other == name);
        let required = self.parameters().into_iter().filter(|one| one["required"] == true);
        let required = required.map(|one| (one["name"].as_str().unwrap(), &one["example"]));
        let required = required.filter(|(name, _)| !given(name));
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let all = required.map(|(name, value)| (name.to_owned(), text(value)));
        let all = all.chain(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let query: Vec<_> = all.map(|(name, value)| format!("{name}={value}")).collect();
        if query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, query.join("&")) }
    }

    /// The example of the body.
    pub(super) fn body(&self) -> Value {
        self.described["requestBody"]["content"]["application/json"]["example"].clone()
    }

    /// Sends it with the examples of the document, after what makes them possible.
    pub(super) async fn send(&self, asking: &Asking) -> super::Answered {
        let before = match self.path.as_str() {
            "/v1/pauses/resume" => Some(("/v1/pauses", json!({"source": IRELAND}))),
            "/v1/holds/release" => Some(("/v1/holds", json!({"hold": "team/*", "reason": "audit 7"}))),
            _ => None,
        };
        if let Some((path, body)) = before {
            assert_eq!(asking.post(path, &body).await.status, 200);
        }
        match self.method.as_str() {
            "GET" => asking.get(&self.asked(&[])).await,
            _ => asking.post(&self.path, &self.body()).await,
        }
    }
}
