//! Registries, the queue, the functions and the table in one process, on one loopback port.

use std::{collections::BTreeSet, net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};

use aws::{
    registry::{Registries, Roles},
    start,
    usage::UsageReader,
};
use aws_config::{Region, SdkConfig};
use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use aws_sdk_dynamodb::config::Credentials;
use axum::http::HeaderName;
use domain::{
    alert::Alert, breaker::BreakerLimits, event::notification::Senders, heartbeat::HEARTBEAT_INTERVAL, image::Registry,
    plan::Mode,
};
use jiff::{SignedDuration, Timestamp};
use mirror::{Mirror, MirrorSummary};
use query::api::{Query, caller::Caller};
use reconcile::Reconcile;
use record::{Record, proof::Proofs};
use simulator::{
    Simulator, Step,
    clock::later,
    queue::{Backlog, Message, TOPIC_NAME},
    server::{self, FallbackHandler},
    settings::Settings,
};
use store::Table;
use tokio::{
    net::TcpListener,
    sync::{OnceCell, RwLock, oneshot},
    task::JoinHandle,
};
use watch::Watch;

use crate::{
    Error,
    embedded::{EMBEDDED_NAME, Embedded},
    loopback::{self, user},
};

/// The running system.
pub struct Local {
    /// The registries, their clock and the queue.
    pub simulator: Simulator,
    /// The table in which `record` writes.
    pub table: Table,
    /// The function that records events.
    pub record: Record,
    /// The function that deletes replicas after their source, where its policy permits.
    pub mirror: Mirror,
    /// The function that checks expected replicas.
    pub watch: Watch,
    /// The function that lists registries.
    pub reconcile: Reconcile,
    /// The URL at which ECR, STS and DynamoDB listen.
    pub endpoint: String,
    embedded: Embedded,
    end: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

/// Settings of the sandbox.
#[derive(Debug, Clone, Default)]
pub struct LocalSettings {
    /// The behaviour of the simulated registries.
    pub registries: Settings,
    /// The time at which the clock starts.
    pub now: Timestamp,
    /// The speed of the clock, as a multiple of real time; with 0 the clock does not move.
    pub speed: f64,
    /// The port on the loopback interface; 0 picks a free one.
    pub port: u16,
    /// The folder for all state; without it, state is in memory only.
    pub data: Option<PathBuf>,
    /// The policy file; without it, every replica is kept.
    pub policy: Option<PathBuf>,
    /// Whether `mirror` executes what the policy permits.
    pub mode: Mode,
    /// The circuit breaker's limits.
    pub limits: BreakerLimits,
    /// Whether each registry sends heartbeats while the system runs, and `watch` expects them.
    pub heartbeats: bool,
}

/// Something to report while the system runs.
#[derive(Debug)]
pub enum LocalEvent<'a> {
    /// An event was recorded.
    Recorded(&'a Message),
    /// An alert was raised.
    Alert(&'a Alert),
    /// Events wait to be recorded, or no longer do.
    Backlog(Backlog),
}

/// The alerts of the last days that were already reported.
struct SeenAlerts {
    until: Timestamp,
    ids: BTreeSet<String>,
}

/// Messages for one invocation, as Lambda's default batch size.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-parameters.html>
const BATCH: usize = 10;

/// Messages for one invocation if that many wait: each call to the table then is for more of them. They share the process
/// with every client of the registries, so `record` would starve with few at a time, and with one invocation at a time.
const BACKLOG_BATCH: usize = 100;

/// A backlog of this many messages is reported, at this interval.
const LONG_BACKLOG: usize = 100;
const REPORTED_EVERY: Duration = Duration::from_secs(5);

/// The interval at which `mirror`, `watch` and `reconcile` are invoked.
const EVERY: SignedDuration = SignedDuration::from_mins(1);

/// The time that one invocation may take, which is that of the Lambda function.
const RUNS: SignedDuration = SignedDuration::from_mins(14);

/// The account of the hub, which has no registry of its own.
pub const HUB: &str = "999988887777";
/// The region of the hub.
pub const HUB_REGION: &str = "eu-west-1";

impl Local {
    /// Opens all parts and listens for requests. The clock and the functions do not run yet: see [`Local::run`].
    ///
    /// # Errors
    /// When the port is taken, or the folder cannot be used.
    pub async fn start(settings: LocalSettings) -> Result<Self, Error> {
        let LocalSettings { registries, now, speed, port, data, policy, mode, limits, heartbeats } = settings;
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|source| Error::Port { port, source })?;
        let address = listener.local_addr().map_err(|source| Error::Port { port, source })?;
        let endpoint = format!("http://{address}");
        // Open the registries first: they detect whether another process uses the folder.
        let simulator = Simulator::open(registries, now, speed, data.as_deref())?;
        let embedded = Embedded::open(data.map(|folder| folder.join("lineage.db"))).await?;
        let client = embedded.client().await;
        // Each function has a table and registries of its own, as it has in a process of its own.
        let own_table = || Table::new(client.clone(), EMBEDDED_NAME);
        let table = own_table();
        table.create().await?;
        let hub = account(&endpoint, HUB, HUB_REGION).await;
        let own_registries = || Registries::new(hub.clone(), roles());
        let record = Record { table: table.clone(), senders: every_account(), proofs: Proofs::simulated() };
        let watch = Watch {
            table: own_table(),
            registries: own_registries(),
            // The simulator has its own dead-letter queue; see `watch_now`.
            dead_letters: None,
            known: BTreeSet::new(),
            admitted: None,
            heartbeats,
            name: "local".to_owned(),
        };
        let reconcile = Reconcile {
            table: own_table(),
            registries: own_registries(),
            known: BTreeSet::new(),
            every: SignedDuration::from_hours(24),
            name: "local".to_owned(),
        };
        let mirror = Mirror {
            table: own_table(),
            registries: own_registries(),
            policy: decide::load_policy(policy.as_deref()),
            mode,
            limits,
            known: BTreeSet::new(),
            usage: UsageReader::new(own_registries(), BTreeSet::new(), 1),
            name: "local".to_owned(),
            settings_stored: OnceCell::new(),
        };
        let page = page(own_table(), own_registries(), simulator.clone());
        let (end, ended) = oneshot::channel();
        let dynamodb = Some(embedded.endpoint.clone());
        let serving = server::serve(listener, simulator.clone(), dynamodb, Some(page), async {
            _ = ended.await;
        });
        Ok(Self {
            simulator,
            table,
            record,
            mirror,
            watch,
            reconcile,
            endpoint,
            embedded,
            end,
            serving: tokio::spawn(serving),
        })
    }

    /// Runs the clock and the functions, and delivers events to `record`, until the future ends. Calls `on_event` for
    /// each recorded event and for each alert.
    ///
    /// # Errors
    /// When the registries cannot be saved any more, or the table cannot be read.
    pub async fn run(&self, end: impl Future<Output = ()>, on_event: impl Fn(LocalEvent<'_>)) -> Result<(), Error> {
        self.simulator.return_received();
        // A step of the clock waits for what is being delivered.
        let turn = RwLock::new(());
        let recorded = |message: &Message| on_event(LocalEvent::Recorded(message));
        let deliver = || async {
            loop {
                self.simulator.wait_for_messages().await;
                let _turn = turn.read().await;
                self.deliver(self.simulator.receive_now(BACKLOG_BATCH)).await.iter().for_each(recorded);
            }
        };
        let delivering = async { tokio::join!(deliver(), deliver()) };
        let scheduled = async {
            let clock = self.simulator.clock();
            let mut steps = self.simulator.steps();
            let mut seen_alerts = SeenAlerts { until: clock.now(), ids: BTreeSet::new() };
            // Alerts from before the start are not reported again.
            if let Err(error) = self.alerts(&mut seen_alerts).await {
                return error;
            }
            let mut next_heartbeat = clock.now();
            let mut next_run = later(clock.now(), EVERY);
            loop {
                self.simulator.keep_time();
                if self.watch.heartbeats && next_heartbeat <= clock.now() {
                    self.simulator.send_heartbeats();
                    next_heartbeat = clock.now().saturating_add(HEARTBEAT_INTERVAL).unwrap_or(Timestamp::MAX);
                }
                let step = tokio::select! {
                    () = clock.wait_until(next_run) => None,
                    step = steps.recv() => step,
                };
                let step = match step {
                    None => None,
                    Some(Step { by, done }) => {
                        let turn = turn.write().await;
                        self.simulator.step(by);
                        self.deliver_to(BACKLOG_BATCH, &recorded).await;
                        Some((turn, done))
                    }
                };
                if clock.now() < next_run {
                    drop(step);
                    continue;
                }
                next_run = later(clock.now(), EVERY);
                let (watched, mirrored) = tokio::join!(self.watch_now(), self.mirror_now());
                if let Err(error) = watched.map(drop).and(mirrored.map(drop)) {
                    return error;
                }
                match self.alerts(&mut seen_alerts).await {
                    Ok(alerts) => alerts.iter().for_each(|alert| on_event(LocalEvent::Alert(alert))),
                    Err(error) => return error,
                }
                if let Some((turn, done)) = step {
                    // Deletions that `mirror` made have events of their own.
                    self.deliver_to(BACKLOG_BATCH, &recorded).await;
                    drop(turn);
                    _ = done.send(());
                }
            }
        };
        // No step waits for it: it may list every registry.
        let listing = async {
            let clock = self.simulator.clock();
            loop {
                clock.wait_until(later(clock.now(), EVERY)).await;
                if let Err(error) = self.reconcile_now().await {
                    return error;
                }
            }
        };
        let reporting = self.report_backlog(|backlog| on_event(LocalEvent::Backlog(backlog)));
        tokio::select! {
            () = end => Ok(()),
            failure = self.simulator.run() => Err(failure.into()),
            ((), ()) = delivering => Ok(()),
            () = reporting => Ok(()),
            error = scheduled => Err(error.into()),
            error = listing => Err(error.into()),
        }
    }

    /// Reports every few seconds that many events wait, and once that they no longer do.
    async fn report_backlog(&self, report: impl Fn(Backlog)) {
        let mut reported = false;
        loop {
            tokio::time::sleep(REPORTED_EVERY).await;
            let backlog = self.simulator.backlog();
            let is_long = backlog.receivable >= LONG_BACKLOG;
            if is_long || reported && backlog.receivable == 0 {
                report(backlog);
                reported = is_long;
            }
        }
    }

    /// The alerts that were not reported yet, oldest first.
    async fn alerts(&self, seen_alerts: &mut SeenAlerts) -> Result<Vec<Alert>, store::Error> {
        let (now, day) = (self.simulator.clock().now(), SignedDuration::from_hours(24));
        let mut alerts = Vec::new();
        let mut at = seen_alerts.until.saturating_sub(day).unwrap_or(seen_alerts.until);
        while at.duration_since(now) < day {
            alerts.extend(self.table.alerts(at).await?);
            at = at.saturating_add(day).unwrap_or(Timestamp::MAX);
        }
        let ids = alerts.iter().map(|alert| alert.id.clone()).collect();
        alerts.retain(|alert| !seen_alerts.ids.contains(&alert.id));
        alerts.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        *seen_alerts = SeenAlerts { until: now, ids };
        Ok(alerts)
    }

    /// Invokes `mirror` once, as its schedule does.
    ///
    /// # Errors
    /// When the table cannot list what is due.
    pub async fn mirror_now(&self) -> Result<MirrorSummary, store::Error> {
        let clock = self.simulator.clock();
        let until = clock.now().saturating_add(RUNS).unwrap_or(Timestamp::MAX);
        self.mirror.run(|| clock.now(), until).await
    }

    /// A DynamoDB client of the embedded table.
    pub async fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        self.embedded.client().await
    }

    /// Invokes `watch` once, as its schedule does.
    ///
    /// # Errors
    /// When the table cannot list what is due.
    pub async fn watch_now(&self) -> Result<watch::WatchSummary, store::Error> {
        let clock = self.simulator.clock();
        let until = clock.now().saturating_add(RUNS).unwrap_or(Timestamp::MAX);
        self.watch.alert_dead_letters(self.simulator.queue_lengths().1 as u64, clock.now()).await?;
        self.watch.run(|| clock.now(), until).await
    }

    /// Invokes `reconcile` once, as its schedule does.
    ///
    /// # Errors
    /// When the table cannot list the registries that are due.
    pub async fn reconcile_now(&self) -> Result<reconcile::ReconcileSummary, store::Error> {
        let clock = self.simulator.clock();
        let until = clock.now().saturating_add(RUNS).unwrap_or(Timestamp::MAX);
        self.reconcile.run(|| clock.now(), until).await
    }

    /// Delivers all events that are receivable now.
    pub async fn deliver_now(&self) {
        self.deliver_to(BATCH, &|_| ()).await;
    }

    /// Delivers all events that are receivable now, up to `most` at a time, and calls `recorded` for each one.
    async fn deliver_to(&self, most: usize, recorded: &impl Fn(&Message)) {
        loop {
            let messages = self.simulator.receive_now(most);
            if messages.is_empty() {
                return;
            }
            self.deliver(messages).await.iter().for_each(recorded);
        }
    }

    /// Delivers one batch as Lambda does: messages that the function does not report as failed are deleted from the
    /// queue.
    async fn deliver(&self, mut messages: Vec<Message>) -> Vec<Message> {
        let mut batch = SqsEvent::default();
        batch.records.extend(messages.iter().map(|message| {
            let mut record = SqsMessage::default();
            record.message_id = Some(message.id.to_string());
            record.body = Some(message.body.clone());
            record
        }));
        let failed = self.record.handle(batch).await.failed;
        messages.retain(|message| !failed.contains(&message.id.to_string()));
        self.simulator.delete(messages.iter().map(|message| message.id));
        messages
    }

    /// An ECR client of one registry, with credentials of an assumed role of its account.
    ///
    /// # Errors
    /// When the role cannot be assumed.
    pub async fn registry(
        &self,
        registry: &Registry,
        role: &str,
        session_name: &str,
    ) -> Result<aws_sdk_ecr::Client, Error> {
        let config = account(&self.endpoint, registry.account(), registry.region()).await;
        let arn = registry.partition().iam_arn(registry.account(), &format!("role/{role}"));
        let assume = aws_sdk_sts::Client::new(&config).assume_role().role_arn(arn).role_session_name(session_name);
        let assumed = assume.send().await.map_err(|error| Error::Role(error.into()))?;
        let mut config = aws_sdk_ecr::config::Builder::from(&config);
        if let Some(given) = assumed.credentials() {
            let token = Some(given.session_token().to_owned());
            let role = Credentials::new(given.access_key_id(), given.secret_access_key(), token, None, "local");
            config = config.credentials_provider(role);
        }
        Ok(aws_sdk_ecr::Client::from_conf(config.build()))
    }

    /// Stops listening and closes the table.
    pub async fn close(self) {
        drop(self.end);
        // Requests in progress are completed, or dropped after two seconds.
        _ = tokio::time::timeout(Duration::from_secs(3), self.serving).await;
        self.embedded.close().await;
    }
}

/// The page and the API, whose clock is the simulator's.
fn page(table: Table, registries: Registries, simulator: Simulator) -> FallbackHandler {
    let waiting = simulator.clone();
    let query = Query { table, registries, clock: Box::new(move || simulator.clock().now()) };
    let answer = loopback::whole(loopback::router(query, Caller { name: Some(user()), may_change: true }, None));
    Arc::new(move |request| {
        let (answering, waiting) = (answer(request), waiting.clone());
        Box::pin(async move {
            let mut answer = answering.await;
            let backlog = waiting.backlog().receivable;
            if backlog >= LONG_BACKLOG {
                answer.headers_mut().insert(WAITING_EVENTS, backlog.into());
            }
            answer
        })
    })
}

/// The header that tells the page how many events wait to be recorded, if they are many.
const WAITING_EVENTS: HeaderName = HeaderName::from_static("x-waiting-events");

/// The roles of the simulated accounts.
fn roles() -> Roles {
    let (read, delete) = ("ecr-lineage-read".to_owned(), "ecr-lineage-delete".to_owned());
    Roles { read: Some(read), delete: Some(delete), external_id: None }
}

/// Every simulated account may send.
fn every_account() -> Senders {
    Senders { topic_name: TOPIC_NAME.to_owned(), accounts: BTreeSet::new(), organization: true }
}

/// The SDK configuration with the credentials of an account.
async fn account(endpoint: &str, account: &str, region: &str) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new().build_http();
    let loader = start::loader().http_client(http).endpoint_url(endpoint).region(Region::new(region.to_owned()));
    loader.credentials_provider(Credentials::new(account, "local", None, None, "local")).load().await
}
