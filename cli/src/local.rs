//! `local`: registries, the queue, `record` and the table in one process, on one loopback port.

use std::{collections::BTreeSet, fmt::Write as _, io::Write as _, net::Ipv4Addr, path::PathBuf, time::Duration};

use anstyle::AnsiColor;
use aws::{
    registry::{Registries, Roles},
    start,
};
use aws_config::{Region, SdkConfig};
use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use aws_sdk_dynamodb::config::Credentials;
use domain::{
    alert::Alert,
    breaker::Limits,
    event,
    fact::{Fact, Subject},
    image::Registry,
};
use jiff::{SignedDuration, Timestamp};
use mirror::{Mirror, Mode, Summary};
use query::api::{Query, caller::Caller};
use reconcile::Reconcile;
use simulator::{Simulator, queue::Message, server, settings::Settings};
use store::Table;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use watch::Watch;

use crate::{
    embedded::Embedded,
    failure::Failure,
    options::LocalOptions,
    print::{self, HEADING, coloured, styled},
    serve,
    target::{EMBEDDED_NAME, user},
    webhook,
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
    pub limits: Limits,
}

/// What happens while everything runs.
#[derive(Debug)]
pub enum News<'a> {
    /// An event was recorded.
    Recorded(&'a Message),
    /// Somebody should know.
    Alert(&'a Alert),
}

/// The alerts of the last days that were told.
struct Told {
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
const HUB: &str = "999988887777";
const HUB_REGION: &str = "eu-west-1";

impl Local {
    /// Opens everything and answers requests. Nothing happens by itself yet: see [`Local::run`].
    ///
    /// # Errors
    /// When the port is taken, or the folder cannot be used.
    pub async fn start(settings: LocalSettings) -> Result<Self, Failure> {
        let LocalSettings { registries, now, speed, port, data, policy, mode, limits } = settings;
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|source| Failure::Port { port, source })?;
        let endpoint = format!("http://{}", listener.local_addr()?);
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
            serve::others(serve::on_loopback(query, Caller { name: Some(user()), may_change: true }, None))
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
    pub async fn run(&self, end: impl Future<Output = ()>, tell: impl Fn(News<'_>)) -> Result<(), Failure> {
        let delivering = async {
            loop {
                let messages = self.simulator.receive(BATCH).await;
                self.deliver(messages).await.iter().for_each(|message| tell(News::Recorded(message)));
            }
        };
        let scheduled = async {
            let clock = self.simulator.clock();
            let mut told = Told { until: clock.now(), ids: BTreeSet::new() };
            // What was told before it was started is known.
            if let Err(error) = self.alerts(&mut told).await {
                return error;
            }
            loop {
                clock.wait_until(clock.now().saturating_add(EVERY).unwrap_or(Timestamp::MAX)).await;
                let (watched, mirrored, listed) =
                    tokio::join!(self.watch_now(), self.mirror_now(), self.reconcile_now());
                if let Err(error) = watched.map(drop).and(mirrored.map(drop)).and(listed.map(drop)) {
                    return error;
                }
                match self.alerts(&mut told).await {
                    Ok(alerts) => alerts.iter().for_each(|alert| tell(News::Alert(alert))),
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
    async fn alerts(&self, told: &mut Told) -> Result<Vec<Alert>, store::Error> {
        let (now, day) = (self.simulator.clock().now(), SignedDuration::from_hours(24));
        let mut alerts = Vec::new();
        let mut at = told.until.saturating_sub(day).unwrap_or(told.until);
        while at.duration_since(now) < day {
            alerts.extend(self.table.alerts(at).await?);
            at = at.saturating_add(day).unwrap_or(Timestamp::MAX);
        }
        let ids = alerts.iter().map(|alert| alert.id.clone()).collect();
        alerts.retain(|alert| !told.ids.contains(&alert.id));
        alerts.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        *told = Told { until: now, ids };
        Ok(alerts)
    }

    /// Starts `mirror` once, as its schedule does.
    ///
    /// # Errors
    /// When the table cannot be asked what is due.
    pub async fn mirror_now(&self) -> Result<Summary, store::Error> {
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
    pub async fn watch_now(&self) -> Result<watch::Summary, store::Error> {
        let clock = self.simulator.clock();
        let until = clock.now().saturating_add(RUNS).unwrap_or(Timestamp::MAX);
        self.watch.tell_dead_letters(self.simulator.queue_lengths().1 as u64, clock.now()).await?;
        self.watch.run(|| clock.now(), until).await
    }

    /// Starts `reconcile` once, as its schedule does.
    ///
    /// # Errors
    /// When the table cannot say which registries are due.
    pub async fn reconcile_now(&self) -> Result<reconcile::Summary, store::Error> {
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
        somebody: &str,
    ) -> Result<aws_sdk_ecr::Client, Failure> {
        let config = account(&self.endpoint, registry.account(), registry.region()).await;
        let arn = format!("arn:aws:iam::{}:role/{role}", registry.account());
        let assume = aws_sdk_sts::Client::new(&config).assume_role().role_arn(arn).role_session_name(somebody);
        let assumed = assume.send().await.map_err(|error| Failure::Role(error.into()))?;
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

/// Runs everything until Ctrl-C, telling what happens.
///
/// # Errors
/// As [`Local::start`] and [`Local::run`].
pub async fn serve(options: &LocalOptions) -> Result<(), Failure> {
    // Here a person waits: better now than as an alert in the table.
    decide::load_policy(options.policy.as_deref())?;
    let local = Local::start(settings(options)).await?;
    let interrupted = interrupted()?;
    say(&welcome(&local.endpoint, options));
    let (bodies, to_send) = mpsc::unbounded_channel();
    let sending = options.webhook.clone().map(|url| {
        let fail = |why: &str| say(&format!("  {}\n", coloured(AnsiColor::Red, format!("! {why}"))));
        tokio::spawn(webhook::send(url, to_send, fail))
    });
    let tell = |news: News<'_>| match news {
        News::Recorded(message) => say(&told(message)),
        News::Alert(alert) => {
            say(&print::alert(alert));
            // Nobody wants them without a webhook.
            _ = bodies.send(webhook::body(alert, HUB, HUB_REGION));
        }
    };
    let ended = local.run(interrupted, tell).await;
    drop(bodies);
    if let Some(sending) = sending {
        _ = tokio::time::timeout(Duration::from_secs(3), sending).await;
    }
    let (waiting, dead) = local.simulator.queue_lengths();
    local.close().await;
    if waiting > 0 && options.data.is_none() {
        say(&format!("\n{waiting} events were not recorded yet and are forgotten\n"));
    }
    if dead > 0 {
        say(&format!("\n{dead} events are among the dead letters\n"));
    }
    ended
}

fn settings(options: &LocalOptions) -> LocalSettings {
    let mut registries = Settings { trouble: options.trouble.clone(), seed: options.seed, ..Settings::default() };
    for (registry, lag) in &options.lag {
        match registry {
            Some(registry) => _ = registries.lags.insert(registry.clone(), *lag),
            None => registries.lag = *lag,
        }
    }
    let answers: serde_json::Map<_, _> =
        options.unconfirmed.iter().map(|(name, answer)| (name.clone(), (*answer).into())).collect();
    // Each answer was read when it was parsed.
    registries.unconfirmed = serde_json::from_value(answers.into()).unwrap_or_default();
    let (now, speed) = (Timestamp::now(), options.speed);
    let (port, data, policy) = (options.port, options.data.clone(), options.policy.clone());
    let mode = if options.enforce { Mode::Enforce } else { Mode::Observe };
    LocalSettings { registries, now, speed, port, data, policy, mode, limits: Limits::default() }
}

/// Listens for Ctrl-C, or for being asked to end, from now on; the future waits for it.
#[cfg(unix)]
pub(crate) fn interrupted() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupted, mut ended) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = ended.recv() => {}
        }
    })
}

/// Listens for Ctrl-C from now on; the future waits for it.
#[cfg(windows)]
pub(crate) fn interrupted() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupted = tokio::signal::windows::ctrl_c()?;
    Ok(async move { _ = interrupted.recv().await })
}

/// A manifest as short as it can be.
const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;

/// What to know, and what to try: commands that work as they are.
fn welcome(endpoint: &str, options: &LocalOptions) -> String {
    let mut text = format!("{} {endpoint}  (Ctrl-C stops)\n\n", styled(HEADING, "ECR, STS and DynamoDB at"));
    let mut line = |name: &str, value: &str| _ = writeln!(text, "  {name:<9} {value}");
    line("page", &format!("{endpoint}/"));
    match &options.data {
        Some(folder) => line("kept in", &folder.display().to_string()),
        None => line("kept", "not at all: everything is forgotten in the end (`--data DIR` keeps it)"),
    }
    match options.speed {
        0.0 => line("clock", &format!("stands; `curl -d '{{\"seconds\": 60}}' {endpoint}/_simulator/step` moves it")),
        1.0 => line("clock", "as fast as the wall's"),
        speed => line("clock", &format!("{speed} times as fast as the wall's")),
    }
    let policy = options.policy.as_ref().map(|file| file.display().to_string());
    match (policy, options.enforce) {
        (None, _) => line("mirror", "keeps every replica (`--policy FILE` says which may follow their sources)"),
        (Some(policy), false) => {
            line("mirror", &format!("asks {policy} and touches nothing (`--enforce` does what it permits)"));
        }
        (Some(policy), true) => line("mirror", &format!("does what {policy} permits, each minute")),
    }
    if let Some(url) = &options.webhook {
        line("alerts", &format!("are sent to {url} as well"));
    }
    if options.trouble != simulator::trouble::Trouble::default() {
        line("trouble", &format!("{} (seed {})", options.trouble, options.seed));
    }
    let try_it = [
        "# The access key is the account: any 12 digits are one.",
        &format!(
            "export AWS_ENDPOINT_URL={endpoint} AWS_ACCESS_KEY_ID=111122223333 AWS_SECRET_ACCESS_KEY=local AWS_REGION=eu-west-1 AWS_DEFAULT_REGION=eu-west-1"
        ),
        r#"aws ecr put-replication-configuration --replication-configuration '{"rules":[{"destinations":[{"region":"us-east-1","registryId":"111122223333"}]}]}'"#,
        "aws ecr create-repository --repository-name team/app",
        &format!("aws ecr put-image --repository-name team/app --image-tag v1 --image-manifest '{MANIFEST}'"),
        "aws ecr describe-image-replication-status --repository-name team/app --image-id imageTag=v1",
        "ecr-lineage --table ecr-lineage show team/app:v1",
        "aws ecr batch-delete-image --repository-name team/app --image-ids imageTag=v1",
        "ecr-lineage --table ecr-lineage orphans",
        "ecr-lineage --table ecr-lineage deletions --kept --pending",
    ];
    _ = writeln!(text, "\n{}\n", styled(HEADING, "To try, in another terminal:"));
    for command in try_it {
        _ = writeln!(text, "  {command}");
    }
    _ = writeln!(text, "\n{}", styled(HEADING, "What is recorded, and told:"));
    text
}

/// An event in words: one line for each fact.
fn told(message: &Message) -> String {
    let facts = event::read(message.body.as_bytes()).map(|event| event.facts).unwrap_or_default();
    facts.iter().map(line).collect()
}

fn line(fact: &Fact) -> String {
    let subject = match &fact.subject {
        Subject::Image(image) => format!("{}@{}", image.repository, image.digest.short()),
        Subject::Repository(repository) => repository.to_string(),
        Subject::Registry => String::new(),
    };
    format!("  {}  {}  {subject} {}\n", print::time(fact.time), fact.registry, print::happened(fact))
}

/// Prints to whoever still listens.
pub(crate) fn say(text: &str) {
    let mut out = anstream::stdout().lock();
    _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
