//! Pauses and holds of operators: before a deletion exists, while a batch runs, and after a breaker's reset.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use answers::{
    breakers::{self, ResetTerms},
    controls::{self, HoldTarget, Release},
    deletions::{self, Act, DeletionScope, DeletionSelector, ManyDeletions},
    error::Error,
    reference::Reference,
    time::Period,
};
use aws::{registry::Registries, start, usage::UsageReader};
use aws_config::Region;
use aws_sdk_dynamodb::config::{
    Credentials,
    http::{HttpRequest, HttpResponse},
    retry::RetryConfig,
};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use domain::{
    breaker::{BreakerLimit, BreakerLimits},
    controls::Instruction,
    deletion::{CheckName, DeletionStatus, OperatorAction},
    image::Image,
    plan::Mode,
};
use jiff::{SignedDuration, Timestamp};
use mirror::Mirror;
use policy::Policy;
use serde_json::json;
use store::Table;
use tokio::sync::OnceCell;

use super::{FOLLOW, Site, index_of, manifest};
use crate::{
    events::{IRELAND, TOKYO, VIRGINIA},
    test_table::client,
};

impl Site {
    fn says(&self, by: &str, hours: Option<i64>) -> Instruction {
        let until = hours.map(|hours| self.now().checked_add(SignedDuration::from_hours(hours)).unwrap());
        Instruction { by: by.to_owned(), at: self.now(), until, reason: Some("audit".to_owned()) }
    }

    pub(super) async fn hold(&self, hold: &str, hours: Option<i64>) -> controls::WasHeld {
        let hold: HoldTarget = hold.parse().unwrap();
        controls::hold(&self.local.table, &hold, None, self.says("dana", hours)).await.unwrap()
    }

    pub(super) async fn release(&self, hold: &str, by: &str, force: bool) -> Result<controls::WasReleased, Error> {
        let release = Release { hold, source: None, force, reason: Some("audit is over") };
        controls::release(&self.local.table, &release, by, self.now()).await
    }

    async fn last_check(&self, registry: &str, image: &Image) -> (DeletionStatus, CheckName, String) {
        let deletion = self.deletion(registry, image, None).await;
        let last = deletion.checks.last().unwrap();
        (deletion.status, last.check, last.why.clone())
    }
}

#[tokio::test]
async fn nothing_is_deleted_while_a_pause_lasts() {
    let (site, image) = Site::with_loss(FOLLOW).await;
    controls::pause(&site.local.table, None, site.says("dana", None)).await.unwrap();
    site.a_day().await;
    site.pass(600).await;
    assert!(site.has(TOKYO, &image) && site.has(VIRGINIA, &image));
    let (status, check, why) = site.last_check(TOKYO, &image).await;
    assert_eq!((status, check), (DeletionStatus::Pending, CheckName::Paused));
    assert!(why.starts_with("deletions of every source are paused by dana since 2026-") && why.ends_with(": audit"));
    controls::resume(&site.local.table, None, "erin", site.now()).await.unwrap();
    site.pass(300).await;
    assert!(!site.has(TOKYO, &image) && !site.has(VIRGINIA, &image));
    let again = controls::resume(&site.local.table, None, "erin", site.now()).await;
    assert!(matches!(again, Err(Error::NotPaused { .. })), "{again:?}");
}

#[tokio::test]
async fn a_pause_of_one_source_ends_by_itself() {
    let (site, image) = Site::with_loss(FOLLOW).await;
    site.pass(60).await;
    let ireland = IRELAND.parse().unwrap();
    controls::pause(&site.local.table, Some(&ireland), site.says("dana", Some(30))).await.unwrap();
    let paused = answers::overview::overview(&site.local.table, site.now()).await.unwrap().pauses;
    assert_eq!(paused.len(), 1);
    // It is shown on each deletion at once.
    let statuses = [DeletionStatus::Pending].into();
    let all = deletions::DeletionFilter::everywhere(statuses, Period::ALL);
    let listed = deletions::list(&site.local.table, &all, site.now()).await.unwrap().deletions;
    assert!(listed.len() == 2 && listed.iter().all(|one| one.deletion.summary() == paused[0].summary), "{listed:?}");
    site.pass(25 * 3600).await;
    assert!(site.has(TOKYO, &image));
    site.pass(6 * 3600).await;
    assert!(!site.has(TOKYO, &image));
    assert!(answers::overview::overview(&site.local.table, site.now()).await.unwrap().pauses.is_empty());
}

