//! `ecr-lineage local`: its output, restarts after it was killed, and the demo.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use clap::Parser;
use serde_json::{Value, json};

use crate::command::User;

/// A running `ecr-lineage local`.
struct Running {
    process: Child,
    /// Its output before it waited for requests.
    welcome: String,
    /// Its output since then.
    said: Arc<Mutex<String>>,
    host: String,
}

impl Running {
    fn start(user: &User, arguments: &[&str]) -> Self {
        let mut command = user.command(&["local", "--port", "0"]);
        let mut process = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let mut welcome = String::new();
        while !welcome.contains("Event log:") {
            assert_ne!(out.read_line(&mut welcome).unwrap(), 0, "{welcome}");
        }
        // Its output is read continuously, because a full pipe would block it.
        let said = Arc::new(Mutex::new(String::new()));
        let more = said.clone();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                *more.lock().unwrap() += &(line + "\n");
            }
        });
        let host = welcome.split("http://").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        Self { process, welcome, said, host }
    }

    /// Calls ECR in Ireland; `None` if the call got no response.
    fn call(&self, operation: &str, body: &Value) -> Option<Value> {
        let mut stream = TcpStream::connect(&self.host).ok()?;
        let body = body.to_string();
        let (host, length) = (&self.host, body.len());
        write!(
            stream,
            "POST / HTTP/1.1\r\nhost: {host}\r\nx-amz-target: AmazonEC2ContainerRegistry_V20150921.{operation}\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=111122223333/20261122/eu-west-1/ecr/aws4_request\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    fn push(&self, number: usize) -> Option<String> {
        let manifest =
            json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "number": number})
                .to_string();
        let body = json!({"repositoryName": "team/app", "imageTag": format!("v{number}"), "imageManifest": manifest});
        Some(self.call("PutImage", &body)?.pointer("/image/imageId/imageDigest")?.as_str()?.to_owned())
    }

    fn digests(&self) -> BTreeSet<String> {
        // A fast machine pushes more images than one answer holds.
        let mut all = BTreeSet::new();
        let mut next = Value::Null;
        loop {
            let asked = json!({"repositoryName": "team/app", "maxResults": 1000, "nextToken": next});
            let answer = self.call("DescribeImages", &asked).unwrap();
            all.append(&mut digests(answer.get("imageDetails").unwrap(), "imageDigest"));
            match answer.get("nextToken") {
                Some(token) if !token.is_null() => next = token.clone(),
                _ => return all,
            }
        }
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

fn digests(list: &Value, name: &str) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|one| one.get(name).unwrap().as_str().unwrap().to_owned()).collect()
}

#[test]
fn local_prints_its_address_and_commands_to_try() {
    let user = User::new();
    let mut running = Running::start(&user, &["--speed", "0", "--trouble", "lost=2,stuck", "--seed", "7"]);
    insta::assert_snapshot!(running.welcome.replace(&running.host, "127.0.0.1:PORT"));
    // Ctrl-C ends the process without an error.
    running.signal("-INT");
    assert_eq!(running.process.wait().unwrap().code(), Some(0));
    let mut errors = String::new();
    running.process.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(errors, "");
}

/// A webhook that refuses its first request; returns the header and the body of each request.
fn webhook() -> (String, mpsc::Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/alerts", listener.local_addr().unwrap());
    let (send, taken) = mpsc::channel();
    std::thread::spawn(move || {
        let mut answers = ["503 Service Unavailable"].into_iter().chain(std::iter::repeat("204 No Content"));
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert_ne!(stream.read_line(&mut head).unwrap(), 0, "{head}");
            }
            let length = head.to_lowercase().split("content-length: ").nth(1).unwrap().to_owned();
            let mut body = vec![0; length.lines().next().unwrap().parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            let answer = answers.next().unwrap();
            write!(stream.get_mut(), "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            if send.send((head, serde_json::from_slice(&body).unwrap())).is_err() {
                return;
            }
        }
    });
    (url, taken)
}

