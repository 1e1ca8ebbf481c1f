//! The circuit breaker under random plans, resets and times.

use std::collections::BTreeMap;

use domain::breaker::{Breaker, BreakerClass, BreakerLimit, BreakerLimits, CountKey, Planned, Reset};
use jiff::{SignedDuration, Timestamp, ToSpan};
use proptest::prelude::*;

const REGISTRIES: [&str; 3] = ["111122223333/us-east-1", "444455556666/ap-northeast-1", "444455556666/eu-central-1"];

fn limits(images: u32, percent: u32) -> BreakerLimits {
    let limit = BreakerLimit { images, percent };
    BreakerLimits { principals: limit, lifecycle: limit, window: SignedDuration::from_hours(24) }
}

fn key(class: usize, registry: usize, repository: usize) -> CountKey {
    CountKey {
        class: [BreakerClass::Principals, BreakerClass::Lifecycle][class],
        registry: REGISTRIES[registry].parse().unwrap(),
        repository: format!("team/app{repository}").parse().unwrap(),
    }
}

fn planned() -> impl Strategy<Value = Vec<Planned>> {
    let one = (0usize..2, 0usize..3, 0usize..2, 0u32..2, proptest::option::of(0u32..200));
    let one = one.prop_map(|(class, registry, repository, images, left)| Planned {
        key: key(class, registry, repository),
        images,
        left,
    });
    proptest::collection::vec(one, 0..40)
}

fn reset(by: &str, at: Timestamp, allow: Option<u32>, ignore_share: bool) -> Reset {
    Reset { by: by.to_owned(), at, allow, ignore_share }
}

/// The number of images that may be deleted.
fn executed(planned: &[Planned], may: &[bool]) -> u32 {
    planned.iter().zip(may).filter(|(_, may)| **may).map(|(one, _)| one.images).sum()
}

#[derive(Debug, Clone)]
enum Step {
    Plan(Vec<Planned>),
    Pass(i64),
    Reset(Option<u32>, bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => planned().prop_map(Step::Plan),
        2 => (1i64..40 * 60).prop_map(Step::Pass),
        1 => (proptest::option::of(1u32..30), any::<bool>()).prop_map(|(allow, share)| Step::Reset(allow, share)),
    ]
}

