//! The page on this machine: who has access, and what they may do.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use crate::command::User;

/// A running `ecr-lineage serve`.
struct Running {
    process: Child,
    welcome: String,
    host: String,
    key: String,
}

impl Running {
    fn start(user: &User, arguments: &[&str]) -> Self {
        let mut command = user.command(&["serve", "--port", "0"]);
        let mut process = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let mut welcome = String::new();
        while !welcome.contains("Keep the link to yourself") {
            assert_ne!(out.read_line(&mut welcome).unwrap(), 0, "{welcome}");
        }
        let link = welcome.split("http://").nth(1).unwrap().split_whitespace().next().unwrap();
        let (host, key) = link.split_once("/#key=").unwrap();
        let (host, key) = (host.to_owned(), key.to_owned());
        Self { process, welcome, host, key }
    }

    /// The status and the body of a response.
    fn ask(&self, request: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        write!(stream, "{request} HTTP/1.1\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn end(mut self) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        assert!(self.process.wait().unwrap().success());
    }
}

#[test]
fn requests_without_the_key_of_the_link_are_refused() {
    let user = User::with_example();
    let serve = Running::start(&user, &[]);
    let key = format!("Bearer {}", serve.key);
    let (host, ours) = (("host", serve.host.as_str()), ("authorization", key.as_str()));
    for path in query::page::paths().iter().map(String::as_str).chain(["/v1/openapi.json"]) {
        assert_eq!(serve.ask(&format!("GET {path}"), &[host], "").0, 200, "{path}");
    }
    let (status, answer) = serve.ask("GET /v1/images?repository=shop/api", &[host, ours], "");
    assert!(status == 200 && answer.contains("sha256:"), "{status} {answer}");
    let other = format!("Bearer {}", "0".repeat(serve.key.len()));
    for headers in [&[host][..], &[host, ("authorization", &other)], &[host, ("authorization", "Basic Og==")]] {
        let (status, answer) = serve.ask("GET /v1/images?repository=shop/api", headers, "");
        assert!(status == 401 && !answer.contains("sha256:"), "{headers:?}: {status} {answer}");
    }
    // DNS rebinding: a host name of another site that resolves to this machine.
    for path in ["/", "/v1/overview"] {
        assert_eq!(serve.ask(&format!("GET {path}"), &[("host", "evil.example:80"), ours], "").0, 421);
    }
    let shown = serve.welcome.replace(&serve.host, "HOST").replace(&serve.key, "KEY").replace(user.path(), "FOLDER");
    insta::assert_snapshot!(shown);
    serve.end();
}

#[test]
fn changes_need_the_option_allow_changes() {
    let user = User::with_example();
    let body = r#"{"source": "111122223333/eu-west-1", "version": 0, "allow": 7}"#;
    for (arguments, expected, reset) in [(&[][..], 403, false), (&["--allow-changes"], 200, true)] {
        let serve = Running::start(&user, arguments);
        let key = format!("Bearer {}", serve.key);
        let headers = [("host", serve.host.as_str()), ("authorization", &key), ("content-type", "application/json")];
        let (status, answer) = serve.ask("POST /v1/breakers/reset", &headers, body);
        assert_eq!(status, expected, "{answer}");
        serve.end();
        let status = user.run(&["breaker", "status"]).out;
        assert_eq!(status.contains("111122223333/eu-west-1"), reset, "{status}");
    }
}
