//! The options of `local`.

use std::path::PathBuf;

use clap::Args;
use domain::image::Registry;
use jiff::SignedDuration;
use simulator::{
    settings::{Lag, Unconfirmed},
    trouble::Trouble,
};

/// The options of `local`.
#[derive(Debug, Args)]
pub struct LocalOptions {
    /// Port on the loopback interface; 0 picks a free one
    #[arg(long, default_value_t = 4567)]
    pub port: u16,

    /// Keep all state in this folder across restarts; without it, state is in memory only
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Begin with thirty repositories on four registries, three days old and with a little trouble, to look around in
    #[arg(long, conflicts_with = "data")]
    pub sample: bool,

    /// Policy that says which replicas may be deleted; without one, every replica is kept
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,

    /// Execute what the policy permits; without this, decisions are only recorded (observe mode)
    #[arg(long, requires = "policy")]
    pub enforce: bool,

    /// Also send each alert to this URL, like an EventBridge API destination: a POST with the whole event as JSON
    #[arg(long, value_name = "URL", value_parser = url)]
    pub webhook: Option<String>,

    /// Faults to simulate, in percent, such as `lost=2,delayed=10,throttled` (5 % if no number is given). Events: lost,
    /// repeated, delayed, reordered, hop; copies: slow, stuck, failed, missing; calls: throttled, request-lost,
    /// response-lost
    #[arg(long, value_name = "KIND=PERCENT,…", default_value = "", hide_default_value = true, value_parser = trouble)]
    pub trouble: Trouble,

    /// Random seed: the same seed and the same calls give the same faults
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// Speed of the clock, as a multiple of real time; with 0 it moves only by `POST /_simulator/step`
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, allow_negative_numbers = true, value_parser = speed)]
    pub speed: f64,

    /// Duration of a copy: `30s`, a range `5s..1m`, or for one destination `111122223333/us-east-1=20m`; can be
    /// repeated
    #[arg(long, value_name = "[REGISTRY=]DURATION", value_parser = lag)]
    pub lag: Vec<(Option<Registry>, Lag)>,

    /// Require that `PutImage`'s layers were uploaded, as ECR does; a push by a registry client always needs them
    #[arg(long)]
    pub require_layers: bool,

    /// Another choice where AWS documents no behaviour, such as `delete-per-tag=false`; can be repeated
    #[arg(long, value_name = "NAME=BOOLEAN", value_parser = unconfirmed)]
    pub unconfirmed: Vec<(String, bool)>,
}

fn url(text: &str) -> Result<String, String> {
    let uri = text.parse::<ureq::http::Uri>().ok();
    let usable = uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
    if usable { Ok(text.to_owned()) } else { Err("expected a URL, as in `https://example.com/alerts`".to_owned()) }
}

fn trouble(text: &str) -> Result<Trouble, String> {
    if text.is_empty() {
        return Ok(Trouble::default());
    }
    text.parse().map_err(|error: simulator::trouble::TroubleError| error.to_string())
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if (0.0..=1e6).contains(&speed) { Ok(speed) } else { Err("expected a number between 0 and 1000000".to_owned()) }
}

fn lag(text: &str) -> Result<(Option<Registry>, Lag), String> {
    let (registry, times) = match text.split_once('=') {
        Some((registry, times)) => {
            let registry = registry.parse().map_err(|error: domain::image::MalformedError| error.to_string())?;
            (Some(registry), times)
        }
        None => (None, text),
    };
    let time = |text: &str| match text.parse::<SignedDuration>() {
        Ok(time) if !time.is_negative() => Ok(time),
        _ => Err(format!("`{text}` is not a duration: write `30s`, `5m` or `1h 30m`")),
    };
    let (from, to) = times.split_once("..").unwrap_or((times, times));
    let lag = Lag { from: time(from)?, to: time(to)? };
    if lag.from > lag.to { Err(format!("`{times}` ends before it begins")) } else { Ok((registry, lag)) }
}

fn unconfirmed(text: &str) -> Result<(String, bool), String> {
    let (name, answer) = text.split_once('=').ok_or("expected NAME=true or NAME=false")?;
    let answer = answer.parse().map_err(|_| format!("`{answer}` is neither true nor false"))?;
    let one = serde_json::json!({name: answer});
    // Serde has the list of names, so that the error message lists all of them.
    serde_json::from_value::<Unconfirmed>(one).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), answer))
}