#[test]
fn alerts_are_printed_and_sent_until_the_webhook_accepts_them() {
    let user = User::new();
    let (url, taken) = webhook();
    let running = Running::start(&user, &["--speed", "500", "--trouble", "failed=100", "--webhook", &url]);
    assert!(running.welcome.contains(&format!("alerts    are also sent to {url}")), "{}", running.welcome);
    let to = json!([{"region": "us-east-1", "registryId": "111122223333"}]);
    let rules = json!({"replicationConfiguration": {"rules": [{"destinations": to}]}});
    running.call("PutReplicationConfiguration", &rules).unwrap();
    running.call("CreateRepository", &json!({"repositoryName": "team/app"})).unwrap();
    running.push(1).unwrap();
    let wait = Duration::from_secs(60);
    let (refused, sent) = (taken.recv_timeout(wait).unwrap(), taken.recv_timeout(wait).unwrap());
    assert_eq!(refused, sent, "the same is sent again");
    let (head, event) = sent;
    assert!(head.starts_with("POST /alerts HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("content-type: application/json\r\n"), "{head}");
    let text = |path: &str| event.pointer(path).unwrap().as_str().unwrap().to_owned();
    assert_eq!(
        (text("/source"), text("/detail-type")),
        ("ecr-lineage".into(), "ECR Lineage Replication Failed".into())
    );
    assert_eq!((text("/account"), text("/detail/kind")), ("999988887777".into(), "replication_failed".into()));
    assert_eq!(text("/time"), text("/detail/time"));
    let said = running.said.lock().unwrap().clone();
    let line = format!("‼ critical  replication failed: {}", text("/detail/message"));
    assert!(said.contains(&line), "{said}");
    assert!(said.contains(&format!("    → {}\n", text("/detail/remediation"))), "{said}");
    // No alert is delivered twice.
    assert!(taken.recv_timeout(Duration::from_secs(1)).is_err());
}

#[test]
fn nothing_acknowledged_is_lost_when_it_is_killed() {
    let user = User::new();
    let data = format!("{}/data", user.path());
    let (mut number, mut acknowledged) = (0, BTreeSet::new());
    for round in 0..4 {
        let running = Running::start(&user, &["--data", &data]);
        running.call("CreateRepository", &json!({"repositoryName": "team/app"})).unwrap();
        assert!(running.digests().is_superset(&acknowledged), "round {round}");
        let end = Instant::now() + Duration::from_millis(150 + 70 * round);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(end.saturating_duration_since(Instant::now()));
                running.signal("-KILL");
            });
            while let Some(digest) = running.push(number) {
                acknowledged.insert(digest);
                number += 1;
            }
        });
        // A push without a response may have been executed, so its tag is not used again.
        number += 1;
    }
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    let running = Running::start(&user, &["--data", &data, "--speed", "1000"]);
    let held = running.digests();
    assert!(held.is_superset(&acknowledged), "{} held, {} acknowledged", held.len(), acknowledged.len());
    // Every push is recorded in the end, including those whose message was being processed when the process was killed.
    let table = format!("{data}/lineage.db");
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let ran = user.run(&["--table", &table, "--format", "json", "images", "team/app"]);
        let recorded =
            serde_json::from_str::<Value>(&ran.out).map(|answer| digests(answer.get("images").unwrap(), "digest"));
        if recorded.is_ok_and(|recorded| recorded == held) {
            return;
        }
        assert!(Instant::now() < end, "{ran:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn an_unusable_option_prints_one_clear_line() {
    let user = User::new();
    let running = Running::start(&user, &["--data", &format!("{}/used", user.path())]);
    let port = running.host.split(':').nth(1).unwrap().to_owned();
    let file = user.file("file", "not a folder");
    let used = format!("{}/used", user.path());
    let mut report = String::new();
    for (code, arguments) in [
        (1, &["--port", port.as_str()][..]),
        (1, &["--port", "0", "--data", file.as_str()]),
        (1, &["--port", "0", "--data", used.as_str()]),
        (1, &["--port", "0", "--policy", file.as_str()]),
        (2, &["--seed", "seven"]),
        (2, &["--speed", "-1"]),
        (2, &["--trouble", "lost=200"]),
        (2, &["--lag", "soon"]),
        (2, &["--lag", "nowhere=5s"]),
        (2, &["--unconfirmed", "no-such-thing=true"]),
        (2, &["--webhook", "example.com/alerts"]),
    ] {
        let ran = user.run(&[&["local"], arguments].concat());
        assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{arguments:?} {ran:?}");
        let line = format!(
            "$ ecr-lineage local {}\n{}\n",
            arguments.join(" "),
            ran.err.replace("\nFor more information, try '--help'.\n", "")
        );
        report += &line.replace(user.path(), "FOLDER").replace(&port, "PORT");
    }
    insta::assert_snapshot!(report);
}