#[tokio::test]
async fn a_hold_in_advance_keeps_what_its_source_deletes_later() {
    let site = Site::new(FOLLOW).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.arrive().await;
    let held = site.hold("team/*", None).await;
    assert_eq!((held.repositories, held.deletions), (1, 0));
    site.delete_image(IRELAND, &image);
    site.a_day().await;
    site.a_day().await;
    let (status, check, why) = site.last_check(TOKYO, &image).await;
    assert!(site.has(TOKYO, &image) && site.has(VIRGINIA, &image), "{why}");
    assert_eq!((status, check), (DeletionStatus::Held, CheckName::Hold));
    assert!(why.starts_with("team/* is on hold by dana since ") && why.ends_with(": audit"), "{why}");
    // The hold of another operator ends only with force.
    let refused = site.release("team/*", "erin", false).await;
    assert!(matches!(refused, Err(Error::HoldOfOther { .. })), "{refused:?}");
    let released = site.release("team/*", "erin", true).await.unwrap();
    assert_eq!((released.holds.len(), released.deletions), (1, 2));
    site.pass(60).await;
    assert!(!site.has(TOKYO, &image) && !site.has(VIRGINIA, &image));
    let done = site.deletion(TOKYO, &image, None).await;
    let last = done.actions.last().unwrap();
    assert_eq!((last.action, last.by.as_str()), (OperatorAction::Release, "erin"));
    assert!(last.reason.as_ref().unwrap().ends_with(" of dana: audit is over"), "{last:?}");
}

#[tokio::test]
async fn a_hold_of_an_image_ends_by_itself_and_its_tag_finds_it_after_its_deletion() {
    let (site, image) = Site::with_loss(FOLLOW).await;
    site.pass(60).await;
    let held = site.hold("team/app:v1", Some(48)).await;
    assert_eq!((held.holds.len(), held.deletions), (1, 2));
    assert_eq!(held.holds[0].hold.pattern.to_string(), image.to_string());
    assert_eq!(site.deletion(TOKYO, &image, None).await.status, DeletionStatus::Held);
    site.pass(40 * 3600).await;
    assert!(site.has(TOKYO, &image));
    site.pass(9 * 3600).await;
    assert!(!site.has(TOKYO, &image));
}

#[tokio::test]
async fn a_breakers_reset_does_not_release_what_an_operator_holds() {
    let mut site = Site::new(FOLLOW).await;
    site.local.mirror.limits.principals = BreakerLimit { images: 1, percent: 100 };
    let images = ["a", "b"].map(|name| site.push(IRELAND, &manifest(name), Some(name)));
    site.arrive().await;
    images.iter().for_each(|image| site.delete_image(IRELAND, image));
    site.a_day().await;
    for image in &images {
        assert_eq!(site.last_check(TOKYO, image).await.1, CheckName::Breaker);
    }
    // What the breaker holds can be put on hold, too.
    assert_eq!(site.hold(&images[0].to_string(), None).await.deletions, 2);
    let source = IRELAND.parse().unwrap();
    let version = site.local.table.breaker(&source).await.unwrap().version;
    let terms = ResetTerms { allow: Some(10), ignore_share: false };
    breakers::reset(&site.local.table, &source, version, terms, "erin", site.now()).await.unwrap();
    site.pass(60).await;
    site.pass(60).await;
    assert!(site.has(TOKYO, &images[0]) && !site.has(TOKYO, &images[1]));
    assert_eq!(site.last_check(TOKYO, &images[0]).await.1, CheckName::Hold);
}

#[tokio::test]
async fn a_release_leaves_what_another_hold_covers() {
    let (site, image) = Site::with_loss(FOLLOW).await;
    site.pass(60).await;
    site.hold("team/*", None).await;
    controls::hold(&site.local.table, &"team/app".parse().unwrap(), None, site.says("erin", None)).await.unwrap();
    let released = site.release("team/*", "dana", false).await.unwrap();
    assert_eq!(released.deletions, 0);
    site.a_day().await;
    assert!(site.has(TOKYO, &image));
    let lasting = controls::holds(&site.local.table, site.now()).await.unwrap().holds;
    assert_eq!(lasting.len(), 1);
    site.release(&lasting[0].id, "erin", false).await.unwrap();
    site.pass(60).await;
    assert!(!site.has(TOKYO, &image));
}

