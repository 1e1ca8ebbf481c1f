use std::collections::{BTreeMap, BTreeSet};

use domain::{
    alert::{AlertKind, AlertState},
    event,
    fact::{Subject, What},
    image::{Image, Registry, Tag},
};
use jiff::{SignedDuration, Timestamp};
use proptest::{prelude::*, sample::select};
use simulator::settings::{Lag, Settings, Unconfirmed};

use super::site;
use crate::{
    events::{IRELAND, TOKYO, VIRGINIA},
    mirror::{Site, manifest},
    registries::cases,
};

/// An action at the source, or time that passes.
#[derive(Debug, Clone)]
enum Act {
    Push(char, Option<&'static str>),
    Delete(char),
    Pass(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let letter = || select(vec!['a', 'b', 'c', 'd']);
    let tag = proptest::option::weighted(0.8, select(vec!["latest", "v1", "v2", "v3"]));
    let act = prop_oneof![
        8 => (letter(), tag).prop_map(|(letter, tag)| Act::Push(letter, tag)),
        1 => letter().prop_map(Act::Delete),
        4 => select(vec![1, 5, 20, 45]).prop_map(Act::Pass),
    ];
    proptest::collection::vec(act, 1..10)
}

/// Faults in replication and in event delivery, but no lost event: `watch` gets every event about what it must notice.
fn trouble() -> impl Strategy<Value = String> {
    let percent = || select(vec![0, 0, 10, 40]);
    [percent(), percent(), percent(), percent(), percent(), percent(), percent()].prop_map(
        |[slow, stuck, failed, missing, repeated, delayed, reordered]| {
            format!("slow={slow},stuck={stuck},failed={failed},missing={missing},repeated={repeated},delayed={delayed},reordered={reordered}")
        },
    )
}

fn answers() -> impl Strategy<Value = Unconfirmed> {
    any::<[bool; 5]>().prop_map(|answers| Unconfirmed {
        delete_per_tag: answers[0],
        empty_tag_in_events: answers[1],
        denied_replication_emits_failed: answers[2],
        failed_replication_has_code: answers[3],
        replication_survives_deletion: answers[4],
        ..Unconfirmed::default()
    })
}

async fn play(site: &Site, acts: &[Act]) {
    for act in acts {
        match act {
            Act::Push(letter, tag) => {
                // ECR refuses to push the same image again.
                let (account, region) = IRELAND.split_once('/').unwrap();
                let caller = simulator::ApiCaller {
                    account: account.to_owned(),
                    region: region.to_owned(),
                    arn: format!("arn:aws:iam::{account}:root"),
                };
                let mut body =
                    serde_json::json!({"repositoryName": "team/app", "imageManifest": manifest(&letter.to_string())});
                if let Some(tag) = tag {
                    body["imageTag"] = serde_json::json!(tag);
                }
                _ = site.local.simulator.call(&caller, "PutImage", body.to_string().as_bytes());
            }
            Act::Delete(letter) => {
                let image: Image =
                    format!("team/app@{}", crate::registries::digest(&manifest(&letter.to_string()))).parse().unwrap();
                if site.has(IRELAND, &image) {
                    site.delete_image(IRELAND, &image);
                }
            }
            Act::Pass(minutes) => pass(site, *minutes).await,
        }
    }
}

async fn pass(site: &Site, minutes: u64) {
    for _ in 0..minutes.div_ceil(5) {
        site.watch(300.min(minutes * 60)).await;
    }
}

/// A push at the source: the image and its tag.
type Push = (Image, Option<Tag>);

/// What happened: the newest push of each name, the arrival of each copy, and the newest loss of each name.
#[derive(Default)]
struct Truth {
    pushes: BTreeMap<Push, Timestamp>,
    arrivals: Vec<(Registry, Push, Timestamp)>,
    losses: Vec<(Image, Option<Tag>, Timestamp)>,
    failures: Vec<(Registry, Image, Timestamp)>,
}

fn truth(site: &Site, after: u64) -> Truth {
    let mut truth = Truth::default();
    for emitted in site.local.simulator.emitted(after) {
        for fact in event::read_value(&emitted.event).unwrap().facts {
            let Subject::Image(image) = fact.subject else { continue };
            let here = fact.registry.to_string();
            match fact.what {
                What::Pushed { tag, .. } if here == IRELAND => {
                    if let Some(tag) = &tag {
                        // The images that had the tag before lose it.
                        let others =
                            truth.pushes.keys().filter(|(other, with)| *other != image && with.as_ref() == Some(tag));
                        let lost: Vec<_> =
                            others.map(|(other, _)| (other.clone(), Some(tag.clone()), fact.time)).collect();
                        truth.losses.extend(lost);
                    }
                    truth.pushes.insert((image, tag), fact.time);
                }
                What::Replicated { tag, .. } => truth.arrivals.push((fact.registry, (image, tag), fact.time)),
                What::ReplicationFailed { .. } => truth.failures.push((fact.registry, image, fact.time)),
                What::ImageDeleted { .. } if here == IRELAND => truth.losses.push((image, None, fact.time)),
                What::TagsDeleted { .. } if here == IRELAND => truth.losses.push((image, None, fact.time)),
                _ => {}
            }
        }
    }
    truth
}

/// Whether an alert is expected for a copy.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Copy {
    /// No alert is allowed.
    Fine,
    /// An alert is required.
    Troubled,
    /// So close to a limit that both are correct.
    Close,
}

fn copy(site: &Site, truth: &Truth, to: &Registry, (push, at): (&Push, Timestamp)) -> Copy {
    // An image whose tag moved to another one may arrive without it.
    let untagged = truth
        .losses
        .iter()
        .filter(|(image, tag, time)| *image == push.0 && tag.is_some() && *tag == push.1 && *time >= at);
    let untagged = untagged.map(|(.., time)| *time).min();
    let arrived = truth.arrivals.iter().filter(|(registry, (image, _), _)| registry == to && *image == push.0);
    let arrived = arrived.filter_map(|(_, (_, tag), time)| match untagged {
        _ if *time >= at && (push.1.is_none() || *tag == push.1) => Some(*time),
        Some(untagged) => Some(untagged.max(*time)),
        None => None,
    });
    let arrived = arrived.min();
    let lost = truth.losses.iter().filter(|(image, tag, time)| *image == push.0 && tag.is_none() && *time >= at);
    let lost = lost.map(|(.., time)| *time).min();
    let over = [arrived, lost].into_iter().flatten().min();
    // Events arrive up to 16 minutes late, and `watch` checks every five minutes.
    // A failure is alerted at once, whatever happens later; ECR has one status for all copies of an image.
    let failed = truth.failures.iter().any(|(registry, image, time)| registry == to && *image == push.0 && *time >= at);
    let again = |lost: Timestamp| truth.pushes.iter().any(|((image, _), time)| *image == push.0 && *time >= lost);
    // It arrived with its tag, and a late copy of another image took that tag. If `watch` learns of the push only after
    // the arrival, it finds the image without its tag, and sends an alert.
    let taken = push.1.as_ref().filter(|_| untagged.is_none()).is_some_and(|tag| {
        site.has(&to.to_string(), &push.0) && !site.tags(&to.to_string(), &push.0).contains(tag.as_str())
    });
    match over.map(|over| over.duration_since(at)) {
        Some(_) if failed || taken || lost.is_some_and(again) => Copy::Close,
        Some(lasted) if lasted < SignedDuration::from_mins(12) => Copy::Fine,
        Some(lasted) if lasted < SignedDuration::from_mins(55) => Copy::Close,
        // The image may have been there before, with its tag: then nothing is missing.
        _ if push.1.as_ref().is_some_and(|tag| site.tags(&to.to_string(), &push.0).contains(tag.as_str())) => {
            Copy::Close
        }
        _ if (push.1.is_none() || untagged.is_some()) && site.has(&to.to_string(), &push.0) => Copy::Close,
        _ => Copy::Troubled,
    }
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn every_problem_is_opened_and_resolved_once_and_no_healthy_copy_is_alerted(
        (acts, trouble, answers, seed) in (acts(), trouble(), answers(), any::<u64>()),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(&acts, &trouble, answers, seed));
    }