#[test]
fn the_help_and_the_documentation_name_every_fault() {
    let user = User::new();
    let refused = user.run(&["local", "--trouble", "lost=200"]).err;
    let kinds = refused.split("with KIND one of ").nth(1).unwrap().lines().next().unwrap();
    let kinds: BTreeSet<&str> = kinds.split(", ").collect();
    assert!(kinds.contains("request-lost") && kinds.contains("response-lost"), "{kinds:?}");
    let help = user.run(&["local", "--help"]).out;
    let faults = help.split("Events: ").nth(1).unwrap().split("--seed").next().unwrap();
    let words = faults.split(|letter: char| !letter.is_ascii_lowercase() && letter != '-');
    let words = words.filter(|word| !["", "copies", "calls"].contains(word));
    assert_eq!(words.collect::<BTreeSet<_>>(), kinds);
    let page = include_str!("../../../docs/cli.md");
    let faults = page.split("Faults of events: ").nth(1).unwrap().split("\n\n").next().unwrap();
    assert_eq!(faults.split('`').skip(1).step_by(2).collect::<BTreeSet<_>>(), kinds);
}

#[test]
fn the_demo_is_the_same_story_every_time() {
    let user = User::new();
    let ran = user.run(&["demo"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    insta::assert_snapshot!(ran.out);
    assert_eq!(user.run(&["demo"]).out, ran.out);
    insta::assert_snapshot!("demo_at_80_columns", user.run_with(&["demo"], &[("COLUMNS", "80")], "").out);
    // The demo uses its own table, and does not change the user's.
    assert_eq!(user.run(&["images", "shop/api"]).code, Some(1));
}

/// The questions of the demo are commands, and each answer is right for the story.
#[test]
fn the_demo_asks_commands_and_answers_what_happened() {
    let demo: Value = serde_json::from_str(&User::new().run(&["demo", "--format", "json"]).out).unwrap();
    let scenes = demo["scenes"].as_array().unwrap();
    let entries: Vec<_> = scenes.iter().flat_map(|scene| scene["story"].as_array().unwrap()).collect();
    let asked: Vec<_> = entries.iter().filter(|entry| entry["command"].is_string()).collect();
    assert!(entries.len() - asked.len() >= 15 && asked.len() >= 5, "{entries:?}");
    let answer = |command: &str| {
        let words = asked.iter().find(|entry| entry["command"].as_str().unwrap().starts_with(command));
        &words.unwrap_or_else(|| panic!("{command} is not asked"))["answer"]
    };
    for entry in &asked {
        let words = format!("ecr-lineage {}", entry["command"].as_str().unwrap());
        let options = cli::options::Options::try_parse_from(words.split(' '));
        assert!(options.is_ok_and(|options| options.command.is_question()), "{words}");
    }
    // v1.2.0 was pushed 35 minutes before.
    let tokyo = &answer("where")["registries"][0];
    assert_eq!((&tokyo["there"], &tokyo["state"]), (&json!(false), &json!("late")), "{tokyo}");
    // One is from before replication, one could not be copied.
    let tags = |list: &Value| list.as_array().unwrap().iter().flat_map(tags_of).collect::<BTreeSet<_>>();
    let only = tags(&answer("images")["images"]);
    assert_eq!(only, ["v1.0.0", "v1.2.3"].map(str::to_owned).into(), "{only:?}");
    let activity = &answer("activity")["activity"];
    let actor = |entry: &Value| entry["actor"].as_str().unwrap().contains("role/release/");
    assert!(activity.as_array().unwrap().iter().all(actor), "{activity}");
    let costs = &answer("costs")["kinds"];
    assert!(costs.as_array().unwrap().iter().any(|one| one["kind"] == "orphan"), "{costs}");
    // The tag and the image in two registries each; the policy keeps the release.
    assert_eq!(answer("deletions --until")["deletions"].as_array().unwrap().len(), 4);
}

fn tags_of(entry: &Value) -> Vec<String> {
    entry["tags"].as_array().into_iter().flatten().map(|tag| tag.as_str().unwrap().to_owned()).collect()
}
