//! The release builds of the functions under AWS's own Lambda runtime interface emulator: they keep the contract
//! between a function and Lambda, as AWS's program implements it. Each function gets a valid event, an invalid one
//! (except scheduled functions, which accept any event), and SIGTERM.
//! <https://github.com/aws/aws-lambda-runtime-interface-emulator>
//!
//! `RECORD_FUNCTION`, `MIRROR_FUNCTION`, `ALERT_FUNCTION`, `WATCH_FUNCTION`, `RECONCILE_FUNCTION` and `QUERY_FUNCTION`
//! are the paths of the builds, `LAMBDA_RIE` that of the emulator; `just runtime-contract` sets them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects by panicking"
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use domain::alert::{Alert, AlertKind};
use jiff::{SignedDuration, Timestamp};
use sandbox::{
    embedded::Embedded,
    local::{Local, LocalSettings},
};
use serde_json::{Value, json};
use simulator::{
    ApiCaller,
    queue::{TOPIC_NAME, notification},
    settings::Lag,
};
use store::Table;

/// The emulator process, which runs the function.
struct Lambda {
    process: Child,
    port: u16,
}

impl Lambda {
    fn start(function: &str, endpoint: &str, environment: &[(&str, &str)]) -> Self {
        let function = std::env::var(function).unwrap();
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
            .env("AWS_ENDPOINT_URL", endpoint)
            .envs(environment.iter().copied())
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
        // HTTP 1.0: a long answer then comes in one piece, not in chunks.
        write!(
            connection,
            "POST /2015-03-31/functions/function/invocations HTTP/1.0\r\nHost: lambda\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{payload}",
            payload.len()
        )
        .unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body.trim()).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// Stops it as Lambda does, with SIGTERM, and returns its output.
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

/// An event of AWS's samples, in a message of its registry's topic.
fn sample(name: &str) -> String {
    let text = std::fs::read_to_string(format!("{}/fixtures/events/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    notification(&serde_json::from_str(&text).unwrap(), "dc1e94d9-56c5-5e96-808d-cc7f68faa162", Timestamp::now())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_release_build_speaks_lambdas_contract() {
    let embedded = Embedded::open(None).await.unwrap();
    let table = Table::new(embedded.client().await, "lineage");
    table.create().await.unwrap();
    let endpoint = embedded.endpoint.clone();
    let lambda = tokio::task::spawn_blocking(move || {
        let topics = [("TOPIC_NAME", TOPIC_NAME), ("ACCOUNT_IDS", "123456789012"), ("SNS_SIGNATURES", "ignore")];
        let environment = [&topics[..], &[("TABLE_NAME", "lineage")]].concat();
        let lambda = Lambda::start("RECORD_FUNCTION", &endpoint, &environment);
        let good =
            batch(&[("good", sample("push.json")), ("poison", "poison".into()), ("also", sample("delete.json"))]);
        assert_eq!(lambda.invoke(&good), json!({"batchItemFailures": [{"itemIdentifier": "poison"}]}));
        // Not a batch: the invocation fails with an error message, and the function continues to run.
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

/// Registries with a past start time: Ireland replicates an image to Virginia, or the replication fails.
async fn registries(ago: SignedDuration, fails: bool) -> Local {
    let mut settings = LocalSettings { now: Timestamp::now() - ago, ..LocalSettings::default() };
    settings.registries.lag = Lag::exactly(SignedDuration::from_secs(1));
    settings.registries.trouble.failed = if fails { 1.0 } else { 0.0 };
    let local = Local::start(settings).await.unwrap();
    let manifest =
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"size": 1}}).to_string();
    call(&local, "CreateRepository", json!({}));
    let rules = json!({"rules": [{"destinations": [{"region": "us-east-1", "registryId": "111122223333"}]}]});
    call(&local, "PutReplicationConfiguration", json!({"replicationConfiguration": rules}));
    call(&local, "PutImage", json!({"imageManifest": manifest, "imageTag": "v1"}));
    local.simulator.step(Duration::from_secs(5));
    local
}

fn call(local: &Local, operation: &str, mut body: Value) {
    body["repositoryName"] = json!("team/app");
    let caller = ApiCaller {
        account: "111122223333".into(),
        region: "eu-west-1".into(),
        arn: "arn:aws:iam::111122223333:user/dana".into(),
    };
    local.simulator.call(&caller, operation, body.to_string().as_bytes()).unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_release_build_of_mirror_deletes_what_is_due() {
    let local = registries(SignedDuration::ZERO, false).await;
    assert_eq!(local.simulator.held().len(), 2);
    call(&local, "BatchDeleteImage", json!({"imageIds": [{"imageTag": "v1"}]}));
    local.deliver_now().await;

    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("at-once.cedar");
    std::fs::write(&policy, r#"@id("at-once") @grace("0s") permit (principal, action, resource);"#).unwrap();
    let (endpoint, policy) = (local.endpoint.clone(), policy.display().to_string());
    let printed = tokio::task::spawn_blocking(move || {
        let roles = [("READ_ROLE", "reader"), ("DELETE_ROLE", "deleter"), ("MODE", "enforce")];
        let table = [("TABLE_NAME", "ecr-lineage"), ("POLICY_FILE", policy.as_str())];
        let environment = [roles.as_slice(), &table].concat();
        let lambda = Lambda::start("MIRROR_FUNCTION", &endpoint, &environment);
        // The function uses the machine's clock, which is a few seconds behind the simulated one.
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let summary = lambda.invoke(&json!({}));
            assert_eq!(summary["failures"], 0, "{summary}");
            if summary["by_status"]["done"] == 1 {
                return lambda.end();
            }
            assert!(Instant::now() < deadline, "{summary}");
            thread::sleep(Duration::from_millis(500));
        }
    });
    let printed = printed.await.unwrap();
    assert!(local.simulator.held().is_empty());
    assert!(printed.contains("\"Deletions\""), "{printed}");
}

/// Accepts one call of an operation, answers it, and sends the request's body to the receiver.
fn answer_one(listener: TcpListener, operation: &'static str, answer: Value) -> mpsc::Receiver<Value> {
    let (tell, notified) = mpsc::channel();
    thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(connection.try_clone().unwrap());
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            match line.to_lowercase().trim().split_once(": ") {
                Some(("content-length", bytes)) => length = bytes.parse().unwrap(),
                Some(("x-amz-target", target)) => assert_eq!(target, operation.to_lowercase()),
                _ if line.trim().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let answer = answer.to_string();
        write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len()).unwrap();
        tell.send(serde_json::from_slice(&body).unwrap()).unwrap();
    });
    notified
}

#[test]
fn the_release_build_of_alert_publishes_a_record_of_the_stream() {
    let now: Timestamp = "2026-11-02T10:00:00Z".parse().unwrap();
    let alert = Alert::notice(AlertKind::BreakerOpened, "111122223333/eu-west-1", "too much at once".into(), now);
    let mut image = json!({"pk": {"S": "alert#2026-11-02"}, "sk": {"S": alert.id}});
    for (name, value) in serde_json::to_value(&alert).unwrap().as_object().unwrap() {
        image[name] = json!({"S": value});
    }
    let record = |number: &str, image: &Value| {
        json!({
            "eventID": number, "eventName": "INSERT", "awsRegion": "us-east-1", "eventSource": "aws:dynamodb",
            "dynamodb": {
                "ApproximateCreationDateTime": 1793613600, "Keys": {"pk": image["pk"], "sk": image["sk"]},
                "NewImage": image, "SequenceNumber": number, "SizeBytes": 400, "StreamViewType": "NEW_IMAGE",
            },
        })
    };
    let broken = json!({"pk": image["pk"], "sk": {"S": "broken"}});

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let bus = format!("http://{}", listener.local_addr().unwrap());
    let published = json!({"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]});
    let notified = answer_one(listener, "AWSEvents.PutEvents", published);
    let environment = [("BUS_NAME", "alerts"), ("AWS_ENDPOINT_URL_EVENTBRIDGE", bus.as_str())];
    let lambda = Lambda::start("ALERT_FUNCTION", "http://127.0.0.1:1", &environment);
    let answer = lambda.invoke(&json!({"Records": [record("100", &image), record("200", &broken)]}));
    assert_eq!(answer, json!({"batchItemFailures": [{"itemIdentifier": "200"}]}));

    let asked = notified.recv_timeout(Duration::from_secs(5)).unwrap();
    let [entry] = asked["Entries"].as_array().unwrap().as_slice() else { panic!("{asked}") };
    assert_eq!(entry["EventBusName"], "alerts");
    assert_eq!(entry["DetailType"], "ECR Lineage Breaker Opened");
    let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
    assert_eq!(detail["id"], alert.id);

    let printed = lambda.end();
    assert!(printed.contains("\"AlertsPublished\":1"), "{printed}");
    assert!(printed.contains("not an alert, bound for the failed batches"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_alerts_about_a_failed_copy_and_dead_letters() {
    let local = registries(SignedDuration::from_hours(1), true).await;
    local.deliver_now().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sqs = format!("http://{}", listener.local_addr().unwrap());
    let dead = json!({"Attributes": {"ApproximateNumberOfMessages": "3"}});
    let asked = answer_one(listener, "AmazonSQS.GetQueueAttributes", dead);
    let endpoint = local.endpoint.clone();
    let printed = tokio::task::spawn_blocking(move || {
        let url = format!("{sqs}/999988887777/dead-letters");
        let queue = [("DEAD_LETTERS_URL", url.as_str()), ("AWS_ENDPOINT_URL_SQS", sqs.as_str())];
        let environment = [[("TABLE_NAME", "ecr-lineage"), ("READ_ROLE", "reader")], queue].concat();
        let lambda = Lambda::start("WATCH_FUNCTION", &endpoint, &environment);
        let summary = lambda.invoke(&json!({}));
        assert_eq!((&summary["problems"], &summary["failures"]), (&json!(1), &json!(0)), "{summary}");
        assert_eq!(asked.recv_timeout(Duration::from_secs(5)).unwrap()["QueueUrl"], url);
        lambda.end()
    });
    let printed = printed.await.unwrap();
    let mut notified: Vec<_> = local.table.alerts(Timestamp::now()).await.unwrap();
    notified.sort_by_key(|alert| alert.kind);
    let notified: Vec<_> = notified.into_iter().map(|alert| (alert.kind, alert.message)).collect();
    assert_eq!(notified[0].0, AlertKind::ReplicationFailed);
    let dead = "3 events are among the dead letters: `record` could not record them in five tries";
    assert_eq!(notified[1], (AlertKind::PipelineUnhealthy, dead.to_owned()));
    assert!(printed.contains("\"ImagesChecked\""), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconcile_records_images_that_no_event_reported() {
    let local = registries(SignedDuration::from_hours(1), false).await;
    // The events of the registries are never taken from the queue.
    let endpoint = local.endpoint.clone();
    let printed = tokio::task::spawn_blocking(move || {
        let known = ("REGISTRIES", "111122223333/eu-west-1, 111122223333/us-east-1");
        let environment = [("TABLE_NAME", "ecr-lineage"), ("READ_ROLE", "reader"), known];
        let lambda = Lambda::start("RECONCILE_FUNCTION", &endpoint, &environment);
        let summary = lambda.invoke(&json!({}));
        assert_eq!((&summary["registries"], &summary["found"]["added"]), (&json!(2), &json!(2)), "{summary}");
        lambda.end()
    });
    let printed = printed.await.unwrap();
    assert_eq!(
        local.table.images(&"team/app".parse().unwrap(), store::PageBounds::ALL).await.unwrap().0[0].placements.len(),
        2
    );
    assert!(printed.contains("\"ImagesDiscovered\":2"), "{printed}");
}

/// The event that Lambda passes for a request to a function URL with IAM authentication.
/// <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads>
fn function_url(method: &str, path: &str, query: &str, arn: Option<&str>, body: Option<&Value>) -> Value {
    let mut context = json!({
        "accountId": "111122223333", "apiId": "abc", "domainName": "abc.lambda-url.us-east-1.on.aws", "domainPrefix": "abc",
        "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.1", "userAgent": "test"},
        "requestId": "id", "routeKey": "$default", "stage": "$default", "time": "12/Mar/2026:19:03:58 +0000", "timeEpoch": 1_800_000_000,
    });
    if let Some(arn) = arn {
        context["authorizer"] = json!({"iam": {"accessKey": "AKIA", "accountId": "111122223333", "callerId": "AIDA", "userArn": arn, "userId": "AIDA"}});
    }
    let mut headers = json!({"host": "abc.lambda-url.us-east-1.on.aws", "accept-encoding": "gzip"});
    if body.is_some() {
        headers["content-type"] = json!("application/json");
    }
    let body = body.map(Value::to_string);
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query, "headers": headers,
        "requestContext": context, "body": body, "isBase64Encoded": false,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn query_answers_through_a_function_url_and_knows_its_caller() {
    let local =
        Local::start(LocalSettings { speed: 0.0, now: Timestamp::now(), ..LocalSettings::default() }).await.unwrap();
    local.table.register_registry(&"111122223333/eu-west-1".parse().unwrap()).await.unwrap();
    let endpoint = local.endpoint.clone();
    let answered = tokio::task::spawn_blocking(move || {
        let environment =
            |changes| [("TABLE_NAME", "ecr-lineage"), ("READ_ROLE", "ecr-lineage-read"), ("CHANGES", changes)];
        let lambda = Lambda::start("QUERY_FUNCTION", &endpoint, &environment("allow"));
        let dana = Some("arn:aws:sts::111122223333:assumed-role/platform/dana");
        let page = lambda.invoke(&function_url("GET", "/", "", dana, None));
        assert_eq!((&page["statusCode"], &page["headers"]["content-encoding"]), (&json!(200), &json!("gzip")));
        assert_eq!(page["isBase64Encoded"], true);
        let overview = lambda.invoke(&function_url("GET", "/v1/overview", "", dana, None));
        assert_eq!(overview["statusCode"], 200, "{overview}");
        let reset = json!({"source": "111122223333/eu-west-1", "version": 0, "allow": 7});
        let anonymous = lambda.invoke(&function_url("POST", "/v1/breakers/reset", "", None, Some(&reset)));
        assert_eq!(anonymous["statusCode"], 403, "{anonymous}");
        let done = lambda.invoke(&function_url("POST", "/v1/breakers/reset", "", dana, Some(&reset)));
        assert_eq!(done["statusCode"], 200, "{done}");
        let unknown = lambda.invoke(&function_url("GET", "/v1/images", "repository=no%2Fsuch", dana, None));
        assert_eq!(unknown["statusCode"], 404, "{unknown}");
        // Not an HTTP request: the invocation fails with an error message, and the function continues to run.
        let error = lambda.invoke(&json!({"Records": 5}));
        assert!(error["errorType"].is_string() && error["errorMessage"].is_string(), "{error}");
        let again = lambda.invoke(&function_url("GET", "/v1/overview", "", dana, None));
        assert_eq!(again["statusCode"], 200, "{again}");
        lambda.end();
        let lambda = Lambda::start("QUERY_FUNCTION", &endpoint, &environment("refuse"));
        let refused = lambda.invoke(&function_url("POST", "/v1/breakers/reset", "", dana, Some(&reset)));
        assert_eq!(refused["statusCode"], 403, "{refused}");
        lambda.end();
    });
    answered.await.unwrap();
    let breaker = local.table.breaker(&"111122223333/eu-west-1".parse().unwrap()).await.unwrap();
    let reset = breaker.reset.unwrap();
    assert_eq!((reset.by.as_str(), reset.allow), ("arn:aws:sts::111122223333:assumed-role/platform/dana", Some(7)));
}
