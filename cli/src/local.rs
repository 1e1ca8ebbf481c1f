//! `local`: registries, the queue, the functions and the table in one process, on one loopback port.

use std::{fmt::Write as _, io::Write as _, time::Duration};

use anstyle::AnsiColor;
use domain::{
    alert::PublishedEvent,
    breaker::BreakerLimits,
    event::notification::{self, Content},
    fact::{Fact, Subject},
    plan::Mode,
};
use jiff::{SignedDuration, Timestamp};
use sandbox::{
    local::{HUB, HUB_REGION, Local, LocalEvent, LocalSettings},
    sample,
};
use simulator::{
    queue::{Backlog, Message},
    settings::Settings,
};
use tokio::sync::mpsc;

use crate::{
    failure::CliError,
    options::LocalOptions,
    print::{self, HEADING, coloured, styled},
    webhook,
};

/// Runs the system until Ctrl-C, and prints each recorded event and alert.
///
/// # Errors
/// As [`Local::start`] and [`Local::run`].
pub async fn serve(options: &LocalOptions) -> Result<(), CliError> {
    // Fail now on an invalid policy, instead of raising an alert in the table.
    decide::load_policy(options.policy.as_deref())?;
    let mut local = Local::start(settings(options)).await?;
    if options.sample {
        sample::fill(&mut local, Timestamp::now(), options.policy.is_some()).await?;
    }
    let interrupted = interrupted()?;
    say(&welcome(&local.endpoint, options));
    let page = local.endpoint.parse().ok();
    let (bodies, to_send) = mpsc::unbounded_channel();
    let sending = options.webhook.clone().map(|url| {
        let fail = |why: &str| say(&format!("  {}\n", coloured(AnsiColor::Red, format!("! {why}"))));
        tokio::spawn(webhook::send(url, to_send, fail))
    });
    let print_event = |event: LocalEvent<'_>| match event {
        LocalEvent::Recorded(message) => say(&recorded_line(message)),
        LocalEvent::Alert(alert) => {
            say(&print::alerts::alert(alert));
            // Without a webhook the channel has no receiver, and the send fails.
            let published = PublishedEvent::Alert(alert.clone());
            _ = bodies.send(webhook::body(&published, (HUB, HUB_REGION), page.as_ref()));
        }
        LocalEvent::Backlog(backlog) => say(&backlog_line(backlog)),
    };
    let ended = local.run(interrupted, print_event).await;
    drop(bodies);
    if let Some(sending) = sending {
        _ = tokio::time::timeout(Duration::from_secs(3), sending).await;
    }
    let (waiting, dead) = local.simulator.queue_lengths();
    local.close().await;
    if waiting > 0 && options.data.is_none() {
        say(&format!("\n{waiting} events were not recorded yet and are lost\n"));
    }
    if dead > 0 {
        say(&format!("\n{dead} events are in the dead-letter queue\n"));
    }
    Ok(ended?)
}

fn settings(options: &LocalOptions) -> LocalSettings {
    let mut registries = Settings {
        trouble: options.trouble.clone(),
        seed: options.seed,
        put_image_requires_layers: options.require_layers,
        ..Settings::default()
    };
    for (registry, lag) in &options.lag {
        match registry {
            Some(registry) => _ = registries.lags.insert(registry.clone(), *lag),
            None => registries.lag = *lag,
        }
    }
    let answers: serde_json::Map<_, _> =
        options.unconfirmed.iter().map(|(name, answer)| (name.clone(), (*answer).into())).collect();
    // The option's parser already validated each name and value.
    registries.unconfirmed = serde_json::from_value(answers.into()).unwrap_or_default();
    let past = if options.sample { sample::SAMPLE_TIME } else { SignedDuration::ZERO };
    let (now, speed) = (Timestamp::now() - past, options.speed);
    let (port, data, policy) = (options.port, options.data.clone(), options.policy.clone());
    let mode = if options.enforce { Mode::Enforce } else { Mode::Observe };
    LocalSettings {
        registries,
        now,
        speed,
        port,
        data,
        policy,
        mode,
        limits: BreakerLimits::default(),
        heartbeats: true,
    }
}

/// Starts to listen for SIGINT (Ctrl-C) and SIGTERM; the future waits for either.
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

/// Starts to listen for Ctrl-C; the future waits for it.
#[cfg(windows)]
pub(crate) fn interrupted() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupted = tokio::signal::windows::ctrl_c()?;
    Ok(async move { _ = interrupted.recv().await })
}