#[tokio::test]
async fn a_hold_says_what_is_wrong_with_it() {
    let site = Site::new(FOLLOW).await;
    let (table, all) = (&site.local.table, "*".parse::<HoldTarget>().unwrap());
    let none = Instruction { reason: Some("  ".to_owned()), ..site.says("dana", None) };
    assert!(matches!(controls::hold(table, &all, None, none).await, Err(Error::NoReason { .. })));
    let over = controls::hold(table, &all, None, site.says("dana", Some(-1))).await;
    assert!(matches!(over, Err(Error::EndIsOver { .. })), "{over:?}");
    let elsewhere = "999999999999/eu-west-1".parse().unwrap();
    let unknown = controls::pause(table, Some(&elsewhere), site.says("dana", None)).await;
    assert!(matches!(unknown, Err(Error::UnknownRegistry { .. })), "{unknown:?}");
    let missing = site.release("team/*", "dana", false).await;
    assert!(matches!(missing, Err(Error::NoHold { .. })), "{missing:?}");
    assert!("team/app@sha256:x".parse::<HoldTarget>().is_err() && "Team/*".parse::<HoldTarget>().is_err());
}

#[tokio::test]
async fn many_deletions_are_approved_at_once_and_a_second_approval_says_so() {
    let policy = r#"@id("ask") @approval("required") permit (principal, action, resource);"#;
    let (site, image) = Site::with_loss(policy).await;
    site.a_day().await;
    let (table, now) = (&site.local.table, site.now());
    let select = |repository: &str, policy: Option<&str>, hours| ManyDeletions {
        repository: Some(repository.parse().unwrap()),
        policy: policy.map(str::to_owned),
        older_than: Some(SignedDuration::from_hours(hours)),
        ..ManyDeletions::default()
    };
    for (many, found) in [
        (select("team/*", None, 24), 2),
        (select("team/*", Some("ask"), 1), 2),
        (select("team/*", Some("other"), 1), 0),
        (select("prod/*", None, 1), 0),
        (select("team/*", None, 48), 0),
    ] {
        let planned = deletions::planned(table, &many, OperatorAction::Approve, now).await.unwrap();
        assert_eq!(planned.deletions.len(), found, "{many:?}");
    }
    let planned = deletions::planned(table, &select("*", None, 1), OperatorAction::Approve, now).await.unwrap();
    let summary = "approve 2 deletions of 1 image in 2 registries, 2 B, deleted since 2026-11-02 09:01:00: team/app 2";
    assert_eq!(planned.summary, summary);
    let act = Act { action: OperatorAction::Approve, by: "dana", reason: Some("ticket 7"), now };
    let acted = deletions::act_on_many(table, planned, &act).await.unwrap();
    assert_eq!(acted.summary, "2 deletions approved by dana: ticket 7");
    let selector =
        DeletionSelector { image: Reference::Exact(image.clone()), registry: None, scope: DeletionScope::All };
    let again = deletions::act(table, &selector, &Act { by: "erin", reason: None, ..act }).await.unwrap();
    assert!(again.deletions.is_empty() && again.approved_before.len() == 2);
    assert!(again.summary.starts_with("2 deletions approved before, by dana 2026-"), "{}", again.summary);
    site.pass(60).await;
    assert!(!site.has(TOKYO, &image));
    // Who approved it, and why, is on the deletion and in the timeline.
    let done = site.deletion(TOKYO, &image, None).await;
    assert!(done.summary().ends_with("(policy ask); approved by dana: ticket 7"), "{}", done.summary());
    let facts = table.lineage(&image).await.unwrap().facts;
    assert!(facts.iter().any(|fact| fact.summary().ends_with("approved by dana: ticket 7")), "{facts:?}");
}

