//! The time of every answer: the system's, or the simulated one of `local` if that is the endpoint.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde::Deserialize;
use simulator::clock::Clock;

/// The simulated clock, as the endpoint showed it last.
static SIMULATED: Mutex<Option<Clock>> = Mutex::new(None);

/// The time between two questions.
const ASKED_EVERY: Duration = Duration::from_millis(200);

/// The time for an answer from the same machine.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What `local` says about its clock.
#[derive(Deserialize)]
struct Shown {
    time: Timestamp,
    speed: f64,
}

/// The current time.
pub(crate) fn now() -> Timestamp {
    let simulated = SIMULATED.lock().unwrap_or_else(PoisonError::into_inner);
    simulated.as_ref().map_or_else(Timestamp::now, Clock::now)
}

/// Follows the clock of an endpoint from now on, because it may be stepped, or run fast. Only `local` has one, and it
/// listens on this machine only.
pub(crate) async fn follow(endpoint: Option<&str>) {
    let Some(url) = endpoint.filter(|url| is_local(url)) else { return };
    let url = format!("{}/_simulator/clock", url.trim_end_matches('/'));
    if !ask(&url).await {
        return;
    }
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(ASKED_EVERY).await;
            ask(&url).await;
        }
    });
}

/// Asks for the time; false if there is no answer.
async fn ask(url: &str) -> bool {
    let url = url.to_owned();
    let shown = tokio::task::spawn_blocking(move || shown(&url)).await.ok().flatten();
    let Some(Shown { time, speed }) = shown else { return false };
    *SIMULATED.lock().unwrap_or_else(PoisonError::into_inner) = Some(Clock::new(time, speed));
    true
}

fn shown(url: &str) -> Option<Shown> {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build().into();
    let text = agent.get(url).call().ok()?.body_mut().read_to_string().ok()?;
    serde_json::from_str(&text).ok()
}

fn is_local(url: &str) -> bool {
    let uri = url.parse::<ureq::http::Uri>().ok();
    let host = uri.as_ref().and_then(|uri| uri.host());
    host.is_some_and(|host| matches!(host, "127.0.0.1" | "localhost" | "[::1]"))
}
