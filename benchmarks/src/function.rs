//! A Lambda function as a process, driven through the Runtime API.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use aws::table::Table;
use aws_sdk_dynamodb::types::AttributeValue;
use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use cli::embedded::Embedded;
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    sync::{Mutex, mpsc},
};

use crate::{Error, events, report::Report};

/// How often each function is started; the median counts.
const STARTS: usize = 20;

/// Releases of six events each that are recorded while CPU is measured, and before, to warm up.
const RELEASES: u32 = 500;
const WARM_UP: u32 = 50;

/// Events in a batch: SQS's default for Lambda.
const BATCH: usize = 10;

/// Amazon Linux's certificates, and Debian's.
const CERTIFICATES: [&str; 2] = ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"];

/// The Runtime API as a function sees it.
struct Api {
    ready: mpsc::UnboundedSender<Instant>,
    invocations: Mutex<mpsc::UnboundedReceiver<String>>,
    answers: mpsc::UnboundedSender<Result<String, String>>,
}

/// A running function.
struct Function {
    process: Child,
    invocations: mpsc::UnboundedSender<String>,
    answers: mpsc::UnboundedReceiver<Result<String, String>>,
}

impl Function {
    /// Starts a function, and waits until it asks for its first invocation: its cold start.
    async fn start(mut command: Command, table: &str, endpoint: &str) -> Result<(Self, Duration), Error> {
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
            // As the deployed function has it: one bundle of certificates instead of a folder with the same again.
            .env("SSL_CERT_FILE", CERTIFICATES.iter().find(|path| Path::new(path).exists()).unwrap_or(&""))
            .env("TABLE_NAME", table)
            .stdout(Stdio::null())
            .kill_on_drop(true);
        let started = Instant::now();
        let process = command.spawn()?;
        let ready = tokio::time::timeout(Duration::from_secs(60), first.recv()).await?;
        let cold = ready.ok_or("the function never asked for an invocation")?.duration_since(started);
        Ok((Self { process, invocations, answers }, cold))
    }

    async fn invoke(&mut self, payload: String) -> Result<String, Error> {
        self.invocations.send(payload)?;
        let answer = tokio::time::timeout(Duration::from_secs(60), self.answers.recv()).await?;
        Ok(answer.ok_or("the function ended")??)
    }

    /// CPU time used so far, user and system, in seconds.
    fn cpu_seconds(&self) -> Result<f64, Error> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()?))?;
        // The fields after the name, which is in parentheses: user and system time are the 12th and 13th of them, in
        // hundredths of a second (proc(5), `USER_HZ`).
        let fields = stat.rsplit_once(')').ok_or("no name in /proc/…/stat")?.1;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
        Ok(ticks / 100.0)
    }

    /// The most memory resident at once, in MiB.
    fn peak_mebibytes(&self) -> Result<f64, Error> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/…/status")?;
        let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes / 1024.0)
    }

    fn pid(&self) -> Result<u32, Error> {
        self.process.id().ok_or_else(|| "the function ended".into())
    }
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

/// What one function needed.
struct Measured {
    cold_milliseconds: f64,
    peak_mebibytes: f64,
    cpu_milliseconds: f64,
}

/// Measures both functions and compares them.
pub(crate) async fn compare(
    function: &Path,
    python: &Path,
    embedded: &Embedded,
    report: &mut Report,
) -> Result<(), Error> {
    let python = std::path::absolute(python)?;
    let ours = || Command::new(function);
    let baseline = || {
        let mut command = Command::new(&python);
        command.current_dir("benchmarks/baseline").args(["-m", "awslambdaric", "handler.handler"]);
        command
    };
    // In turns, so that whatever else the machine does hits both alike.
    let (mut our_starts, mut their_starts) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        our_starts.push(Function::start(ours(), "none", &embedded.endpoint).await?.1);
        their_starts.push(Function::start(baseline(), "none", &embedded.endpoint).await?.1);
    }
    let one = drive(ours(), "ours", embedded, our_starts).await?;
    let other = drive(baseline(), "baseline", embedded, their_starts).await?;
    if dump(embedded, "ours").await? != dump(embedded, "baseline").await? {
        return Err("the baseline left another table than the function: they do not do the same work".into());
    }
    #[expect(clippy::cast_precision_loss, reason = "a file of a few megabytes")]
    let megabytes = std::fs::metadata(function)?.len() as f64 / 1e6;
    report.alone("binary, stripped", "MB", megabytes, Some(8.0));
    report.beside("cold start, median of 20", "ms", one.cold_milliseconds, other.cold_milliseconds, 40.0);
    report.beside("peak memory", "MiB", one.peak_mebibytes, other.peak_mebibytes, 4.0);
    report.beside("CPU per event, warm, batches of 10", "ms", one.cpu_milliseconds, other.cpu_milliseconds, 10.0);
    Ok(())
}

/// Runs a function over the same releases on a table of its own.
async fn drive(
    command: Command,
    table: &str,
    embedded: &Embedded,
    mut starts: Vec<Duration>,
) -> Result<Measured, Error> {
    Table::new(embedded.client().await, table).create().await?;
    let (mut function, _) = Function::start(command, table, &embedded.endpoint).await?;
    let events: Vec<_> = (0..WARM_UP + RELEASES).flat_map(events::release).collect();
    let (warm_up, measured) = events.split_at(WARM_UP as usize * 6);
    let mut before = 0.0;
    for (part, events) in [(0, warm_up), (1, measured)] {
        if part == 1 {
            before = function.cpu_seconds()?;
        }
        for batch in events.chunks(BATCH) {
            let answer: serde_json::Value = serde_json::from_str(&function.invoke(events::batch(batch)).await?)?;
            if answer.get("batchItemFailures") != Some(&serde_json::json!([])) {
                return Err(format!("{table} failed: {answer}").into());
            }
        }
    }
    starts.sort();
    #[expect(clippy::cast_precision_loss, reason = "a few thousand events")]
    let count = measured.len() as f64;
    Ok(Measured {
        cold_milliseconds: starts.get(starts.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e3,
        peak_mebibytes: function.peak_mebibytes()?,
        cpu_milliseconds: (function.cpu_seconds()? - before) * 1e3 / count,
    })
}

/// Everything in a table, in an order.
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

/// An attribute as text; maps have no order of their own.
fn text(value: &AttributeValue) -> String {
    match value {
        AttributeValue::M(fields) => {
            let fields: BTreeMap<_, _> = fields.iter().map(|(name, value)| (name, text(value))).collect();
            format!("{fields:?}")
        }
        other => format!("{other:?}"),
    }
}
