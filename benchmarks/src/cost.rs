//! What an event costs in DynamoDB request units, and what an API request costs in `Query` calls.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use aws_sdk_dynamodb::{
    Client,
    config::{ConfigBag, Intercept, interceptors::BeforeSerializationInterceptorContextRef},
    error::BoxError,
    operation::query::QueryInput,
};
use domain::{
    activity::{ActivityFilter, ActivityKind},
    event,
};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use sandbox::embedded::Embedded;
use serde_json::Value;
use store::{ActivityBounds, Table};

use crate::{
    Error,
    events::{REPLICAS, SOURCE, archive, delete, delete_by, digest, push, replicate, scan},
    report::Report,
};

/// Number of the image whose events are measured; the next number takes over its tags.
const IMAGE: u32 = 1_000_000;

/// Measures on an empty table, on one with a history, and on a table of `images` images.
pub(crate) async fn measure(images: u32, report: &mut Report) -> Result<(), Error> {
    let embedded = Embedded::open(None).await?;
    let queries = Queries::default();
    let config = embedded.client().await.config().to_builder().interceptor(queries.clone());
    let table = Table::new(Client::from_conf(config.build()), "cost");
    table.create().await?;

    // The first event of a registry also registers it; that cost occurs once and is not measured.
    for event in [push(u32::MAX, "v0", 0)].into_iter().chain(REPLICAS.map(|to| replicate(to, u32::MAX, "v0", 0))) {
        units(&table, &event).await?;
    }
    kinds(&table, 1, "empty table", report).await?;

    let history: Vec<_> = (0..1_000).map(|n| push(IMAGE + n % 2, &format!("build-{n}"), 1_000 + n)).collect();
    fill(&table, history).await?;
    kinds(&table, 2, "after 1,000 events on the image", report).await?;

    fill(&table, (0..images).map(|n| push(n, &format!("v{n}"), n)).collect()).await?;
    let column = format!("with {images} images");
    kinds(&table, 3, &column, report).await?;

    let image = format!("team/app@{}", digest(7)).parse()?;
    queries.0.store(0, Ordering::Relaxed);
    let (before, _) = table.units();
    table.lineage(&image).await?;
    let read = table.units().0 - before;
    report.alone("show: Query calls per image", "calls", queries.0.load(Ordering::Relaxed).into(), Some(1.0));
    report.alone("show: read units per image", "units", read, None);
    activity(&table, &queries, images, report).await
}

/// Deletions of one role, among those of others.
const DELETED: u32 = 50;

/// What it takes to list the newest activity, and what one role deleted.
async fn activity(table: &Table, queries: &Queries, images: u32, report: &mut Report) -> Result<(), Error> {
    let deleted = |role, n| delete_by(role, n, 200_000 + n);
    fill(table, (0..DELETED).flat_map(|n| [deleted("ci", 2 * n), deleted("platform", 2 * n + 1)]).collect()).await?;
    let anything = ActivityFilter::default();
    let role = ActivityFilter { actor: Some("role/ci".parse()?), ..ActivityFilter::default() };
    let deletions = ActivityFilter { kinds: [ActivityKind::ImageDeleted].into(), ..role.clone() };
    for (what, filter, most, found) in [
        ("the newest 100", &anything, 100, 100),
        ("all deletions of one role", &deletions, usize::MAX, DELETED as usize),
        ("everything that one role did", &role, usize::MAX, DELETED as usize),
    ] {
        queries.0.store(0, Ordering::Relaxed);
        let (before, _) = table.units();
        let kinds = if filter.kinds.is_empty() { ActivityKind::ALL.into() } else { filter.kinds.clone() };
        let (since, examined) = (Timestamp::UNIX_EPOCH, usize::MAX);
        let bounds = ActivityBounds { kinds: &kinds, since, until: None, after: None, most, examined };
        let (listed, _) = table.activity(bounds, |one| filter.selects(one)).await?;
        if listed.len() != found {
            return Err(format!("activity, {what}: {} entries instead of {found}", listed.len()).into());
        }
        let what = format!("activity: {what}, with {images} images");
        report.alone(&what, "calls", queries.0.load(Ordering::Relaxed).into(), None);
        report.alone(&what, "read units", table.units().0 - before, None);
    }
    Ok(())
}

/// The write and read units of each kind of event about an image, and about the next image that takes over its tag.
async fn kinds(table: &Table, round: u32, state: &str, report: &mut Report) -> Result<(), Error> {
    // Each round has its own tag and a later time: events older than what is recorded would cost less.
    let (image, tag, second) = (IMAGE, format!("release-{round}"), 100_000 + round * 100);
    let [replica, _] = REPLICAS;
    // Each round loses another image, because the table keeps a lost image's work item.
    let lost = IMAGE + 1 + round;
    let kinds = [
        ("push", Some(7.0), push(image, &tag, second)),
        ("push that moves a tag", Some(8.0), push(image + 1, &tag, second + 1)),
        ("replicate", Some(4.0), replicate(replica, image, &tag, second + 2)),
        ("replicate that moves a tag", Some(4.0), replicate(replica, image + 1, &tag, second + 3)),
        ("delete of a tag", None, delete(replica, image + 1, &tag, second + 4)),
        ("delete of an image", None, delete(replica, image, "", second + 5)),
        ("archive", None, archive(image, second + 6)),
        ("scan", None, scan(image, second + 7)),
        ("delete of an image by its source", None, delete(SOURCE, lost, "", second + 8)),
        ("replicate after that", None, replicate(replica, lost, &format!("late-{round}"), second + 9)),
    ];
    for (kind, at_most, event) in kinds {
        let (read, written) = units(table, &event).await?;
        report.alone(format!("{kind}, {state}"), "write units", written, at_most);
        report.alone(format!("{kind}, {state}"), "read units", read, None);
    }
    Ok(())
}

/// The write and read units of one event.
async fn units(table: &Table, event: &Value) -> Result<(f64, f64), Error> {
    let before = table.units();
    record(table, std::slice::from_ref(event)).await?;
    let after = table.units();
    Ok((after.0 - before.0, after.1 - before.1))
}

/// Records events in batches of 100.
pub(crate) async fn fill(table: &Table, events: Vec<Value>) -> Result<(), Error> {
    let batches: Vec<_> = events.chunks(100).map(<[Value]>::to_vec).collect();
    let mut done = stream::iter(batches).map(|batch| async move { record(table, &batch).await }).buffer_unordered(4);
    while let Some(result) = done.next().await {
        result?;
    }
    Ok(())
}

async fn record(table: &Table, events: &[Value]) -> Result<(), Error> {
    let events: Vec<_> = events.iter().map(event::read_value).collect::<Result<_, _>>()?;
    for recorded in record::record(table, &events).await {
        recorded?;
    }
    Ok(())
}

/// Counts `Query` calls to DynamoDB.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queries(pub(crate) Arc<AtomicU32>);

impl Intercept for Queries {
    fn name(&self) -> &'static str {
        "Queries"
    }

    fn read_before_execution(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.input().downcast_ref::<QueryInput>().is_some() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
