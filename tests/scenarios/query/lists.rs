//! The lists of the API: their order, their time ranges, and that what they print is accepted again.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use domain::alert::{Alert, AlertKind, Response, SeverityRules};
use serde_json::{Value, json};

use super::{
    ANONYMOUS, Answered, Asking, LETTERS,
    site::{Operation, site},
};
use crate::events::{IRELAND, TOKYO, VIRGINIA, at, delete, digest, image, push, replicate};

fn texts(list: &[Value], field: &str) -> Vec<String> {
    list.iter().map(|one| one[field].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn lists_are_newest_first_or_by_name_whatever_their_pages_are() {
    let asking = Asking::new(ANONYMOUS).await;
    let mut events = Vec::new();
    for (place, letter) in (0..).zip(LETTERS) {
        events.push(push(IRELAND, letter, Some(&format!("v{letter}")), place * 7 % 60));
        events.push(replicate(IRELAND, TOKYO, letter, Some(&format!("v{letter}")), 100 + place));
        events.push(replicate(IRELAND, VIRGINIA, letter, Some(&format!("v{letter}")), 100 + place));
        events.push(delete(IRELAND, letter, None, 600 + place));
    }
    // Names that the index and people sort differently.
    for name in ["team/app-b", "team/app.c", "team/app/d"] {
        let mut other = push(IRELAND, '0', Some("v1"), 30);
        other["detail"]["repository-name"] = name.into();
        events.push(other);
    }
    assert!(asking.store.deliver(&events).await.is_empty());
    for hour in [3, 1, 2] {
        let kind = [AlertKind::BreakerOpened, AlertKind::BreakerReset][hour % 2];
        let time = at(u32::try_from(hour).unwrap() * 600).parse().unwrap();
        asking.store.table.put_alert(&Alert::notice(kind, IRELAND, "it happened".to_owned(), time)).await.unwrap();
    }
    for limit in [1, 2, 4, 100] {
        let images = asking.all(&format!("/v1/images?repository=team/app&limit={limit}"), "images").await;
        let pushed = texts(&images, "pushed_at");
        assert_eq!(pushed.len(), LETTERS.len());
        assert!(pushed.is_sorted_by(|a, b| a > b), "by {limit}: {pushed:?}");
        let alerts = texts(&asking.all(&format!("/v1/alerts?limit={limit}"), "alerts").await, "time");
        assert_eq!(alerts.len(), 3);
        assert!(alerts.is_sorted_by(|a, b| a > b), "by {limit}: {alerts:?}");
        let repositories = asking.all(&format!("/v1/repositories?limit={limit}"), "repositories").await;
        let names = texts(&repositories, "repository");
        assert_eq!(names.len(), 4);
        assert!(names.is_sorted_by_key(|name| format!("{name}@")), "by {limit}: {names:?}");
    }
    let orphans = asking.get("/v1/orphans").await.json()["orphans"].clone();
    let orphans = orphans.as_array().unwrap();
    assert_eq!(orphans.len(), 2 * LETTERS.len());
    let position = |one: &Value| (one["registry"].to_string(), one["digest"].to_string());
    assert!(orphans.is_sorted_by_key(position), "{orphans:?}");
    let history = asking.get("/v1/history?tag=team/app:va").await.json()["history"].clone();
    assert!(history.as_array().unwrap().is_sorted_by_key(|one| one["registry"].to_string()), "{history}");
    let lineage = asking.get(&format!("/v1/lineage?image={}", image('a'))).await.json();
    assert!(texts(lineage["images"][0]["timeline"].as_array().unwrap(), "time").is_sorted(), "{lineage}");
}

#[tokio::test]
async fn every_list_with_times_is_limited_by_from_and_to() {
    let asking = site().await;
    let mut limited = BTreeSet::new();
    let none = |list: &Value| list.as_array().unwrap().is_empty();
    for operation in Operation::all(&asking).await.iter().filter(|operation| operation.has("from")) {
        let list = match operation.path.as_str() {
            "/v1/lineage" => "/images/0/timeline",
            "/v1/history" => "/history",
            "/v1/images" => "/images",
            "/v1/alerts" => "/alerts",
            "/v1/lag" => "/late",
            "/v1/orphans" => "/orphans",
            "/v1/deletions" => "/deletions",
            "/v1/activity" => "/activity",
            // It begins the sum of transfers, and limits no list: see the scenario `costs`.
            "/v1/costs" => continue,
            other => panic!("which list of {other} is limited?"),
        };
        let ask = async |range: &[(&str, &str)]| {
            let answer: Answered = asking.get(&operation.asked(range)).await;
            assert_eq!(answer.status, StatusCode::OK, "{range:?} {}: {}", operation.path, answer.text);
            answer.json().pointer(list).unwrap().clone()
        };
        let day = [("from", "2026-11-16"), ("to", "2026-11-17")];
        assert!(!none(&ask(&day).await), "{}", operation.path);
        // A duration is back from now, and the end is not included.
        assert_eq!(ask(&[("from", "1h")]).await, ask(&day).await, "{}", operation.path);
        assert!(none(&ask(&[("from", "2026-11-01"), ("to", "2026-11-16")]).await), "{}", operation.path);
        assert!(none(&ask(&[("to", "2026-11-16T12:00:00Z")]).await), "{}", operation.path);
        if operation.path != "/v1/history" {
            assert!(none(&ask(&[("from", "2026-11-16T12:59:00Z")]).await), "{}", operation.path);
        }
        limited.insert(operation.path.clone());
    }
    assert_eq!(limited.len(), 8, "{limited:?}");
}

#[tokio::test]
async fn every_filter_of_lag_filters_the_copies_that_did_not_arrive_too() {
    let asking = site().await;
    let late = async |path: &str| {
        let answer = asking.get(&format!("/v1/lag?{path}")).await.json();
        (texts(answer["late"].as_array().unwrap(), "digest"), answer["late_before"].as_u64().unwrap_or_default())
    };
    assert_eq!(late("").await, (vec![digest('c')], 0));
    assert_eq!(late(&format!("destination={TOKYO}&repository=team/app")).await, (vec![digest('c')], 0));
    assert_eq!(late(&format!("source={IRELAND}&repository=team/*")).await, (vec![digest('c')], 0));
    for other in [format!("destination={VIRGINIA}"), format!("source={TOKYO}"), "repository=prod/*".to_owned()] {
        assert_eq!(late(&other).await, (vec![], 0), "{other}");
    }
    // It was pushed before, and it is not hidden.
    assert_eq!(late("from=10m").await, (vec![], 1));
    assert_eq!(late(&format!("from=10m&destination={VIRGINIA}")).await, (vec![], 0));
}

#[tokio::test]
async fn a_pattern_of_repositories_filters_every_list_of_replication() {
    let asking = site().await;
    for (list, path) in [("lanes", "lag"), ("orphans", "orphans"), ("open", "alerts")] {
        let listed = async |pattern: &str| {
            let answer = asking.get(&format!("/v1/{path}?repository={pattern}")).await;
            assert_eq!(answer.status, StatusCode::OK, "{path} {pattern}: {}", answer.text);
            answer.json()[list].as_array().unwrap().len()
        };
        assert_eq!([listed("team/*").await, listed("*/app").await, listed("prod/*").await], [1, 1, 0], "{path}");
        let refused = asking.get(&format!("/v1/{path}?repository=Team/*")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text);
    }
}

#[tokio::test]
async fn each_filter_of_alerts_filters_incidents_and_alerts() {
    let asking = site().await;
    let listed = async |filter: &str| {
        let answer = asking.get(&format!("/v1/alerts?{filter}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{filter}: {}", answer.text);
        let answer = answer.json();
        let kinds = |list: &str| texts(answer[list].as_array().unwrap(), "kind");
        (kinds("open"), kinds("alerts"), answer["open_omitted"].as_u64().unwrap_or_default())
    };
    let (late, reset) = (vec!["replication_late".to_owned()], vec!["breaker_reset".to_owned()]);
    for both in ["", "registry=111122223333/eu-west-1", "severity=info,warning", "kind=breaker_reset,replication_late"]
    {
        assert_eq!(listed(both).await, (late.clone(), reset.clone(), 0), "{both}");
    }
    for incident in [&format!("registry={TOKYO}"), "kind=replication_late", "severity=warning", "repository=team/*"] {
        assert_eq!(listed(incident).await, (late.clone(), vec![], 0), "{incident}");
    }
    for alert in ["kind=breaker_reset", "severity=info", "severity=info&registry=111122223333/eu-west-1"] {
        assert_eq!(listed(alert).await, (vec![], reset.clone(), 1), "{alert}");
    }
    for neither in [&format!("registry={VIRGINIA}"), "repository=prod/*", "severity=critical"] {
        assert_eq!(listed(neither).await, (vec![], vec![], 1), "{neither}");
    }
    let wrong = asking.get("/v1/alerts?severity=urgent").await;
    assert!(
        wrong.status == StatusCode::BAD_REQUEST && wrong.text.contains("info, warning, critical"),
        "{}",
        wrong.text
    );
}

#[tokio::test]
async fn deletions_are_listed_by_registry_and_repository() {
    let asking = site().await;
    let deletion = asking.get("/v1/deletions").await.json()["deletions"][0].clone();
    let registry = deletion["registry"].as_str().unwrap();
    let number = async |filter: &str| {
        let answer = asking.get(&format!("/v1/deletions?limit=1&{filter}")).await.json();
        answer["deletions"].as_array().unwrap().len()
    };
    for all in
        [&format!("registry={registry}"), "repository=team/*", &format!("registry={registry}&repository=team/app")]
    {
        assert_eq!(number(all).await, 1, "{all}");
    }
    for none in
        [&format!("registry={VIRGINIA}"), "repository=prod/*", &format!("registry={registry}&repository=prod/*")]
    {
        assert_eq!(number(none).await, 0, "{none}");
    }
}

#[tokio::test]
async fn acts_and_questions_take_what_answers_print() {
    let asking = site().await;
    let deletion = asking.get("/v1/deletions").await.json()["deletions"][0].clone();
    assert_eq!((&deletion["digest"], &deletion["tags"]), (&json!(digest('b')), &json!(["v2"])), "{deletion}");
    let (registry, version) = (&deletion["registry"], &deletion["version"]);
    let act = |image: &str| json!({"image": image, "registry": registry, "version": version});
    // The image as the summary of a hold, the command line, container tools and other answers write it.
    let digest = digest('b');
    for image in [
        format!("team/app@{digest}"),
        format!("team/app@{}", digest.get(7..19).unwrap()),
        format!("team/app@{}", digest.get(..19).unwrap()),
        format!("444455556666.dkr.ecr.ap-northeast-1.amazonaws.com/team/app@{digest}"),
        "444455556666.dkr.ecr.ap-northeast-1.amazonaws.com/team/app:v2".to_owned(),
    ] {
        let asking = site().await;
        let done = asking.post("/v1/deletions/cancel", &act(&image)).await;
        assert_eq!(done.status, StatusCode::OK, "{image}: {}", done.text);
        assert_eq!(done.json()["deletions"][0]["digest"], digest);
        for path in ["lineage", "graph", "presence"] {
            let answer = asking.get(&format!("/v1/{path}?image={image}")).await;
            assert_eq!(answer.status, StatusCode::OK, "{path} {image}: {}", answer.text);
        }
        let found = asking.get(&format!("/v1/search?q={image}")).await.json();
        assert!(found["images"] != json!([]) || found["tags"] != json!([]), "{image}: {found}");
        // A hold is ended by its ID, by its pattern, by the pattern of its summary, and by the image.
        let names = ["id", "pattern"].map(Some).into_iter().chain([None]);
        for name in names {
            let held = asking.post("/v1/holds", &json!({"hold": image, "reason": "audit"})).await.json();
            let hold = &held["holds"][0];
            let released = match name {
                Some(name) => hold[name].clone(),
                None => json!(hold["summary"].as_str().unwrap().split(' ').next()),
            };
            let answer = asking.post("/v1/holds/release", &json!({"hold": released})).await;
            assert_eq!(answer.status, StatusCode::OK, "{image} {released}: {}", answer.text);
        }
    }
    // A name is a name everywhere; a tag that search prints is one for history.
    let tag = asking.get("/v1/search?q=team/app:v1").await.json()["tags"][0].as_str().unwrap().to_owned();
    assert_eq!(asking.get(&format!("/v1/history?tag={tag}")).await.status, StatusCode::OK);
    let overview = asking.get("/v1/overview").await.json();
    for registry in texts(overview["registries"].as_array().unwrap(), "registry") {
        for path in ["orphans?registry=", "lag?destination=", "deletions?source=", "breakers?source="] {
            let answer = asking.get(&format!("/v1/{path}{registry}")).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}{registry}: {}", answer.text);
        }
    }
    // An incident has the ID that its alerts name.
    let id = overview["open"][0]["id"].as_str().unwrap().to_owned();
    let incident = asking.store.table.incidents().await.unwrap().pop().unwrap();
    let alert = incident.due(&SeverityRules::default(), &Response::default(), at(3_000).parse().unwrap()).unwrap();
    assert_eq!(id, alert.incident);
}
