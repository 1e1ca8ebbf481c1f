//! After any history: nothing that must be kept is ever changed, and in the end everything that may be deleted is.
//!
//! The truth comes from the registries and from all events that they emitted, including lost ones; never from the
//! table.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use store::PageBounds;

use answers::controls::{self, Release};
use domain::{
    breaker::{BreakerLimit, BreakerLimits},
    controls::Instruction,
    deletion::{CheckName, Deletion, DeletionStatus},
    event,
    fact::{Fact, Subject, What},
    image::{Digest, Image, Registry, Tag},
    plan::Mode,
    replication::ReplicationRules,
};
use jiff::{SignedDuration, Timestamp};
use policy::Policy;
use proptest::{prelude::*, sample::select};
use serde_json::json;
use simulator::{ApiCaller, Held, ImageStatus, settings::Unconfirmed};

use super::{FOLLOW, Site, interruptions::impatient};
use crate::{
    events::{IRELAND, TOKYO, VIRGINIA},
    registries::{APP, Act, Route, act, cases, digest, index, manifest, settings, unconfirmed},
    running::{By, Running, User},
};

/// A policy, and the same rules as test code.
struct Rule {
    text: &'static str,
    /// Whether an image with these tags, whose source deleted it for this reason, may be deleted.
    deletes: fn(&BTreeSet<Tag>, lifecycle: bool) -> bool,
    archives: bool,
    untags: fn(&Tag) -> bool,
    replica_only_tags: bool,
}

const RULES: [Rule; 5] = [
    Rule { text: FOLLOW, deletes: |_, _| true, archives: false, untags: |_| true, replica_only_tags: false },
    Rule {
        text: r#"
            @id("follow") permit (principal, action in [Action::"delete", Action::"untag"], resource);
            @id("never-v1") forbid (principal, action == Action::"delete", resource) when { resource.tagLine like "* v1 *" };
            @id("never-v") forbid (principal, action == Action::"untag", resource) when { context has tag && context.tag like "v*" };"#,
        deletes: |tags, _| tags.iter().all(|tag| tag.as_str() != "v1"),
        archives: false,
        untags: |tag| !tag.as_str().starts_with('v'),
        replica_only_tags: false,
    },
    Rule {
        text: r#"@id("expiries") permit (principal, action == Action::"delete", resource) when { context.cause == "lifecycle" };"#,
        deletes: |_, lifecycle| lifecycle,
        archives: false,
        untags: |_| false,
        replica_only_tags: false,
    },
    Rule {
        text: r#"@id("archive") permit (principal, action == Action::"archive", resource);"#,
        deletes: |_, _| false,
        archives: true,
        untags: |_| false,
        replica_only_tags: false,
    },
    Rule {
        text: r#"@id("all-tags") @replica_only_tags("may_go") permit (principal, action, resource);"#,
        deletes: |_, _| true,
        archives: true,
        untags: |_| true,
        replica_only_tags: true,
    },
];

type Place = (Registry, Image);
type Holdings = BTreeMap<Place, Held>;

/// What happened in the registries, according to all events that they emitted.
#[derive(Default)]
struct Truth {
    /// Where an image was pushed; for each push, whether the table must know it by now.
    pushed: BTreeMap<Place, Vec<bool>>,
    /// The sources from which an image was replicated; for each, whether the table must know it by now.
    replicated: BTreeMap<Place, BTreeMap<Registry, bool>>,
    /// The tags that an image ever got in a registry, by a push or by replication.
    tags: BTreeMap<Place, BTreeSet<Tag>>,
    /// The images that lifecycle policies expired.
    expired: BTreeSet<Place>,
}

/// An event takes up to 15 minutes, and is redelivered after 3 minutes if it was not recorded.
const KNOWN_AFTER: SignedDuration = SignedDuration::from_mins(30);

impl Truth {
    fn of(route: &Route, now: Timestamp) -> Self {
        let mut truth = Self::default();
        for emitted in route.local.simulator.emitted(0) {
            for Fact { time, registry, subject, what, .. } in event::read_value(&emitted.event).unwrap().facts {
                let Subject::Image(image) = subject else { continue };
                let known = emitted.deliveries > 0 && now.duration_since(time) > KNOWN_AFTER;
                let place = (registry, image);
                if let What::Pushed { tag: Some(tag), .. } | What::Replicated { tag: Some(tag), .. } = &what {
                    truth.tags.entry(place.clone()).or_default().insert(tag.clone());
                }
                match what {
                    What::Pushed { .. } => truth.pushed.entry(place).or_default().push(known),
                    What::Replicated { source, .. } => {
                        *truth.replicated.entry(place).or_default().entry(source).or_default() |= known;
                    }
                    What::ImageDeleted { cause: domain::fact::Cause::Lifecycle { .. } } => {
                        _ = truth.expired.insert(place);
                    }
                    _ => {}
                }
            }
        }
        truth
    }

