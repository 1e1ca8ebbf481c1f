//! The release build of `record` under AWS's own Lambda runtime interface emulator: the contract between a function and
//! Lambda, held by a program that nobody here wrote. <https://github.com/aws/aws-lambda-runtime-interface-emulator>
//!
//! `RECORD_FUNCTION` names the build and `LAMBDA_RIE` the emulator; `.ci/run` sets both.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by panicking")]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use aws::table::Table;
use cli::embedded::Embedded;
use serde_json::{Value, json};

/// The emulator with the function in it.
struct Lambda {
    process: Child,
    port: u16,
}

impl Lambda {
    fn start(endpoint: &str) -> Self {
        let function = std::env::var("RECORD_FUNCTION").unwrap();
        let emulator = std::env::var("LAMBDA_RIE").unwrap();
        let port = free_port();
        let mut command = Command::new(emulator);
        command
            .args(["--runtime-interface-emulator-address", &format!("127.0.0.1:{port}")])
            .args(["--runtime-api-address", &format!("127.0.0.1:{}", free_port()), &function])
            .env("AWS_LAMBDA_FUNCTION_TIMEOUT", "20")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "111122223333")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
            .env("TABLE_NAME", "lineage")
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let lambda = Self { process: command.spawn().unwrap(), port };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the emulator does not listen");
            thread::sleep(Duration::from_millis(50));
        }
        lambda
    }

    fn invoke(&self, payload: &Value) -> Value {
        let payload = payload.to_string();
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        write!(
            connection,
            "POST /2015-03-31/functions/function/invocations HTTP/1.1\r\nHost: lambda\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{payload}",
            payload.len()
        )
        .unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body.trim()).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// Asks it to end as Lambda does, and returns what it printed.
    fn end(mut self) -> String {
        let mut out = self.process.stdout.take().unwrap();
        let reader = thread::spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).unwrap();
            text
        });
        let asked = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status().unwrap();
        assert!(asked.success());
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.process.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it does not end when asked to");
            thread::sleep(Duration::from_millis(50));
        }
        reader.join().unwrap()
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn batch(bodies: &[(&str, String)]) -> Value {
    let record = |(id, body): &(&str, String)| json!({"messageId": id, "eventSource": "aws:sqs", "body": body});
    json!({"Records": bodies.iter().map(record).collect::<Vec<_>>()})
}

fn sample(name: &str) -> String {
    std::fs::read_to_string(format!("{}/fixtures/events/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_release_build_speaks_lambdas_contract() {
    let embedded = Embedded::open(None).await.unwrap();
    let table = Table::new(embedded.client().await, "lineage");
    table.create().await.unwrap();
    let endpoint = embedded.endpoint.clone();
    let lambda = tokio::task::spawn_blocking(move || {
        let lambda = Lambda::start(&endpoint);
        let good =
            batch(&[("good", sample("push.json")), ("poison", "poison".into()), ("also", sample("delete.json"))]);
        assert_eq!(lambda.invoke(&good), json!({"batchItemFailures": [{"itemIdentifier": "poison"}]}));
        // Not a batch at all: the invocation fails with an error that says so, and the function lives on.
        let error = lambda.invoke(&json!({"Records": 5}));
        assert!(error["errorType"].is_string() && error["errorMessage"].is_string(), "{error}");
        let again = batch(&[("again", sample("push.json"))]);
        assert_eq!(lambda.invoke(&again), json!({"batchItemFailures": []}));
        lambda
    });
    let lambda = lambda.await.unwrap();
    let image = "my-repository-name@sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd1234";
    assert_eq!(table.lineage(&image.parse().unwrap()).await.unwrap().facts.len(), 2);

    let printed = lambda.end();
    let lines: Vec<Value> = printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let rejected = lines.iter().find(|line| line["message.id"] == "poison").unwrap_or_else(|| panic!("{printed}"));
    assert_eq!(rejected["level"], "ERROR");
    assert!(rejected["error"].as_str().unwrap().starts_with("not a JSON document: "), "{rejected}");
    let metric = |name: &str| lines.iter().find(|line| line["_aws"].is_object() && !line[name].is_null());
    assert_eq!(metric("Rejects").unwrap_or_else(|| panic!("{printed}"))["Rejects"], 1);
    let events = metric("Events").unwrap_or_else(|| panic!("{printed}"));
    assert_eq!(events["_aws"]["CloudWatchMetrics"][0]["Namespace"], "ecr-lineage");
    assert_eq!(events["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["Kind"]]));
}