/// The greeting: settings, and commands to try that work unchanged.
fn welcome(endpoint: &str, options: &LocalOptions) -> String {
    let mut text = format!("{} {endpoint}  (Ctrl-C stops)\n\n", styled(HEADING, "ECR, STS and DynamoDB listen on"));
    let mut line = |name: &str, value: &str| _ = writeln!(text, "  {name:<9} {value}");
    line("page", &format!("{endpoint}/"));
    match &options.data {
        Some(folder) => line("storage", &folder.display().to_string()),
        None => line("storage", "in memory (`--data DIR` stores it)"),
    }
    match options.speed {
        0.0 => {
            line("clock", "stopped; this moves it by 60 seconds:");
            line("", &format!("curl -d '{{\"seconds\": 60}}' {endpoint}/_simulator/step"));
        }
        1.0 => line("clock", "real time"),
        speed => line("clock", &format!("{speed} times real time")),
    }
    let policy = options.policy.as_ref().map(|file| file.display().to_string());
    match (policy, options.enforce) {
        (None, _) if options.sample => line("mirror", "observes: evaluates the sample's policy, deletes nothing"),
        (None, _) => line("mirror", "keeps every replica (`--policy FILE` permits deletions)"),
        (Some(policy), false) => {
            line("mirror", &format!("observes: evaluates {policy}, deletes nothing (`--enforce` deletes)"));
        }
        (Some(policy), true) => line("mirror", &format!("enforces {policy} every minute")),
    }
    if let Some(url) = &options.webhook {
        line("alerts", &format!("are also sent to {url}"));
    }
    if options.trouble != simulator::trouble::Trouble::default() {
        line("faults", &format!("{} (seed {})", options.trouble, options.seed));
    }
    _ = writeln!(text, "\n{}\n", styled(HEADING, "Try this in another terminal:"));
    for command in tour(endpoint, options) {
        _ = writeln!(text, "  {command}");
    }
    _ = writeln!(text, "\n{}", styled(HEADING, "Event log:"));
    text
}

/// A minimal image manifest.
const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;

/// Its digest.
const DIGEST: &str = "sha256:f20c43161d73848408ef247f0ec7111b19fe58ffebc0cbcaa0d2c8bda4967268";

/// Commands to try, one after the other: each has an answer at once, whether or not the clock moves.
fn tour(endpoint: &str, options: &LocalOptions) -> Vec<String> {
    let ours = |command: &str| format!("ecr-lineage --table ecr-lineage {command}");
    let mut lines = vec![
        "# The access key ID is the account: any 12 digits.".to_owned(),
        format!(
            "export AWS_ENDPOINT_URL={endpoint} AWS_ACCESS_KEY_ID=111122223333 AWS_SECRET_ACCESS_KEY=local AWS_REGION=eu-west-1 AWS_DEFAULT_REGION=eu-west-1"
        ),
    ];
    if options.sample {
        let looks = ["alerts", "orphans", "deletions --kept --pending", "show shop/api:v1.2.0", "lag"];
        lines.extend(looks.map(ours));
        return lines;
    }
    let copied = match options.speed {
        0.0 => format!("curl -sS -d '{{\"seconds\": 60}}' {endpoint}/_simulator/step"),
        _ => ours("wait team/app:v1 --in us-east-1"),
    };
    lines.extend([
        r#"aws ecr put-replication-configuration --replication-configuration '{"rules":[{"destinations":[{"region":"us-east-1","registryId":"111122223333"}]}]}'"#.to_owned(),
        "aws ecr create-repository --repository-name team/app".to_owned(),
        format!("aws ecr put-image --repository-name team/app --image-tag v1 --image-manifest '{MANIFEST}'"),
        "aws ecr describe-image-replication-status --repository-name team/app --image-id imageTag=v1".to_owned(),
        copied,
        ours("show team/app:v1"),
        format!("aws ecr batch-delete-image --repository-name team/app --image-ids imageDigest={DIGEST}"),
        ours("show team/app:v1"),
        ours("orphans"),
    ]);
    lines
}

/// An event as text: one line for each fact.
fn recorded_line(message: &Message) -> String {
    match notification::read(message.body.as_bytes()).map(|notification| notification.content) {
        Ok(Content::Event(event)) => event.facts.iter().map(line).collect(),
        _ => String::new(),
    }
}

/// How many events wait, and since when.
fn backlog_line(backlog: Backlog) -> String {
    match backlog.since {
        None => "  all events are recorded\n".to_owned(),
        Some(since) => {
            format!("  {} events wait to be recorded, the oldest since {}\n", backlog.receivable, print::time(since))
        }
    }
}

fn line(fact: &Fact) -> String {
    let subject = match &fact.subject {
        Subject::Image(image) => format!("{}@{}", image.repository, image.digest.short()),
        Subject::Repository(repository) => repository.to_string(),
        Subject::Registry => String::new(),
    };
    format!("  {}  {}  {subject} {}\n", print::time(fact.time), fact.registry, print::answer::fact_text(fact))
}

/// Prints to standard output; a closed output is ignored.
pub(crate) fn say(text: &str) {
    let mut out = anstream::stdout().lock();
    _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
