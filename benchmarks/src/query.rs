//! How long API responses take: the lineage of one image, in a small and in a large table; and the page's first load.

use std::time::{Duration, Instant};

use aws::registry::{Registries, Roles};
use aws_sdk_dynamodb::Client;
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use jiff::Timestamp;
use query::api::{self, Query};
use sandbox::embedded::Embedded;
use serde_json::Value;
use store::Table;
use tower::ServiceExt;

use crate::{
    Error,
    cost::{Queries, fill},
    events::{REPLICAS, SOURCE, delete, delete_by, digest, in_repository, push, replicate, repository},
    questions,
    report::Report,
};

/// Number of the image that the requests name.
pub(crate) const IMAGE: u32 = 5;

/// Facts recorded of that image.
const FACTS: u32 = 50;

/// Requests per table; the tables take turns, so that other load on the machine affects both.
const ASKED: usize = 4_000;

/// Deletions of one role in the table.
pub(crate) const DELETED: u32 = 50;

/// Lower limit of the small table's latency divided by the large table's: the large one may be 1.2 times as slow.
const SLOWER: f64 = 1.0 / 1.2;

/// Limit of the page's first load, compressed, in kB.
const FIRST_LOAD: f64 = 100.0;

pub(crate) async fn measure(images: u32, report: &mut Report) -> Result<(), Error> {
    let (few, many) = (Served::with(100).await?, Served::with(images).await?);
    let (mut small, mut large) = (Vec::new(), Vec::new());
    let path = format!("/v1/lineage?image=team/app@{}", digest(IMAGE));
    for round in 0..ASKED + ASKED / 10 {
        let (one, other) = (few.ask(&path, false).await?, many.ask(&path, false).await?);
        if round >= ASKED / 10 {
            small.push(one.0);
            large.push(other.0);
        }
    }
    let answer: Value = serde_json::from_slice(&many.ask(&path, false).await?.1)?;
    let length = |list: &str| answer.pointer(&format!("/images/0/{list}")).and_then(Value::as_array).map(Vec::len);
    if (length("registries"), length("timeline")) != (Some(4), Some(FACTS as usize)) {
        return Err(format!("another image than was meant: {answer}").into());
    }
    for (name, percent) in [("p50", 50), ("p99", 99)] {
        let what =
            format!("lineage of an image with 3 replicas and {FACTS} facts, {name}, with {images} images beside 100");
        let (few, many) = (percentile(&mut small, percent), percentile(&mut large, percent));
        report.beside(&what, "ms", many, few, SLOWER);
    }
    questions::measure(&few, &many, images, report).await?;
    let mut bytes = 0;
    for path in query::page::first_paths().iter().map(String::as_str).chain(["/v1/overview", "/v1/lag"]) {
        bytes += many.ask(path, true).await?.1.len();
    }
    #[expect(clippy::cast_precision_loss, reason = "some ten thousand")]
    let kilobytes = bytes as f64 / 1_000.0;
    report.alone("the page's first load, compressed", "kB", kilobytes, Some(FIRST_LOAD));
    Ok(())
}

pub(crate) fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    let place = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(place).copied().unwrap_or_default().as_secs_f64() * 1_000.0
}

/// A table and the API that serves it.
pub(crate) struct Served {
    pub(crate) table: Table,
    pub(crate) queries: Queries,
    router: Router,
    _embedded: Embedded,
}

impl Served {
    /// A table of `images` images, one of which has a history. A thousand are in one repository.
    async fn with(images: u32) -> Result<Self, Error> {
        let embedded = Embedded::open(None).await?;
        let queries = Queries::default();
        let config = embedded.client().await.config().to_builder().interceptor(queries.clone());
        let table = Table::new(Client::from_conf(config.build()), "query");
        table.create().await?;
        let pushed = |n| in_repository(push(n, &format!("v{n}"), n), &repository(n));
        fill(&table, (0..images).map(pushed).collect()).await?;
        let third = "444455556666/eu-central-1";
        let [first, second] = REPLICAS;
        let mut history: Vec<_> = [first, second, third].map(|to| replicate(to, IMAGE, "v5", 60)).into();
        let mut second = 100;
        // The push and three copies are already recorded.
        while history.len() + 1 < FACTS as usize {
            history.push(push(IMAGE, &format!("build-{second}"), second));
            if history.len() + 1 < FACTS as usize {
                history.push(delete(SOURCE, IMAGE, &format!("build-{second}"), second + 1));
            }
            second += 2;
        }
        fill(&table, history).await?;
        fill(&table, (0..DELETED).map(|n| delete_by("ci", 10 + n, 1_000 + n)).collect()).await?;
        questions::prepare(&table, images).await?;
        let registries = Registries::new(aws_config::SdkConfig::builder().build(), Roles::default());
        let query = Query { table: table.clone(), registries, clock: Box::new(Timestamp::now) };
        Ok(Self { table, queries, router: api::router(query), _embedded: embedded })
    }

    /// Sends one request; returns how long the response took, and its body.
    pub(crate) async fn ask(&self, path: &str, compressed: bool) -> Result<(Duration, Vec<u8>), Error> {
        let mut request = Request::get(path);
        if compressed {
            request = request.header(header::ACCEPT_ENCODING, "gzip");
        }
        let request = request.body(Body::empty())?;
        let started = Instant::now();
        let answer = self.router.clone().oneshot(request).await?;
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await?.to_vec();
        if status != StatusCode::OK {
            return Err(format!("{path}: {status} {}", String::from_utf8_lossy(&body)).into());
        }
        Ok((started.elapsed(), body))
    }
}