proptest! {
    #[test]
    fn an_allowance_is_the_most_images_in_all_until_its_window_ends(steps in proptest::collection::vec(step(), 1..40)) {
        let (limits, mut breaker) = (limits(20, 40), Breaker::default());
        let (mut now, mut since, mut allowed) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH, None);
        let mut all = 0;
        let mut by_registry: BTreeMap<CountKey, Vec<(Timestamp, u32)>> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Pass(minutes) => now += minutes.minutes(),
                Step::Reset(allow, ignore_share) => {
                    breaker.reset(reset("dana", now, allow, ignore_share));
                    prop_assert!(breaker.opened.is_none());
                    (since, allowed, all) = (now, allow, 0);
                    by_registry.clear();
                }
                Step::Plan(planned) => {
                    let was_open = breaker.opened.is_some();
                    let may = breaker.count(&planned, &limits, now);
                    prop_assert_eq!(may.len(), planned.len());
                    prop_assert!(!was_open || !may.contains(&true));
                    prop_assert_eq!(breaker.opened.is_some(), was_open || may.contains(&false));
                    all += executed(&planned, &may);
                    let in_window = now < since + limits.window;
                    if let Some(allowed) = allowed.filter(|_| in_window) {
                        prop_assert!(all <= allowed, "{} of {}", all, allowed);
                    }
                    for (one, _) in planned.iter().zip(&may).filter(|(_, may)| **may) {
                        let sum = CountKey { repository: "sum".parse().unwrap(), ..one.key.clone() };
                        by_registry.entry(sum).or_default().push((now, one.images));
                    }
                    // Without an allowance, the limit of each registry and class applies, as it did before.
                    if allowed.is_none() {
                        for (key, done) in &by_registry {
                            let lately = done.iter().filter(|(at, _)| now.duration_since(*at) < limits.window);
                            let sum: u32 = lately.map(|(_, images)| images).sum();
                            prop_assert!(sum <= 20, "{} in {:?}", sum, key);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_was_counted_before_a_reset_does_not_count(
        before in proptest::collection::vec(planned(), 1..5),
        after in planned(),
        allow in proptest::option::of(1u32..60),
        minutes in 0i64..26 * 60,
    ) {
        let limits = limits(20, 100);
        let (mut used, mut fresh) = (Breaker::default(), Breaker::default());
        let mut now = Timestamp::UNIX_EPOCH;
        for planned in &before {
            used.count(planned, &limits, now);
            now += 1.minute();
        }
        for breaker in [&mut used, &mut fresh] {
            breaker.reset(reset("dana", now, allow, false));
        }
        now += minutes.minutes();
        prop_assert_eq!(used.count(&after, &limits, now), fresh.count(&after, &limits, now));
        prop_assert_eq!(&used.opened, &fresh.opened);
        for one in &after {
            prop_assert_eq!(used.counted(&one.key, &limits, now), fresh.counted(&one.key, &limits, now));
        }
    }
}

#[test]
fn the_share_is_limited_in_the_window_of_an_allowance_unless_the_operator_says_otherwise() {
    let planned: Vec<_> = (0..12).map(|_| Planned { key: key(0, 0, 0), images: 1, left: Some(1) }).collect();
    for (ignore_share, expected) in [(false, 0), (true, 12)] {
        let mut breaker = Breaker::default();
        breaker.reset(reset("dana", Timestamp::UNIX_EPOCH, Some(50), ignore_share));
        let may = breaker.count(&planned, &limits(100, 10), Timestamp::UNIX_EPOCH + 1.minute());
        assert_eq!(executed(&planned, &may), expected);
        let why = breaker.opened.map(|opened| opened.why);
        let share = "team/app0: 12 images in 24 h, 92 % of the repository; limit 10 % (deletions by principals)";
        assert_eq!(why.as_deref(), (!ignore_share).then_some(share));
        // A day later the share is limited again.
        let mut later = Breaker::default();
        later.reset(reset("dana", Timestamp::UNIX_EPOCH, Some(50), ignore_share));
        let may = later.count(&planned, &limits(100, 10), Timestamp::UNIX_EPOCH + 24.hours());
        assert_eq!(executed(&planned, &may), 0);
    }
}

#[test]
fn an_allowance_counts_all_registries_and_classes_and_says_when_it_is_used_up() {
    let planned: Vec<_> =
        (0..29).map(|n| Planned { key: key(n % 2, n % 3, 0), images: 1, left: Some(1_000) }).collect();
    let (at, limits) = (Timestamp::UNIX_EPOCH, limits(100, 10));
    let mut breaker = Breaker::default();
    breaker.reset(reset("dana", at, Some(10), false));
    let may = breaker.count(&planned, &limits, at + 1.hour());
    assert_eq!(executed(&planned, &may), 10);
    assert!(may[..10].iter().all(|may| *may));
    let why = "all 10 images that dana allowed 1970-01-01 00:00:00 are used";
    assert_eq!(breaker.opened.as_ref().unwrap().why, why);
    // A claim of an earlier run was counted then.
    let mut breaker = Breaker { opened: None, ..breaker };
    let again = Planned { images: 0, ..planned[0].clone() };
    assert_eq!(breaker.count(&[planned[1].clone(), again], &limits, at + 2.hours()), [false, true]);
}

/// Deletions of one repository, and how many images are left in it.
fn of_one_repository(images: usize, left: Option<u32>) -> Vec<Planned> {
    (0..images).map(|_| Planned { key: key(0, 0, 0), images: 1, left }).collect()
}

#[test]
fn a_limit_is_the_most_that_may_be_deleted_and_one_more_opens_the_breaker() {
    let now = Timestamp::UNIX_EPOCH + 30.hours();
    for (images, share, opens) in [(20, 100, false), (21, 100, true), (20, 10, false), (20, 9, true), (9, 1, false)] {
        // 180 images are left of 200: 20 are 10 %.
        let planned = of_one_repository(images, Some(180));
        let mut breaker = Breaker::default();
        let may = breaker.count(&planned, &limits(20, share), now);
        assert_eq!(executed(&planned, &may), if opens { 0 } else { images.try_into().unwrap() }, "{images}, {share} %");
        assert_eq!(breaker.opened.is_some(), opens, "{images}, {share} %");
    }
    // What was counted fills the limit; a deletion that was counted before adds nothing, and may be.
    let mut breaker = Breaker::default();
    breaker.count(&of_one_repository(20, Some(1_000)), &limits(20, 100), now);
    let counted_before = Planned { key: key(0, 0, 0), images: 0, left: None };
    assert_eq!(breaker.count(std::slice::from_ref(&counted_before), &limits(20, 100), now + 1.hour()), [true]);
    assert_eq!(breaker.opened, None);
    // Nor does it exceed a limit that is lower than what was counted since.
    assert_eq!(breaker.count(&[counted_before], &limits(5, 100), now + 1.hour()), [true]);
    assert_eq!(breaker.opened, None);
    // The share of few images is not limited; that of more is, also if the repository was not read.
    let unread = |images| Breaker::default().count(&of_one_repository(images, None), &limits(20, 10), now);
    assert!(unread(9).into_iter().all(|may| may) && !unread(10).contains(&true));
}

#[test]
fn the_share_adds_what_was_counted_before() {
    let (now, limits) = (Timestamp::UNIX_EPOCH + 30.hours(), limits(1_000, 50));
    let mut breaker = Breaker::default();
    assert!(breaker.count(&of_one_repository(40, Some(60)), &limits, now).into_iter().all(|may| may));
    // 40 and 25 of 100 images.
    assert!(!breaker.count(&of_one_repository(25, Some(35)), &limits, now + 1.hour()).contains(&true));
}

#[test]
fn needed_left_is_what_the_share_permits() {
    let now = Timestamp::UNIX_EPOCH + 30.hours();
    let mut breaker = Breaker::default();
    let limits = limits(1_000, 10);
    assert_eq!(breaker.needed_left(&key(0, 0, 0), 9, &limits, now), None);
    assert_eq!(breaker.needed_left(&key(0, 0, 0), 10, &limits, now), Some(100));
    breaker.count(&of_one_repository(10, Some(100)), &limits, now);
    assert_eq!(breaker.needed_left(&key(0, 0, 0), 5, &limits, now), Some(150));
    let may = breaker.count(&of_one_repository(5, Some(150)), &limits, now);
    assert_eq!((executed(&of_one_repository(5, None), &may), breaker.opened), (5, None));
}

#[test]
fn an_image_that_was_counted_counts_in_the_window_and_after_the_last_reset() {
    let (now, limits) = (Timestamp::UNIX_EPOCH + 48.hours(), limits(20, 10));
    let mut breaker = Breaker::default();
    assert!(breaker.still_counts(now - 24.hours(), &limits, now));
    assert!(!breaker.still_counts(now - 24.hours() - 1.second(), &limits, now));
    let at = now - 2.hours();
    breaker.reset(reset("dana", at, None, false));
    let still = |counted_at| breaker.still_counts(counted_at, &limits, now);
    assert_eq!([at - 1.second(), at, at + 1.second()].map(still), [false, false, true]);
}

#[test]
fn limits_are_read_as_they_are_written() {
    let written = serde_json::to_value(limits(20, 10)).unwrap();
    assert_eq!(written["window_hours"], 24);
    assert_eq!(serde_json::from_value::<BreakerLimits>(written).unwrap(), limits(20, 10));
}
