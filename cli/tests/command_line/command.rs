//! Runs the command line with a table of its own for each test.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

/// A temporary directory with a table and a test's files, for one user of the command.
pub(crate) struct User {
    folder: TempDir,
}

/// The exit code and output of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl User {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    /// A user whose table contains the example's events.
    pub(crate) fn with_example() -> Self {
        let user = Self::new();
        let example = example();
        let ran = user.run(&["ingest", example.to_str().unwrap()]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        user
    }

    pub(crate) fn path(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[], "")
    }

    /// The command with an environment that is independent of this machine.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ecr-lineage"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.folder.path())
            .env("ECR_LINEAGE_TABLE", self.folder.path().join("table.db"))
            // The process must not get credentials from an EC2 instance or a container.
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    /// Runs the command with additional environment variables, and `input` on standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Ran {
        let mut command = self.command(arguments);
        command.envs(environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let Output { status, stdout, stderr } = process.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(self.folder.path().to_str().unwrap(), "FOLDER");
        let ran = Ran { code: status.code(), out: text(stdout), err: text(stderr) };
        assert!(!ran.err.contains("panicked"), "{ran:?}");
        ran
    }
}

/// Path of the README's example.
pub(crate) fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/release.jsonl")
}

/// The content of one of the fixtures that AWS documents.
pub(crate) fn sample(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/events").join(name);
    std::fs::read_to_string(path).unwrap()
}
