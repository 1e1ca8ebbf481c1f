//! A Lambda function as a process, driven through the Runtime API.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::types::AttributeValue;
use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use domain::fact::WorkItem;
use sandbox::embedded::Embedded;
use serde_json::{Value, json};
use simulator::queue::TOPIC_NAME;
use store::Table;
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    sync::{Mutex, mpsc},
};

use crate::{Error, events, report::Report};

/// How often each function is started; the median of the cold starts is reported.
pub(crate) const STARTS: usize = 20;

/// Releases of six events each: how many are recorded while CPU time is measured, and how many before, to warm up.
const RELEASES: u32 = 500;
const WARM_UP: u32 = 50;

/// Events in a batch: SQS's default for Lambda.
const BATCH: usize = 10;

/// Batches per turn. With four turns, a machine that slows down affects both functions; each turn is long enough to
/// be warm.
const TURN: usize = 75;

/// The table of each function.
const TABLES: [&str; 2] = ["ours", "baseline"];

/// CA certificate bundles: Amazon Linux's path, and Debian's.
const CERTIFICATES: [&str; 2] = ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"];

/// A Lambda Runtime API that serves one function process.
struct Api {
    ready: mpsc::UnboundedSender<Instant>,
    invocations: Mutex<mpsc::UnboundedReceiver<String>>,
    answers: mpsc::UnboundedSender<Result<String, String>>,
}

/// A running function process.
pub(crate) struct Function {
    process: Child,
    invocations: mpsc::UnboundedSender<String>,
    answers: mpsc::UnboundedReceiver<Result<String, String>>,
}

impl Function {
    /// Starts a function and waits until it requests its first invocation; that duration is its cold start.
    pub(crate) async fn start(
        mut command: Command,
        table: &str,
        endpoint: &str,
        more: &[(&str, &str)],
    ) -> Result<(Self, Duration), Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let (ready, mut first) = mpsc::unbounded_channel();
        let (invocations, queue) = mpsc::unbounded_channel();
        let (answered, answers) = mpsc::unbounded_channel();
        let api = Arc::new(Api { ready, invocations: Mutex::new(queue), answers: answered });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(error))
            .with_state(api);
        tokio::spawn(axum::serve(listener, router).into_future());
        command
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .env("AWS_LAMBDA_FUNCTION_NAME", "record")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "log")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "log")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "111122223333")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
            // As in the deployed function: one bundle file instead of a directory of the same certificates.
            .env("SSL_CERT_FILE", CERTIFICATES.iter().find(|path| Path::new(path).exists()).unwrap_or(&""))
            .env("TABLE_NAME", table)
            .env("TOPIC_NAME", TOPIC_NAME)
            // Accounts of an organization would be proven by calls to SNS, which this machine does not have.
            .env("ACCOUNT_IDS", "111122223333,444455556666")
            .env("SNS_SIGNATURES", "ignore")
            .envs(more.iter().copied())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        let started = Instant::now();
        let process = command.spawn()?;
        let ready = tokio::time::timeout(Duration::from_secs(60), first.recv()).await?;
        let cold = ready.ok_or("the function never asked for an invocation")?.duration_since(started);
        Ok((Self { process, invocations, answers }, cold))
    }

    pub(crate) async fn invoke(&mut self, payload: String) -> Result<String, Error> {
        self.invocations.send(payload)?;
        let answer = tokio::time::timeout(Duration::from_secs(60), self.answers.recv()).await?;
        Ok(answer.ok_or("the function ended")??)
    }

    /// CPU time that all threads have used so far, user and system, in seconds.
    fn cpu_seconds(&self) -> Result<f64, Error> {
        cpu_seconds(&self.pid()?.to_string())
    }

    /// Peak resident memory, in MiB.
    pub(crate) fn peak_mebibytes(&self) -> Result<f64, Error> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/…/status")?;
        let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes / 1024.0)
    }

    fn pid(&self) -> Result<u32, Error> {
        self.process.id().ok_or_else(|| "the function ended".into())
    }
}

/// CPU time that all threads of a process have used so far, user and system, in seconds.
pub(crate) fn cpu_seconds(process: &str) -> Result<f64, Error> {
    let mut nanoseconds = 0.0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        // The time spent on a processor, in nanoseconds (the kernel's Documentation/scheduler/sched-stats.rst); the
        // times in `stat` are sampled a hundred times a second, too coarse for work of less than a millisecond.
        let schedstat = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        nanoseconds += schedstat.split_whitespace().next().unwrap_or_default().parse::<f64>()?;
    }
    Ok(nanoseconds / 1e9)
}

async fn next(State(api): State<Arc<Api>>) -> Response {
    _ = api.ready.send(Instant::now());
    let Some(payload) = api.invocations.lock().await.recv().await else {
        return ().into_response();
    };
    let headers = [
        ("content-type", "application/json"),
        ("lambda-runtime-aws-request-id", "00000000-0000-4000-8000-000000000000"),
        ("lambda-runtime-deadline-ms", "4102444800000"),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:111122223333:function:record"),
    ];
    (headers, payload).into_response()
}

async fn response(State(api): State<Arc<Api>>, body: String) -> Response {
    _ = api.answers.send(Ok(body));
    axum::http::StatusCode::ACCEPTED.into_response()
}