    #[test]
    fn healthy_copies_are_never_alerted_whatever_happens_to_their_events(
        (acts, answers, seed) in (acts(), answers(), any::<u64>()),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(healthy(&acts, answers, seed));
    }
}

/// Copies arrive within ten minutes; a third of their events is lost, and the others arrive late, twice and in any
/// order.
async fn healthy(acts: &[Act], unconfirmed: Unconfirmed, seed: u64) {
    let lag = Lag { from: SignedDuration::from_secs(5), to: SignedDuration::from_mins(10) };
    // A late copy that takes the tag of a newer image would be a problem.
    let unconfirmed = Unconfirmed { late_replica_takes_tag: false, ..unconfirmed };
    let site =
        site(Settings { seed, unconfirmed, lag: Lag::exactly(SignedDuration::from_secs(5)), ..Settings::default() })
            .await;
    site.local.simulator.set(|settings| settings.lag = lag);
    let before = site.local.simulator.emitted(0).last().map_or(0, |emitted| emitted.number);
    for act in acts {
        // Events of users' actions are delivered; those of ECR's replication only sometimes.
        site.trouble("repeated=20,delayed=20,reordered=20");
        play(&site, std::slice::from_ref(act)).await;
        site.trouble("lost=33,repeated=20,delayed=20,reordered=20");
        site.watch(60).await;
    }
    site.trouble("repeated=20");
    for _ in 0..8 {
        site.watch(15 * 60).await;
    }
    assert_eq!(site.alerts().await, []);
    // The table knows where every copy is, whether or not an event reported it.
    for (push, at) in truth(&site, before).pushes {
        let expectations = site.expectations(&push.0).await;
        let settled = expectations.iter().filter(|one| one.tag == push.1 && one.source.to_string() == IRELAND);
        assert!(settled.clone().count() == 1 && settled.clone().all(|one| one.due.is_none()), "{push:?} {at}");
        let lineage = site.local.table.lineage(&push.0).await.unwrap();
        for to in [VIRGINIA, TOKYO] {
            if site.has(IRELAND, &push.0) && site.has(to, &push.0) {
                let placement = &lineage.placements[&to.parse::<Registry>().unwrap()];
                assert!(placement.status().may_be_there(), "{push:?} in {to}");
            }
        }
    }
}