    /// Whether an image ever had a tag at a source.
    fn had(&self, source: &Registry, image: &Image, tag: &Tag) -> bool {
        self.tags.get(&(source.clone(), image.clone())).is_some_and(|tags| tags.contains(tag))
    }
}

/// An act in a random history.
#[derive(Debug, Clone)]
enum Step {
    /// On the registries, or time that passes.
    Act(Act),
    /// Pause the deletions of a source, or of all, for some hours or until they are resumed.
    Pause(Option<&'static str>, Option<i64>),
    Resume(Option<&'static str>),
    /// Hold what a pattern covers, of a source or of all.
    Hold(&'static str, Option<&'static str>, Option<i64>),
    Release(&'static str),
    /// Start something that runs the image of a letter, or the index, in a registry's account and region.
    Start(&'static str, char, By, Option<&'static str>),
    /// Stop everything there.
    Stop(&'static str),
}

/// What runs, between other steps.
fn running_step() -> impl Strategy<Value = Step> {
    let replicas = || select(vec![TOKYO, TOKYO, VIRGINIA]);
    let by = select(vec![By::Task, By::Task, By::Service, By::Function, By::Pod]);
    let tag = proptest::option::of(select(vec!["latest", "v1", "v2"]));
    prop_oneof![
        8 => step(),
        2 => (replicas(), select(vec!['a', 'b', 'c', 'i']), by, tag)
            .prop_map(|(registry, letter, by, tag)| Step::Start(registry, letter, by, tag)),
        1 => replicas().prop_map(Step::Stop),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let source = || select(vec![None, Some(IRELAND), Some(VIRGINIA)]);
    let pattern = || select(vec!["*", "team/*", APP, "prod/*", "a"]);
    let hours = || select(vec![None, Some(1), Some(30)]);
    prop_oneof![
        30 => act().prop_map(Step::Act),
        1 => (source(), hours()).prop_map(|(source, hours)| Step::Pause(source, hours)),
        2 => source().prop_map(Step::Resume),
        1 => (pattern(), source(), hours()).prop_map(|(pattern, source, hours)| Step::Hold(pattern, source, hours)),
        2 => pattern().prop_map(Step::Release),
    ]
}

/// What an operator paused or holds, as the test knows it: the pattern of a hold, the source and the end.
struct Stop {
    hold: Option<&'static str>,
    source: Option<&'static str>,
    until: Option<Timestamp>,
}

impl Stop {
    fn covers(&self, source: &Registry, image: &Image, now: Timestamp) -> bool {
        let named = match self.hold {
            None | Some("*" | "team/*" | APP) => true,
            Some("a") => image.digest.as_str() == digest(&manifest('a')),
            Some(_) => false,
        };
        named && self.source.is_none_or(|only| source.as_str() == only) && self.until.is_none_or(|until| now < until)
    }
}

/// A history in which `mirror` runs, and every change that it makes is compared with the truth.
struct Watched<'a> {
    route: Route,
    rule: &'a Rule,
    limit: u32,
    /// Whether events may be lost: then `mirror` can only respect what it knows.
    losses: bool,
    /// Every deletion: its source, the replica's registry, and when.
    done: Vec<(Registry, Registry, Timestamp)>,
    /// What operators paused or hold.
    stops: Vec<Stop>,
    /// What runs.
    running: Running,
}

impl Watched<'_> {
    fn now(&self) -> Timestamp {
        self.route.local.simulator.clock().now()
    }

    /// The current replication rules of each registry.
    fn rules(&self) -> BTreeMap<Registry, ReplicationRules> {
        let read = |name: &str| {
            let registry: Registry = name.parse().unwrap();
            let arn = format!("arn:aws:iam::{}:root", registry.account());
            let caller = ApiCaller { account: registry.account().into(), region: registry.region().into(), arn };
            loop {
                // Injected faults affect this call, too.
                if let Some(Ok(answer)) = self.route.local.simulator.call(&caller, "DescribeRegistry", b"{}") {
                    return (registry, ReplicationRules::read(answer.to_string().as_bytes()).unwrap());
                }
            }
        };
        [IRELAND, VIRGINIA, TOKYO].into_iter().map(read).collect()
    }

    /// Runs `mirror`, and checks everything that it changed. Simulated time does not advance meanwhile.
    async fn mirror(&mut self) {
        let (before, now) = (self.route.local.simulator.held(), self.now());
        let truth = Truth::of(&self.route, now);
        let rules = self.rules();
        // `mirror` relies on the observations that `watch` records.
        _ = self.route.local.watch_now().await;
        _ = self.route.local.mirror_now().await;
        let after = self.route.local.simulator.held();
        for (place, held) in &before {
            let left = after.get(place);
            if left == Some(held) {
                continue;
            }
            let (registry, image) = place;
            let deletions = self.route.local.table.image_record(image).await.unwrap().deletions;
            let about =
                |deletion: &&Deletion| deletion.registry == *registry && deletion.status != DeletionStatus::Pending;
            let untagged = left.map(|left| held.tags.difference(&left.tags).cloned().collect::<BTreeSet<_>>());
            match (left, untagged) {
                (None, _) => {
                    let deletion = deletions.iter().filter(about).find(|deletion| deletion.tag.is_none());
                    let deletion = deletion.unwrap_or_else(|| panic!("{place:?} is gone, and no deletion says so"));
                    self.assert_may_be_deleted(&truth, &rules, &before, place, deletion, now);
                    self.is_not_in_use(&before, place);
                    let lifecycle = truth.expired.contains(&(deletion.source.clone(), image.clone()));
                    assert!((self.rule.deletes)(&held.tags, lifecycle), "no policy permits to delete {place:?}");
                    for tag in &held.tags {
                        let had = truth.had(&deletion.source, image, tag);
                        assert!(
                            had || self.rule.replica_only_tags,
                            "{:?} never had {tag} of {place:?}",
                            deletion.source
                        );
                    }
                    self.stays_whole(&after, place);
                }
                (Some(left), Some(tags)) if !tags.is_empty() => {
                    assert_eq!(left.status, held.status);
                    for tag in tags {
                        let deletion =
                            deletions.iter().filter(about).find(|deletion| deletion.tag.as_ref() == Some(&tag));
                        let deletion =
                            deletion.unwrap_or_else(|| panic!("{tag} is gone from {place:?}, and no deletion says so"));
                        self.is_not_stopped(deletion, now);
                        let at_source = before.get(&(deletion.source.clone(), image.clone()));
                        assert!(at_source.is_some_and(|source| !source.tags.contains(&tag)), "{tag} of {place:?}");
                        assert!((self.rule.untags)(&tag), "no policy permits to remove {tag}");
                        let pulled = self.running.users(registry.as_str());
                        assert!(!pulled.iter().any(|user| user.pulls() == Some(&tag)), "{tag} of {place:?} is in use");
                        self.done.push((deletion.source.clone(), registry.clone(), now));
                    }
                }
                (Some(left), _) => {
                    assert_eq!((held.status, left.status), (ImageStatus::Active, ImageStatus::Archived));
                    assert!(self.rule.archives, "no policy permits to archive {place:?}");
                    let deletion = deletions.iter().find(|deletion| about(deletion) && deletion.tag.is_none()).unwrap();
                    self.assert_may_be_deleted(&truth, &rules, &before, place, deletion, now);
                    self.is_not_in_use(&before, place);
                }
            }
        }
        assert!(after.keys().all(|place| before.contains_key(place)));
        self.is_within_the_limit();
    }

    /// Asserts that no registry that replicates it there has it, that it was never pushed there, and that ECR neither
    /// deletes it natively nor would forward the deletion.
    fn assert_may_be_deleted(
        &mut self,
        truth: &Truth,
        rules: &BTreeMap<Registry, ReplicationRules>,
        before: &Holdings,
        place: &Place,
        deletion: &Deletion,
        now: Timestamp,
    ) {
        self.is_not_stopped(deletion, now);
        let (registry, image) = place;
        for (source, known) in truth.replicated.get(place).into_iter().flatten() {
            let has = before.contains_key(&(source.clone(), image.clone()));
            assert!(!has || (self.losses && !known), "{source} still has {place:?}");
        }
        for (source, rules) in rules.iter().filter(|(source, _)| *source != registry) {
            let covers = rules.to(&image.repository, registry).next().is_some();
            let has = before.contains_key(&(source.clone(), image.clone()));
            assert!(!(covers && has), "{source} replicates {place:?} and has it");
        }
        let pushes = truth.pushed.get(place).into_iter().flatten();
        let known = pushes.filter(|known| **known).count();
        assert_eq!(known, 0, "{place:?} was pushed there");
        let native = rules.get(&deletion.source).and_then(|rules| rules.native_deletes(&image.repository, registry));
        assert_eq!(native, None, "ECR itself deletes {place:?}");
        let onwards = rules.get(registry).and_then(|rules| rules.carries_deletions_on(&image.repository));
        assert_eq!(onwards, None, "ECR would carry the deletion of {place:?} on");
        self.done.push((deletion.source.clone(), registry.clone(), now));
    }

    /// Asserts that nothing runs the image, or pulls it by a tag that it has; and that of an index and its images,
    /// nothing runs or pulls another.
    fn is_not_in_use(&self, before: &Holdings, (registry, image): &Place) {
        let tagged = |tag: &Tag| {
            let has = |(place, held): &(&Place, &Held)| place.0 == *registry && held.tags.contains(tag);
            before.iter().find(has).map(|((_, image), _)| image.digest.clone())
        };
        let index: Digest = digest(&index()).parse().unwrap();
        let children = ['a', 'b'].map(|letter| digest(&manifest(letter)));
        let is_child = |digest: &Digest| children.contains(&digest.to_string());
        let there = |digest: &Digest| {
            let image = Image { repository: image.repository.clone(), digest: digest.clone() };
            before.contains_key(&(registry.clone(), image))
        };
        for user in self.running.users(registry.as_str()) {
            let pulled = user.pulls().and_then(tagged);
            for used in user.runs().cloned().into_iter().chain(pulled).filter(there) {
                assert_ne!(used, image.digest, "{image} runs in {registry}: {user:?}");
                assert!(!(used == index && is_child(&image.digest)), "its index runs in {registry}: {user:?}");
                assert!(!(image.digest == index && is_child(&used)), "its image {used} runs in {registry}: {user:?}");
            }
        }
    }

    /// Asserts that no pause or hold covers what was changed.
    fn is_not_stopped(&self, deletion: &Deletion, now: Timestamp) {
        let covers = |stop: &&Stop| stop.covers(&deletion.source, &deletion.image, now);
        assert!(!self.stops.iter().any(|stop| covers(&stop)), "paused or on hold: {deletion:?}");
    }

    /// An operator pauses, resumes, holds or releases. What is refused changes nothing.
    async fn control(&mut self, step: &Step) {
        let (table, now) = (self.route.local.table.clone(), self.now());
        let instruction = |hours: &Option<i64>| {
            let until = hours.map(|hours| now.checked_add(SignedDuration::from_hours(hours)).unwrap());
            Instruction { by: "dana".to_owned(), at: now, until, reason: Some("audit".to_owned()) }
        };
        let registry = |source: &Option<&str>| source.map(|source| source.parse::<Registry>().unwrap());
        let target = |hold: &str| match hold {
            "a" => format!("{APP}@{}", digest(&manifest('a'))),
            pattern => pattern.to_owned(),
        };
        match step {
            Step::Act(_) => {}
            Step::Start(registry, letter, by, tag) => {
                let text = if *letter == 'i' { index() } else { manifest(*letter) };
                let (digest, tag) = (digest(&text).parse().unwrap(), tag.map(|tag| tag.parse().unwrap()));
                self.running.start(registry, User { by: *by, digest, tag });
            }
            Step::Stop(registry) => self.running.stop(registry),
            Step::Pause(source, hours) => {
                let said = instruction(hours);
                let until = said.until;
                if controls::pause(&table, registry(source).as_ref(), said).await.is_ok() {
                    self.stops.retain(|stop| stop.hold.is_some() || stop.source != *source);
                    self.stops.push(Stop { hold: None, source: *source, until });
                }
            }
            Step::Resume(source) => {
                if controls::resume(&table, registry(source).as_ref(), "erin", now).await.is_ok() {
                    self.stops.retain(|stop| stop.hold.is_some() || stop.source != *source);
                }
            }
            Step::Hold(hold, source, hours) => {
                let said = instruction(hours);
                let until = said.until;
                let (what, source_registry) = (target(hold).parse().unwrap(), registry(source));
                if controls::hold(&table, &what, source_registry.as_ref(), said).await.is_ok() {
                    self.stops.push(Stop { hold: Some(hold), source: *source, until });
                }
            }
            Step::Release(hold) => {
                let hold_text = target(hold);
                let release = Release { hold: &hold_text, source: None, force: false, reason: None };
                if controls::release(&table, &release, "dana", now).await.is_ok() {
                    self.stops.retain(|stop| stop.hold != Some(hold));
                }
            }
        }
    }

    /// Asserts that no index loses a child, and that an artifact is deleted only if its subject is deleted.
    fn stays_whole(&self, after: &Holdings, (registry, image): &Place) {
        let has = |manifest: &str| {
            let digest: Digest = digest(manifest).parse().unwrap();
            after.contains_key(&(registry.clone(), Image { repository: image.repository.clone(), digest }))
        };
        let children = ['a', 'b'].map(|letter| digest(&manifest(letter)));
        assert!(!(has(&index()) && children.contains(&image.digest.to_string())), "a child of an index that stays");
        for letter in ['a', 'b', 'c'] {
            let artifact = digest(&crate::registries::artifact(letter));
            assert!(
                !(artifact == image.digest.as_str() && has(&manifest(letter))),
                "an artifact of {letter}, which stays"
            );
        }
    }

    /// Asserts that no source caused more deletions in a registry within 24 hours than the limits of both breaker
    /// classes.
    fn is_within_the_limit(&self) {
        for (source, registry, at) in &self.done {
            let within = |(other, to, when): &&(Registry, Registry, Timestamp)| {
                other == source && to == registry && when >= at && when.duration_since(*at).as_hours() < 23
            };
            let count = self.done.iter().filter(within).count();
            assert!(
                count <= 2 * self.limit as usize,
                "{count} from {source} to {registry}, the limit is {}",
                self.limit
            );
        }
    }

    async fn pass(&mut self, seconds: u64) {
        self.route.local.simulator.step(Duration::from_secs(seconds));
        self.route.local.deliver_now().await;
        self.mirror().await;
    }

    /// Removes all faults, and asserts that every deletion is decided, and that every kept replica has a reason.
    async fn settles(&mut self) {
        self.route.local.simulator.set(|settings| settings.trouble = simulator::trouble::Trouble::default());
        for source in [None, Some(IRELAND), Some(VIRGINIA)] {
            self.control(&Step::Resume(source)).await;
        }
        for pattern in ["*", "team/*", APP, "prod/*", "a"] {
            self.control(&Step::Release(pattern)).await;
        }
        // What runs is kept, whatever else permits its deletion, and is deleted when it runs no more.
        if [TOKYO, VIRGINIA].iter().any(|registry| !self.running.users(registry).is_empty()) {
            for hours in [1, 25, 25] {
                self.pass(hours * 3600).await;
            }
        }
        self.running.trouble(None);
        for registry in [TOKYO, VIRGINIA] {
            self.running.stop(registry);
        }
        for hours in [1, 6, 25, 25, 25, 24 * 31, 6, 25, 6, 6] {
            self.pass(hours * 3600).await;
        }
        let truth = Truth::of(&self.route, self.now());
        let held = self.route.local.simulator.held();
        for image in self.route.local.table.images(&APP.parse().unwrap(), PageBounds::ALL).await.unwrap().0 {
            let image_record = self.route.local.table.image_record(&image.image).await.unwrap();
            for deletion in &image_record.deletions {
                let decided = !matches!(deletion.status, DeletionStatus::Pending | DeletionStatus::Executing);
                assert!(decided, "not decided: {deletion:?}");
                assert!(!deletion.held_by_operator(), "on hold, and no hold is left: {deletion:?}");
                let place = (deletion.registry.clone(), deletion.image.clone());
                let there = held.get(&place);
                if deletion.status == DeletionStatus::Kept && deletion.tag.is_none() {
                    self.is_kept_for_a_reason(deletion, there, &truth, &place, &held);
                }
                // The replica of a done deletion is gone, unless the image came back later; the event of that may be
                // lost.
                if deletion.status == DeletionStatus::Done && deletion.tag.is_none() && !self.rule.archives {
                    let back = image_record.lineage.placements.get(&deletion.registry).is_some_and(|here| {
                        let arrived = here.replicated().into_values().max().max(here.pushed());
                        arrived.is_some_and(|at| at.as_second() >= deletion.since.as_second())
                    });
                    let unreported = || {
                        self.route.local.simulator.emitted(0).iter().any(|emitted| {
                            let facts = event::read_value(&emitted.event).unwrap().facts.into_iter();
                            facts.filter(|fact| fact.time.as_second() >= deletion.since.as_second()).any(|fact| {
                                let came = matches!(fact.what, What::Pushed { .. } | What::Replicated { .. });
                                came && (fact.registry, fact.subject)
                                    == (place.0.clone(), Subject::Image(place.1.clone()))
                            })
                        })
                    };
                    assert!(there.is_none() || back || self.losses && unreported(), "not gone: {deletion:?}");
                }
            }
            for (registry, placement) in &image_record.lineage.placements {
                if !self.losses && domain::lineage::is_orphan(placement, &image_record.lineage.placements) {
                    let with_repository = placement.replicated().into_keys().all(|source| {
                        matches!(image_record.lineage.cause_of_loss(source), domain::fact::Cause::Repository { .. })
                    });
                    let decided = image_record.deletions.iter().any(|deletion| deletion.registry == *registry);
                    assert!(
                        decided || with_repository,
                        "{} in {registry} is an orphan without a deletion",
                        image.image
                    );
                }
            }
        }
    }

    fn is_kept_for_a_reason(
        &self,
        deletion: &Deletion,
        there: Option<&Held>,
        truth: &Truth,
        place: &Place,
        held: &Holdings,
    ) {
        let last = deletion.checks.last().unwrap();
        assert!(!last.passed && !last.why.is_empty(), "{deletion:?}");
        let Some(there) = there else { return };
        let has = |registry: &Registry| held.contains_key(&(registry.clone(), deletion.image.clone()));
        match last.check {
            CheckName::Origin if last.why.contains("pushed to") => {
                assert!(truth.pushed.contains_key(place), "{deletion:?}");
            }
            CheckName::Policy if self.rule.text == FOLLOW => {
                let had = |tag: &Tag| truth.had(&deletion.source, &deletion.image, tag);
                assert!(self.losses || there.tags.iter().any(|tag| !had(tag)), "{deletion:?}");
            }
            CheckName::Source if last.why.ends_with("has it") => {
                // The source has it, or got it again later.
                let again = truth.pushed.contains_key(&(deletion.source.clone(), deletion.image.clone()));
                assert!(has(&deletion.source) || again, "{deletion:?}");
            }
            CheckName::Age => panic!("nothing is that old: {deletion:?}"),
            _ => {}
        }
    }
}

/// Deletes images in bulk at any time: within a day, no more deletions are mirrored than the limit permits.
fn heaps(limit: u32, heaps: &[(usize, u64)]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut site = Site::new(FOLLOW).await;
        let limits = BreakerLimit { images: limit, percent: 100 };
        site.local.mirror.limits.principals = limits;
        let all: usize = heaps.iter().map(|(size, _)| size).sum();
        let mut images: Vec<_> = (0..all).map(|n| site.push(IRELAND, &super::manifest(&n.to_string()), None)).collect();
        site.arrive().await;
        let held =
            |site: &Site| site.local.simulator.held().keys().filter(|(place, _)| place.to_string() == TOKYO).count();
        // When `mirror` ran, and how many replicas it deleted.
        let mut gone: Vec<(Timestamp, usize)> = Vec::new();
        let mut pass = async |site: &Site, hours: u64| {
            let before = held(site);
            site.pass(hours * 3600).await;
            gone.push((site.local.simulator.clock().now(), before - held(site)));
            for (at, _) in &gone {
                let within = gone.iter().filter(|(when, _)| when >= at && when.duration_since(*at).as_hours() < 23);
                let sum: usize = within.map(|(_, count)| count).sum();
                assert!(sum <= limit as usize, "{sum} within a day, the limit is {limit}");
            }
        };
        for (size, hours) in heaps {
            let ids: Vec<_> = images.split_off(images.len() - size);
            site.delete(IRELAND, &ids.iter().map(|image| json!({"imageDigest": image.digest})).collect::<Vec<_>>());
            pass(&site, *hours).await;
        }
        pass(&site, 24).await;
        // Either all replicas were deleted, or the breaker is open and says what is on hold.
        let breaker = site.local.table.breaker(&IRELAND.parse().unwrap()).await.unwrap();
        assert!(held(&site) == 0 || breaker.opened.is_some(), "{} left", held(&site));
    });
}

fn play(seed: u64, unconfirmed: Unconfirmed, rule: usize, limit: u32, trouble: &str, steps: &[Step]) {
    play_with(seed, unconfirmed, rule, limit, trouble, steps, None);
}

/// Plays a history, with `mirror` asking services for what runs if `running` is given.
fn play_with(
    seed: u64,
    unconfirmed: Unconfirmed,
    rule: usize,
    limit: u32,
    trouble: &str,
    steps: &[Step],
    running: Option<Running>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let rule = &RULES[rule];
        let mut route = Route::new(settings(seed, unconfirmed, "lost=0"), None).await;
        let limits = BreakerLimit { images: limit, percent: 100 };
        let limits = BreakerLimits { principals: limits, lifecycle: limits, window: SignedDuration::from_hours(24) };
        route.local.mirror.registries = impatient(&route.local.endpoint).await;
        route.local.watch.registries = impatient(&route.local.endpoint).await;
        if let Some(running) = &running {
            route.local.mirror.usage = running.reader(impatient(&route.local.endpoint).await);
        }
        route.local.mirror.policy = Policy::load("test.cedar", rule.text);
        (route.local.mirror.mode, route.local.mirror.limits) = (Mode::Enforce, limits);
        route.local.simulator.set(|settings| settings.trouble = trouble.parse().unwrap());
        let losses = trouble.contains("lost");
        let running = running.unwrap_or_else(|| Running::new(1));
        let mut watched = Watched { route, rule, limit, losses, done: Vec::new(), stops: Vec::new(), running };
        for step in steps {
            match step {
                Step::Act(Act::Pass(seconds)) => watched.pass(*seconds).await,
                Step::Act(act) => watched.route.perform(act).await,
                control => watched.control(control).await,
            }
        }
        watched.settles().await;
    });
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn every_permitted_deletion_is_done_and_no_other(
        seed in any::<u64>(),
        unconfirmed in unconfirmed(),
        rule in 0..RULES.len(),
        limit in select(vec![1, 2, 1_000, 1_000]),
        steps in proptest::collection::vec(step(), 1..50),
    ) {
        let trouble = "repeated=20,delayed=20,reordered=40,slow=10,stuck=5,failed=5,throttled=10,request-lost=5,response-lost=10";
        play(seed, unconfirmed, rule, limit, trouble, &steps);
    }

    #[test]
    fn lost_events_delete_no_replica_that_is_known_to_be_needed(
        seed in any::<u64>(),
        unconfirmed in unconfirmed(),
        rule in 0..RULES.len(),
        steps in proptest::collection::vec(step(), 1..50),
    ) {
        play(seed, unconfirmed, rule, 1_000, "lost=15,repeated=20,delayed=20,throttled=5,response-lost=5", &steps);
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn nothing_in_use_is_changed(
        seed in any::<u64>(),
        unconfirmed in unconfirmed(),
        rule in 0..RULES.len(),
        page in 1usize..4,
        is_troubled in any::<bool>(),
        steps in proptest::collection::vec(running_step(), 1..50),
    ) {
        let running = Running::new(page);
        running.trouble(is_troubled.then_some(seed));
        let trouble = "repeated=20,delayed=20,failed=5,throttled=5,request-lost=5,response-lost=5";
        // Replicas first: without them, hardly any history has one that is in use when its source deletes it.
        let to_both = Act::Replicate(IRELAND, &[VIRGINIA, TOKYO], false);
        let pushes = ['a', 'b', 'c'].map(|letter| Act::Push(IRELAND, letter, Some("v1")));
        let replicas = [to_both].into_iter().chain(pushes).chain([Act::PushIndex(IRELAND, Some("v2")), Act::Pass(4_000)]);
        let steps: Vec<_> = replicas.map(Step::Act).chain(steps).collect();
        play_with(seed, unconfirmed, rule, 1_000, trouble, &steps, Some(running));
    }
}

proptest! {
    // A case pushes and deletes dozens of images, so there are fewer of them.
    #![proptest_config(ProptestConfig { cases: (cases(24).cases / 8).max(12), ..cases(24) })]

    #[test]
    fn no_more_deletions_in_a_day_than_the_limit(
        limit in 1u32..8,
        sizes in proptest::collection::vec((1usize..6, 1u64..30), 1..5),
    ) {
        heaps(limit, &sizes);
    }
}
