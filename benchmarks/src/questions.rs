//! How long the questions take that are about many images, and what they read: in a large table, beside a small one.

use std::sync::atomic::Ordering;

use domain::{
    image::{Registry, RepositoryName},
    inventory::{Inventory, InventoryEntry, Origin},
    policy::ManifestKind,
};
use serde_json::Value;
use store::Table;

use crate::{
    Error,
    cost::fill,
    events::{REPLICAS, SOURCE, digest, replicate, repository},
    query::{DELETED, IMAGE, Served, percentile},
    report::Report,
};

/// Requests per question and table.
const ASKED: usize = 50;

/// Limit of each answer, in ms.
const LONGEST: f64 = 1_000.0;

/// The images of one repository.
const IN_REPOSITORY: u32 = 1_000;

/// Of these images of the first repository, each tenth is only at its source.
const REPLICATED: u32 = 100;

/// A question: what it is, its request, the list in the answer, and the entries in it.
type Question<'a> = (&'a str, String, &'a str, Option<usize>);

/// Replicas of the first repository, and what a listing of two registries saw of all images.
pub(crate) async fn prepare(table: &Table, images: u32) -> Result<(), Error> {
    let [first, _] = REPLICAS;
    // `IMAGE` has its replicas already.
    let copied = (0..REPLICATED.min(images)).filter(|n| n % 10 != 0 && *n != IMAGE);
    fill(table, copied.map(|n| replicate(first, n, &format!("v{n}"), n)).collect()).await?;
    let source: Registry = SOURCE.parse()?;
    for start in (0..images).step_by(IN_REPOSITORY as usize) {
        let name: RepositoryName = repository(start).parse()?;
        for (registry, origin) in [(SOURCE, Origin::Pushed), (first, Origin::Replicated([source.clone()].into()))] {
            let entry = InventoryEntry {
                size_bytes: 31_457_280,
                arrived_at: Some("2026-10-01T00:00:00Z".parse()?),
                last_pulled_at: None,
                archived: false,
                tagged: true,
                kind: ManifestKind::Image,
                origin,
            };
            let seen = (start..images.min(start + IN_REPOSITORY)).map(|n| Ok((digest(n).parse()?, entry.clone())));
            table.put_inventory(&registry.parse()?, &name, &seen.collect::<Result<Inventory, Error>>()?).await?;
        }
    }
    Ok(())
}

/// Asks each question of both tables.
pub(crate) async fn measure(few: &Served, many: &Served, images: u32, report: &mut Report) -> Result<(), Error> {
    let [replica, _] = REPLICAS;
    let deletions = "kind=image_deleted,tags_deleted,repository_deleted";
    let questions: [Question<'_>; 8] = [
        (
            "activity, the newest 100",
            "/v1/activity?from=2026-09-01&to=2026-12-01&limit=100".to_owned(),
            "activity",
            Some(100),
        ),
        (
            "activity, the deletions of one role",
            format!("/v1/activity?from=2026-09-01&to=2026-12-01&limit=100&actor=role/ci&{deletions}"),
            "activity",
            Some(DELETED as usize),
        ),
        (
            "activity of one repository, a page, for which at most 10,000 entries are examined",
            "/v1/activity?from=2026-09-01&to=2026-12-01&limit=100&repository=team/app".to_owned(),
            "activity",
            None,
        ),
        ("costs", "/v1/costs".to_owned(), "registries", Some(2)),
        ("where", format!("/v1/presence?image=team/app:v77&in={replica}"), "registries", None),
        (
            "images of a repository that one registry has",
            format!("/v1/images?repository=team/app&limit=1000&only_in={SOURCE}"),
            "images",
            None,
        ),
        (
            "images of a repository that were not pulled in a day",
            "/v1/images?repository=team/app&limit=1000&not_pulled=24h".to_owned(),
            "images",
            None,
        ),
        ("costs of what was not pulled in a day", "/v1/costs?not_pulled=24h".to_owned(), "registries", Some(2)),
    ];
    for question in &questions {
        let (small, large) = (median(few, question).await?, median(many, question).await?);
        let what = format!("{}, median, with {images} images beside 100", question.0);
        report.within(&what, "ms", large, small, LONGEST);
        let (path, served) = (&question.1, many);
        served.queries.0.store(0, Ordering::Relaxed);
        let (before, _) = served.table.units();
        served.ask(path, false).await?;
        report.alone(&what, "calls", served.queries.0.load(Ordering::Relaxed).into(), None);
        report.alone(&what, "read units", served.table.units().0 - before, None);
    }
    Ok(())
}

/// How long an answer takes, in ms.
async fn median(served: &Served, (_, path, list, entries): &Question<'_>) -> Result<f64, Error> {
    let mut times = Vec::new();
    for _ in 0..ASKED {
        let (took, body) = served.ask(path, false).await?;
        let answer = serde_json::from_slice::<Value>(&body)?;
        let listed = answer.get(*list).and_then(Value::as_array).map_or(0, Vec::len);
        let is_empty = listed == 0 && answer.get("next_cursor").is_none();
        if is_empty || entries.is_some_and(|entries| entries != listed) {
            return Err(format!("{path}: {listed} entries instead of {entries:?}").into());
        }
        times.push(took);
    }
    Ok(percentile(&mut times, 50))
}