async fn error(State(api): State<Arc<Api>>, body: String) -> Response {
    eprintln!("the function failed: {body}");
    _ = api.answers.send(Err(body));
    axum::http::StatusCode::ACCEPTED.into_response()
}

/// Measures both functions and compares them. They take turns, so that other load on the machine affects both alike.
pub(crate) async fn compare(function: &Path, python: &Path, report: &mut Report) -> Result<(), Error> {
    let embedded = &Embedded::open(None).await?;
    let python = std::path::absolute(python)?;
    let ours = || Command::new(function);
    let baseline = || {
        let mut command = Command::new(&python);
        command.current_dir("benchmarks/baseline").args(["-m", "awslambdaric", "handler.handler"]);
        command
    };
    let (mut our_starts, mut their_starts) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        our_starts.push(Function::start(ours(), "none", &embedded.endpoint, &[]).await?.1);
        their_starts.push(Function::start(baseline(), "none", &embedded.endpoint, &[]).await?.1);
    }

    for table in TABLES {
        Table::new(embedded.client().await, table).create().await?;
    }
    let (mut one, _) = Function::start(ours(), "ours", &embedded.endpoint, &[]).await?;
    let (mut other, _) = Function::start(baseline(), "baseline", &embedded.endpoint, &[]).await?;
    let warm_up: Vec<_> = (0..WARM_UP).flat_map(events::release).collect();
    let measured: Vec<_> = (WARM_UP..WARM_UP + RELEASES).flat_map(events::release).collect();
    take_turns(&mut one, &mut other, &warm_up).await?;
    let before = (one.cpu_seconds()?, other.cpu_seconds()?);
    take_turns(&mut one, &mut other, &measured).await?;
    let used = (one.cpu_seconds()? - before.0, other.cpu_seconds()? - before.1);
    let peak = (one.peak_mebibytes()?, other.peak_mebibytes()?);
    lose(embedded, &mut one, &mut other).await?;
    if dump(embedded, "ours").await? != dump(embedded, "baseline").await? {
        return Err("the baseline left another table than the function: they do not do the same work".into());
    }

    #[expect(clippy::cast_precision_loss, reason = "a file of a few megabytes, some thousand events")]
    let (megabytes, events) = (std::fs::metadata(function)?.len() as f64 / 1e6, measured.len() as f64);
    report.alone("binary, stripped", "MB", megabytes, Some(8.0));
    report.beside("cold start, median of 20", "ms", median(our_starts), median(their_starts), 40.0);
    report.beside("peak memory", "MiB", peak.0, peak.1, 4.0);
    let milliseconds = |seconds: f64| seconds * 1e3 / events;
    let (ours, theirs) = (milliseconds(used.0), milliseconds(used.1));
    report.beside("CPU per event, warm, batches of 10", "ms", ours, theirs, 12.0);
    Ok(())
}

/// The median, in milliseconds.
pub(crate) fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e3
}

/// Sends the same batches to both functions.
async fn take_turns(one: &mut Function, other: &mut Function, events: &[Value]) -> Result<(), Error> {
    for turn in events.chunks(TURN * BATCH) {
        for function in [&mut *one, &mut *other] {
            for batch in turn.chunks(BATCH).map(events::batch) {
                let answer: Value = serde_json::from_str(&function.invoke(batch).await?)?;
                if answer.get("batchItemFailures") != Some(&json!([])) {
                    return Err(format!("a batch failed: {answer}").into());
                }
            }
        }
    }
    Ok(())
}

/// Sends deletions, and replications that arrive after them, to both functions. They are too rare to be measured, but
/// the resulting tables are compared.
async fn lose(embedded: &Embedded, one: &mut Function, other: &mut Function) -> Result<(), Error> {
    let lost: Vec<_> = (0..WARM_UP).flat_map(events::lose).collect();
    take_turns(one, other, &lost).await?;
    // Half of the losses are processed as `mirror` would: their table items show whether a late copy re-enqueues them.
    // The other half keep the work item that `record` enqueued.
    let (loss, until) = (WorkItem::SourceLost(events::SOURCE.parse()?), "2026-11-01T00:00:00Z".parse()?);
    for table in TABLES {
        let table = Table::new(embedded.client().await, table);
        for number in (0..WARM_UP).step_by(2) {
            let image = format!("team/app@{}", events::digest(number)).parse()?;
            table.claim(&image, &loss, until).await?;
            table.complete(&image, &loss, until).await?;
        }
    }
    let late: Vec<_> = (0..WARM_UP).map(events::late).collect();
    take_turns(one, other, &late).await
}

/// Every item of a table as text, sorted.
async fn dump(embedded: &Embedded, table: &str) -> Result<Vec<String>, Error> {
    let client = embedded.client().await;
    let mut pages = client.scan().table_name(table).into_paginator().items().send();
    let mut items = Vec::new();
    while let Some(item) = pages.next().await {
        items.push(text(&AttributeValue::M(item?)));
    }
    items.sort();
    Ok(items)
}

/// An attribute as text, with the keys of maps sorted.
fn text(value: &AttributeValue) -> String {
    match value {
        AttributeValue::M(fields) => {
            let fields: BTreeMap<_, _> = fields.iter().map(|(name, value)| (name, text(value))).collect();
            format!("{fields:?}")
        }
        other => format!("{other:?}"),
    }
}
