//! Whether an image is where it should be, and until it is.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::json;

use super::site::site;
use crate::events::{IRELAND, TOKYO, replicate};

#[tokio::test]
async fn an_image_is_waited_for_until_it_arrives_and_not_longer() {
    let asking = site().await;
    let outcome = async |path: &str| {
        let started = Instant::now();
        let answer = asking.get(&format!("/v1/presence?{path}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        (answer.json(), started.elapsed())
    };
    // What is known now is answered at once.
    let (there, took) = outcome("image=team/app:v1&wait=20s").await;
    assert_eq!((&there["outcome"], &there["registries"][1]["there"]), (&json!("arrived"), &json!(true)), "{there}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(outcome("image=team/app:v3").await.0["outcome"], "waiting");
    assert_eq!(outcome(&format!("image=team/app:v3&in={IRELAND},eu-west-1")).await.0["outcome"], "arrived");
    // A wait that is over is an answer, too.
    let (waited, took) = outcome("image=team/app:v3&wait=1s").await;
    assert_eq!((&waited["outcome"], &waited["registries"][1]["state"]), (&json!("waiting"), &json!("late")));
    assert!(took >= Duration::from_secs(1), "{took:?}");
    let arrives = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(asking.store.deliver(&[replicate(IRELAND, TOKYO, 'c', Some("v3"), 3_000)]).await.is_empty());
    };
    let ((arrived, took), ()) = tokio::join!(outcome("image=team/app:v3&wait=20s"), arrives);
    assert_eq!(arrived["outcome"], "arrived", "{arrived}");
    assert!(took > Duration::from_millis(500) && took < Duration::from_secs(15), "{took:?}");
    // An image whose push is not recorded yet is waited for, too.
    let started = Instant::now();
    let unknown = asking.get("/v1/presence?image=team/app:v9&wait=1s").await;
    super::problem(&unknown, 404, "v9");
    assert!(started.elapsed() >= Duration::from_secs(1));
}
