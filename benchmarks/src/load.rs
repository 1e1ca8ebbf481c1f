//! What is recorded while many clients push without a pause: the registries, the queue, `record` and the table share one
//! process, and `record` must not starve.

use std::{
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use sandbox::local::{Local, LocalEvent, LocalSettings};
use simulator::settings::{Lag, Settings};

use crate::{Error, report::Report, route};

/// Clients that push, each one image after the other.
const CLIENTS: usize = 50;

/// How long they push.
const PUSHED_FOR: Duration = Duration::from_secs(30);

/// The most time for one event while they push: 300 events a second.
const PER_EVENT_MS: f64 = 1_000.0 / 300.0;

/// Pushes from many clients at once, and counts what is recorded meanwhile and afterwards.
pub(crate) async fn measure(report: &mut Report) -> Result<(), Error> {
    let registries = Settings { lag: Lag::exactly("10s".parse()?), ..Settings::default() };
    let now = "2026-11-02T09:00:00Z".parse()?;
    let folder = tempfile::tempdir()?;
    let data = Some(folder.path().join("load"));
    let local = Local::start(LocalSettings { registries, now, speed: 1.0, data, ..LocalSettings::default() }).await?;
    let source = route::prepare(&local).await?;
    let (recorded, pushed) = (AtomicUsize::new(0), AtomicU32::new(0));
    let ends = Instant::now() + PUSHED_FOR;
    let client = || async {
        while Instant::now() < ends {
            route::push(&source, pushed.fetch_add(1, Ordering::Relaxed)).await?;
        }
        Ok::<_, Error>(())
    };
    let story = async {
        futures::future::try_join_all((0..CLIENTS).map(|_| client())).await?;
        let (meanwhile, backlog) = (recorded.load(Ordering::Relaxed), local.simulator.backlog().receivable);
        let started = Instant::now();
        while local.simulator.queue_lengths().0 > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok::<_, Error>((meanwhile, backlog, started.elapsed()))
    };
    let count = |event: LocalEvent<'_>| {
        if matches!(event, LocalEvent::Recorded(_)) {
            recorded.fetch_add(1, Ordering::Relaxed);
        }
    };
    let (meanwhile, backlog, afterwards) = tokio::select! {
        measured = story => measured?,
        ended = local.run(std::future::pending(), count) => return Err(format!("it ended: {ended:?}").into()),
    };
    let what = |text: &str| format!("local, {CLIENTS} clients push for {} s: {text}", PUSHED_FOR.as_secs());
    let seconds = PUSHED_FOR.as_secs_f64();
    report.alone(what("pushes per second"), "1/s", f64::from(pushed.load(Ordering::Relaxed)) / seconds, None);
    report.alone(what("time per recorded event"), "ms", seconds * 1e3 / route::count(meanwhile), Some(PER_EVENT_MS));
    report.alone(what("events that wait at the end"), "events", route::count(backlog), None);
    report.alone(what("until all are recorded"), "s", afterwards.as_secs_f64(), None);
    local.close().await;
    Ok(())
}