#[tokio::test]
async fn a_cancelled_deletion_stays_cancelled() {
    let (site, image) = Site::with_loss(FOLLOW).await;
    site.pass(60).await;
    let selector =
        DeletionSelector { image: Reference::Exact(image.clone()), registry: None, scope: DeletionScope::All };
    let act = Act { action: OperatorAction::Cancel, by: "dana", reason: None, now: site.now() };
    let cancelled = deletions::act(&site.local.table, &selector, &act).await.unwrap();
    assert!(cancelled.summary.contains("that is final"), "{}", cancelled.summary);
    let act = Act { action: OperatorAction::Retry, ..act };
    let retried = deletions::act(&site.local.table, &selector, &act).await.unwrap_err().to_string();
    assert!(retried.contains("it was cancelled, which is final"), "{retried}");
    site.a_day().await;
    assert!(site.has(TOKYO, &image));
}

/// What happens around one of `mirror`'s calls.
#[derive(Clone, Copy, PartialEq)]
enum Around {
    Nothing,
    /// An operator pauses before the call.
    PauseBefore,
    /// An operator pauses after the call, before its answer arrives.
    PauseAfter,
    /// The call is refused.
    Refuse,
}

/// What happens around a call, by its operation and its body.
type Decides = dyn Fn(&str, &str) -> Around + Send + Sync;

/// An HTTP client around whose calls something happens once.
#[derive(Clone)]
struct Intercepted {
    inner: SharedHttpClient,
    table: Table,
    at: Timestamp,
    around: Arc<Decides>,
    happened: Arc<AtomicBool>,
}

impl std::fmt::Debug for Intercepted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Intercepted")
    }
}

#[derive(Debug)]
struct InterceptedConnector {
    inner: SharedHttpConnector,
    client: Intercepted,
}

impl HttpClient for Intercepted {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(InterceptedConnector { inner, client: self.clone() })
    }
}

impl HttpConnector for InterceptedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
        let target = request.headers().get("x-amz-target").unwrap_or_default().to_owned();
        let mut around = (self.client.around)(&target, &body);
        if around != Around::Nothing && self.client.happened.swap(true, Ordering::SeqCst) {
            around = Around::Nothing;
        }
        let (inner, table, at) = (self.inner.clone(), self.client.table.clone(), self.client.at);
        let pause = async move || {
            let dana = Instruction { by: "dana".to_owned(), at, until: None, reason: None };
            controls::pause(&table, None, dana).await.unwrap();
        };
        HttpConnectorFuture::new(async move {
            match around {
                Around::Nothing => inner.call(request).await,
                Around::PauseBefore => {
                    pause().await;
                    inner.call(request).await
                }
                Around::PauseAfter => {
                    let answer = inner.call(request).await;
                    pause().await;
                    answer
                }
                Around::Refuse => {
                    let body =
                        json!({"__type": "com.amazonaws.dynamodb.v20120810#InternalServerError", "message": "once"});
                    Ok(HttpResponse::new(500.try_into().unwrap(), SdkBody::from(body.to_string())))
                }
            }
        })
    }
}

/// `mirror` with a client around whose calls something happens.
async fn intercepted(
    site: &Site,
    around: impl Fn(&str, &str) -> Around + Send + Sync + 'static,
) -> (Mirror, Arc<AtomicBool>) {
    let happened = Arc::new(AtomicBool::new(false));
    let http = Intercepted {
        inner: aws_smithy_http_client::Builder::new().build_http(),
        table: site.local.table.clone(),
        at: site.now(),
        around: Arc::new(around),
        happened: happened.clone(),
    };
    let loader = start::loader().http_client(http).endpoint_url(&site.local.endpoint);
    let loader = loader.region(Region::from_static("eu-west-1")).retry_config(RetryConfig::disabled());
    let sdk = loader.credentials_provider(Credentials::new("999988887777", "test", None, None, "test")).load().await;
    let name = client(&site.local.endpoint).await.list_tables().send().await.unwrap().table_names.unwrap().remove(0);
    let registries = Registries::new(sdk.clone(), super::interruptions::roles());
    let mirror = Mirror {
        table: Table::new(aws_sdk_dynamodb::Client::new(&sdk), name),
        usage: UsageReader::new(registries.clone(), [].into(), 1),
        registries,
        policy: Policy::load("test.cedar", FOLLOW),
        mode: Mode::Enforce,
        limits: BreakerLimits::default(),
        known: [].into(),
        name: "intercepted".to_owned(),
        settings_stored: OnceCell::new(),
    };
    (mirror, happened)
}

