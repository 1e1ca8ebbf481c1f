//! Commands about replication, against simulated registries in this process.

use jiff::SignedDuration;
use simulator::settings::Lag;

use crate::mirror::Scene;

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
    report += &scene.shows(&["lag"]);
    for _ in 0..4 {
        scene.pass(16 * 60);
    }
    report += &scene.shows(&["alerts"]);
    report += &scene.shows(&["lag", "--since", "7d"]);
    insta::assert_snapshot!(report);
}
