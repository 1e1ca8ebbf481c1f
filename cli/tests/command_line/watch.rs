//! Commands about replication, against simulated registries in this process.

use jiff::SignedDuration;
use simulator::settings::Lag;

use crate::mirror::{IRELAND, Scene, TOKYO};

#[test]
fn late_copies_and_their_alerts_are_listed() {
    let scene = Scene::new();
    let push = |tag: &str| scene.push(tag);
    let mut report = scene.shows(&["alerts"]);
    let slow = Lag::exactly(SignedDuration::from_mins(47));
    scene.local.simulator.set(|settings| settings.lag = slow);
    push("late");
    // This image alone: if several become late together, the one that the alert names is random.
    scene.pass(60);
    push("later");
    scene.local.simulator.set(|settings| settings.trouble.failed = 1.0);
    push("broken");
    scene.local.simulator.set(|settings| settings.trouble.failed = 0.0);
    scene.pass(29 * 60 + 30);
    scene.pass(2 * 60);
    report += &scene.shows(&["alerts", "--open"]);
    report += &scene.shows(&["images", "team/app"]);
    report += &scene.shows(&["lag"]);
    let late = &*scene.open_incident();
    report += &scene.shows(&["acknowledge", late, "--reason", "on it"]);
    report += &scene.shows(&["alerts", "--open"]);
    // Activity has no order within a second.
    scene.pass(1);
    report += &scene.shows(&["snooze", late, "--until", "2099-01-31", "--reason", "a known outage"]);
    report += &scene.shows(&["alerts", "--open"]);
    report += &scene.shows(&["alerts", "--open", "--severity", "critical", "--repository", "team/*"]);
    report += &scene.shows(&["alerts", "--kind", "breaker_opened,drift_found"]);
    report += &scene.shows(&["activity", "--kind", "operator"]);
    report += &scene.shows(&["lag", "--source", IRELAND, "--repository", "team/*"]);
    report += &scene.shows(&["lag", "--source", TOKYO]);
    for _ in 0..4 {
        scene.pass(16 * 60);
    }
    report += &scene.shows(&["alerts"]);
    report += &scene.shows(&["lag", "--since", "7d"]);
    insta::assert_snapshot!(report);
    for (arguments, says) in [
        (&["acknowledge", "00000000"][..], "no incident `00000000` is open"),
        (&["snooze", "00000000", "--until", "2099-01-31", "--reason", " "], "a snooze needs a reason"),
        (&["snooze", "00000000", "--until", "2020-01-31", "--reason", "audit"], "the end 2020-02-01 00:00:00 is over"),
    ] {
        let ran = scene.run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
        assert!(ran.err.contains(says) && ran.err.contains("next: "), "{ran:?}");
    }
}
