//! Registries, the queue, the functions and the table in one process, on one loopback port.

use std::{collections::BTreeSet, net::Ipv4Addr, path::PathBuf, time::Duration};

use aws::{
    registry::{Registries, Roles},
    start,
};
use aws_config::{Region, SdkConfig};
use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use aws_sdk_dynamodb::config::Credentials;
use domain::{alert::Alert, breaker::BreakerLimits, image::Registry};
use jiff::{SignedDuration, Timestamp};
pub use mirror::Mode;
use mirror::{Mirror, MirrorSummary};
use query::api::{Query, caller::Caller};
use reconcile::Reconcile;
use simulator::{Simulator, queue::Message, server, settings::Settings};
use store::Table;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use watch::Watch;

use crate::{
    Error,
    embedded::{EMBEDDED_NAME, Embedded},
    loopback::{self, user},
};

/// Everything that runs.
pub struct Local {
    /// The registries, their clock and the queue.
    pub simulator: Simulator,
    /// The table that `record` fills.
    pub table: Table,
    /// What lets replicas follow their sources, where its policy permits.
    pub mirror: Mirror,
    /// What looks for copies that should be there by now.
    pub watch: Watch,
    /// What lists registries.
    pub reconcile: Reconcile,
    /// Where ECR, STS and DynamoDB answer.
    pub endpoint: String,
    embedded: Embedded,
    end: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

/// How to run it.
#[derive(Debug, Clone, Default)]
pub struct LocalSettings {
    /// How the registries behave.
    pub registries: Settings,
    /// The time to begin with.
    pub now: Timestamp,
    /// How fast the clock runs; with 0 it stands.
    pub speed: f64,
    /// The port; with 0 any that is free.
    pub port: u16,
    /// Where everything is kept; without it everything is forgotten in the end.
    pub data: Option<PathBuf>,
    /// The file of the policy; without it everything is kept.
    pub policy: Option<PathBuf>,
    /// Whether `mirror` touches anything.
    pub mode: Mode,
    /// How much may go at once.
    pub limits: BreakerLimits,
}

/// What happens while everything runs.
#[derive(Debug)]
pub enum LocalEvent<'a> {
    /// An event was recorded.
    Recorded(&'a Message),
    /// Somebody should know.
    Alert(&'a Alert),
}

/// The alerts of the last days that were told.
struct SeenAlerts {
    until: Timestamp,
    ids: BTreeSet<String>,
}

/// As many messages as Lambda takes from a queue at once, by default.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-parameters.html>
const BATCH: usize = 10;

/// How often `mirror`, `watch` and `reconcile` are started.
const EVERY: SignedDuration = SignedDuration::from_mins(1);

/// How long they may run: as long as a Lambda function.
const RUNS: SignedDuration = SignedDuration::from_mins(14);

/// The account that all of it runs in: the hub, which has no registry of its own.
pub const HUB: &str = "999988887777";
/// Its region.
pub const HUB_REGION: &str = "eu-west-1";

impl Local {
    /// Opens everything and answers requests. Nothing happens by itself yet: see [`Local::run`].
    ///
    /// # Errors
    /// When the port is taken, or the folder cannot be used.
    pub async fn start(settings: LocalSettings) -> Result<Self, Error> {
        let LocalSettings { registries, now, speed, port, data, policy, mode, limits } = settings;
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|source| Error::Port { port, source })?;
        let address = listener.local_addr().map_err(|source| Error::Port { port, source })?;
        let endpoint = format!("http://{address}");
        // First the registries: they say whether somebody else uses the folder.
        let simulator = Simulator::open(registries, now, speed, data.as_deref())?;
        let embedded = Embedded::open(data.map(|folder| folder.join("lineage.db"))).await?;
        let client = embedded.client().await;
        let table = Table::new(client.clone(), EMBEDDED_NAME);
        table.create().await?;
        let roles = Roles {
            read: Some("ecr-lineage-read".to_owned()),
            delete: Some("ecr-lineage-delete".to_owned()),
            external_id: None,
        };
        let hub = account(&endpoint, HUB, HUB_REGION).await;
        let watch = Watch {
            table: Table::new(client.clone(), EMBEDDED_NAME),
            registries: Registries::new(hub.clone(), roles.clone()),
            // The queue is the simulator's.
            dead_letters: None,
            name: "local".to_owned(),
        };
        let reconcile = Reconcile {
            table: Table::new(client.clone(), EMBEDDED_NAME),
            registries: Registries::new(hub.clone(), roles.clone()),
            known: BTreeSet::new(),
            every: SignedDuration::from_hours(24),
            name: "local".to_owned(),
        };
        let page = {
            let simulator = simulator.clone();
            let query = Query {
                table: Table::new(client.clone(), EMBEDDED_NAME),
                registries: Registries::new(hub.clone(), roles.clone()),
                clock: Box::new(move || simulator.clock().now()),
            };
            loopback::whole(loopback::router(query, Caller { name: Some(user()), may_change: true }, None))
        };
        let mirror = Mirror {
            table: Table::new(client, EMBEDDED_NAME),
            registries: Registries::new(hub, roles),
            policy: decide::load_policy(policy.as_deref()),
            mode,
            limits,
            known: BTreeSet::new(),
            name: "local".to_owned(),
        };
        let (end, ended) = oneshot::channel();
        let dynamodb = Some(embedded.endpoint.clone());
        let serving = server::serve(listener, simulator.clone(), dynamodb, Some(page), async {
            _ = ended.await;
        });
        Ok(Self { simulator, table, mirror, watch, reconcile, endpoint, embedded, end, serving: tokio::spawn(serving) })
    }

    /// Lets the clock run and delivers events to `record`, until the future ends. Who asks is told each event that was
    /// recorded, and each alert.
    ///
    /// # Errors
    /// When the registries cannot be saved any more.
    pub async fn run(&self, end: impl Future<Output = ()>, on_event: impl Fn(LocalEvent<'_>)) -> Result<(), Error> {
        let delivering = async {
            loop {
                let messages = self.simulator.receive(BATCH).await;
                self.deliver(messages).await.iter().for_each(|message| on_event(LocalEvent::Recorded(message)));
            }
        };
        let scheduled = async {
            let clock = self.simulator.clock();
            let mut seen_alerts = SeenAlerts { until: clock.now(), ids: BTreeSet::new() };
            // What was told before it was started is known.
            if let Err(error) = self.alerts(&mut seen_alerts).await {
                return error;
            }
            loop {
                clock.wait_until(clock.now().saturating_add(EVERY).unwrap_or(Timestamp::MAX)).await;
                let (watched, mirrored, listed) =
                    tokio::join!(self.watch_now(), self.mirror_now(), self.reconcile_now());
                if let Err(error) = watched.map(drop).and(mirrored.map(drop)).and(listed.map(drop)) {
                    return error;
                }
                match self.alerts(&mut seen_alerts).await {
                    Ok(alerts) => alerts.iter().for_each(|alert| on_event(LocalEvent::Alert(alert))),
                    Err(error) => return error,
                }
            }
        };
        tokio::select! {
            () = end => Ok(()),
            failure = self.simulator.run() => Err(failure.into()),
            () = delivering => Ok(()),
            error = scheduled => Err(error.into()),
        }
    }

    /// The alerts that were not told yet, oldest first.
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

    /// Starts `mirror` once, as its schedule does.
    ///
    /// # Errors
    /// When the table cannot be asked what is due.
    pub async fn mirror_now(&self) -> Result<MirrorSummary, store::Error> {
        let clock = self.simulator.clock();
        let until = clock.now().saturating_add(RUNS).unwrap_or(Timestamp::MAX);
        self.mirror.run(|| clock.now(), until).await
    }

    /// A client of the table's DynamoDB.
    pub async fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        self.embedded.client().await
    }

    /// Starts `watch` once, as its schedule does.
    ///
    /// # Errors
    /// When the table cannot be asked what is due.
    pub async fn watch_now(&self) -> Result<watch::WatchSummary, store::Error> {
        let clock = self.simulator.clock();
        let until = clock.now().saturating_add(RUNS).unwrap_or(Timestamp::MAX);
        self.watch.alert_dead_letters(self.simulator.queue_lengths().1 as u64, clock.now()).await?;
        self.watch.run(|| clock.now(), until).await
    }

    /// Starts `reconcile` once, as its schedule does.
    ///
    /// # Errors
    /// When the table cannot say which registries are due.
    pub async fn reconcile_now(&self) -> Result<reconcile::ReconcileSummary, store::Error> {
        let clock = self.simulator.clock();
        let until = clock.now().saturating_add(RUNS).unwrap_or(Timestamp::MAX);
        self.reconcile.run(|| clock.now(), until).await
    }

    /// Delivers all events that can be received now.
    pub async fn deliver_now(&self) {
        loop {
            let messages = self.simulator.receive_now(BATCH);
            if messages.is_empty() {
                return;
            }
            self.deliver(messages).await;
        }
    }

    /// Delivers one batch as Lambda does: what the function does not report as failed is deleted from the queue.
    async fn deliver(&self, mut messages: Vec<Message>) -> Vec<Message> {
        let mut batch = SqsEvent::default();
        batch.records.extend(messages.iter().map(|message| {
            let mut record = SqsMessage::default();
            record.message_id = Some(message.id.to_string());
            record.body = Some(message.body.clone());
            record
        }));
        let failed = record::handle(&self.table, batch).await.batch_item_failures;
        messages.retain(|message| failed.iter().all(|failure| failure.item_identifier != message.id.to_string()));
        self.simulator.delete(messages.iter().map(|message| message.id));
        messages
    }

    /// A client of one registry, for somebody who has assumed a role of its account.
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
        let arn = format!("arn:aws:iam::{}:role/{role}", registry.account());
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

    /// Stops answering, and lets go of the table.
    pub async fn close(self) {
        drop(self.end);
        // Requests under way are answered, or given up after two seconds.
        _ = tokio::time::timeout(Duration::from_secs(3), self.serving).await;
        self.embedded.close().await;
    }
}

/// The configuration of a client with the credentials of an account.
async fn account(endpoint: &str, account: &str, region: &str) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new().build_http();
    let loader = start::loader().http_client(http).endpoint_url(endpoint).region(Region::new(region.to_owned()));
    loader.credentials_provider(Credentials::new(account, "local", None, None, "local")).load().await
}