#[tokio::test]
async fn a_pause_after_the_claims_stops_the_calls() {
    let (mut site, image) = Site::with_loss(FOLLOW).await;
    site.pass(60).await;
    let claim = |target: &str, body: &str| {
        let is_claim = target.ends_with("PutItem") && body.contains("\"executing\"");
        if is_claim { Around::PauseAfter } else { Around::Nothing }
    };
    let (mirror, happened) = intercepted(&site, claim).await;
    site.local.mirror = mirror;
    site.pass(24 * 3600).await;
    assert!(happened.load(Ordering::SeqCst));
    assert!(site.has(TOKYO, &image) && site.has(VIRGINIA, &image));
    let (status, check, why) = site.last_check(TOKYO, &image).await;
    assert_eq!((status, check), (DeletionStatus::Pending, CheckName::Paused), "{why}");
    controls::resume(&site.local.table, None, "dana", site.now()).await.unwrap();
    site.pass(300).await;
    assert!(!site.has(TOKYO, &image) && !site.has(VIRGINIA, &image));
    // It was counted when it was claimed, and not again.
    let counts = site.local.table.breaker(&IRELAND.parse().unwrap()).await.unwrap().counts;
    assert!(counts.values().all(|count| count.hours.values().sum::<u32>() == 1), "{counts:?}");
}

#[tokio::test]
async fn a_pause_between_two_rounds_stops_the_second() {
    let mut site = Site::new(FOLLOW).await;
    let child = manifest("child");
    let index = index_of(&[&child]);
    let images = [site.push(IRELAND, &child, None), site.push(IRELAND, &index, Some("v1"))];
    site.arrive().await;
    site.delete_image(IRELAND, &images[1]);
    site.delete_image(IRELAND, &images[0]);
    site.pass(60).await;
    let call = |target: &str, _: &str| {
        if target.ends_with("BatchDeleteImage") { Around::PauseAfter } else { Around::Nothing }
    };
    let (mirror, _) = intercepted(&site, call).await;
    site.local.mirror = mirror;
    site.pass(24 * 3600).await;
    assert!(!(site.has(TOKYO, &images[1]) && site.has(VIRGINIA, &images[1])), "the first round began before the pause");
    assert!(site.has(TOKYO, &images[0]) && site.has(VIRGINIA, &images[0]));
    assert_eq!(site.last_check(TOKYO, &images[0]).await.1, CheckName::Paused);
}

#[tokio::test]
async fn a_call_of_which_the_pauses_cannot_be_read_is_not_made() {
    let (mut site, image) = Site::with_loss(FOLLOW).await;
    site.pass(60).await;
    // The plan reads the pauses first; each call reads them again.
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = reads.clone();
    let read = move |target: &str, body: &str| {
        let is_read = target.ends_with("Query") && body.contains("\"controls\"");
        let later = is_read && counted.fetch_add(1, Ordering::SeqCst) > 0;
        if later { Around::Refuse } else { Around::Nothing }
    };
    let (mirror, _) = intercepted(&site, read).await;
    site.local.mirror = mirror;
    site.pass(24 * 3600).await;
    assert!(reads.load(Ordering::SeqCst) >= 3, "once for the plan, once for each of two calls");
    assert!(site.has(TOKYO, &image) || site.has(VIRGINIA, &image), "one of the two reads was refused");
    let pending = [TOKYO, VIRGINIA].into_iter().find(|registry| site.has(registry, &image)).unwrap();
    let (status, check, why) = site.last_check(pending, &image).await;
    assert_eq!((status, check), (DeletionStatus::Pending, CheckName::Paused));
    assert!(why.starts_with("whether it is paused cannot be read: "), "{why}");
    site.pass(60).await;
    assert!(!site.has(pending, &image));
}

#[tokio::test]
async fn a_pause_before_the_plan_stops_it() {
    let (mut site, image) = Site::with_loss(FOLLOW).await;
    site.pass(60).await;
    let read = |target: &str, body: &str| {
        let is_read = target.ends_with("Query") && body.contains("\"controls\"");
        if is_read { Around::PauseBefore } else { Around::Nothing }
    };
    let (mirror, _) = intercepted(&site, read).await;
    site.local.mirror = mirror;
    site.pass(24 * 3600).await;
    assert!(site.has(TOKYO, &image) && site.has(VIRGINIA, &image));
    let counts = site.local.table.breaker(&IRELAND.parse().unwrap()).await.unwrap().counts;
    assert!(counts.is_empty(), "{counts:?}");
}