async fn check(acts: &[Act], trouble: &str, unconfirmed: Unconfirmed, seed: u64) {
    let lag = Lag { from: SignedDuration::from_secs(5), to: SignedDuration::from_mins(10) };
    let site =
        site(Settings { seed, unconfirmed, lag: Lag::exactly(SignedDuration::from_secs(5)), ..Settings::default() })
            .await;
    site.local.simulator.set(|settings| settings.lag = lag);
    let before = site.local.simulator.emitted(0).last().map_or(0, |emitted| emitted.number);
    site.trouble(trouble);
    play(&site, acts).await;
    pass(&site, 30).await;
    for _ in 0..4 {
        site.watch(15 * 60).await;
    }
    let truth = truth(&site, before);
    let destinations: [Registry; 2] = [VIRGINIA, TOKYO].map(|name| name.parse().unwrap());
    let mut noticed = BTreeMap::new();
    for (push, at) in &truth.pushes {
        let expectations = site.expectations(&push.0).await;
        let expectation = expectations.iter().find(|one| one.tag == push.1 && one.source.to_string() == IRELAND);
        let expectation = expectation.unwrap_or_else(|| panic!("nothing is expected of {push:?}"));
        // A failed copy may be reported before its push.
        assert!(expectation.since >= *at, "{push:?}: {expectation:?}");
        let arrived = |to: &&Registry| {
            truth.arrivals.iter().any(|(there, name, time)| there == *to && name == push && time >= &expectation.since)
        };
        match &expectation.state.completion {
            Some(complete) => assert!(complete.arrivals.keys().eq(destinations.iter().collect::<BTreeSet<_>>())),
            None => assert!(!destinations.iter().all(|to| arrived(&to)), "{push:?} is complete: {expectation:?}"),
        }
        for to in &destinations {
            let known = expectation.state.problems.get(to);
            match copy(&site, &truth, to, (push, *at)) {
                Copy::Fine => assert!(known.is_none_or(|known| known.since < *at), "{push:?} to {to}: {known:?}"),
                // A copy whose tag moved to a newer image that arrived is superseded.
                Copy::Troubled => assert!(
                    known.is_some()
                        || truth.arrivals.iter().any(|(there, name, _)| {
                            there == to
                                && push.1.is_some()
                                && name.1 == push.1
                                && truth.pushes.get(name).is_some_and(|other| other > at)
                        }),
                    "{push:?} to {to}: {expectation:?}"
                ),
                Copy::Close => {}
            }
            if known.is_some() {
                noticed.insert((push.clone(), to.clone()), ());
            }
        }
    }
    // Every incident ends, at the latest when its copies are not expected any more.
    for _ in 0..4 {
        site.watch(5 * 24 * 3_600).await;
    }
    assert_eq!(site.local.table.incidents().await.unwrap(), []);
    let mut incidents: BTreeMap<(AlertKind, String), (usize, usize, u64)> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for alert in site.alerts().await {
        assert!(ids.insert(alert.id.clone()), "{} was sent twice", alert.id);
        if alert.state == AlertState::Notice {
            continue;
        }
        let incident = incidents.entry((alert.kind, alert.incident.clone())).or_default();
        match alert.state {
            AlertState::Opened => incident.0 += 1,
            AlertState::Resolved => (incident.1, incident.2) = (incident.1 + 1, alert.count.unwrap()),
            AlertState::Open | AlertState::Notice => {}
        }
    }
    let mut counted = 0;
    for (incident, (opened, resolved, count)) in &incidents {
        assert_eq!((*opened, *resolved), (1, 1), "{incident:?}");
        counted += count;
    }
    // A copy may be late first, and fail then: each is counted once.
    assert!(counted >= noticed.len() as u64, "{counted} of {noticed:?}");
    assert_eq!(counted == 0, noticed.is_empty());
}
