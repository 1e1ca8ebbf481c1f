//! Errors of the command line: one line for the error, one for the next step.

use std::{error::Error as StdError, io::ErrorKind, path::PathBuf, sync::Arc};

use domain::image::Registry;
use retry::chain;
use sandbox::embedded;

use crate::options::Format;

/// The error of a command.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The table could not be read or written.
    #[error(transparent)]
    Table(#[from] store::Error),
    /// Nothing is recorded in the table.
    #[error("nothing is recorded in table `{table}`")]
    NothingRecorded {
        /// The table, as it was named.
        table: String,
    },
    /// The file of the embedded table does not exist.
    #[error("there is no table `{table}`")]
    NoTable {
        /// The table, as it was named.
        table: String,
    },
    /// The embedded table could not be opened.
    #[error(transparent)]
    Embedded(#[from] embedded::Error),
    /// The table is named by a URL or an ARN.
    #[error("`{table}` is neither a path nor the name of a table")]
    NoTableName {
        /// The value of `--table`.
        table: String,
    },
    /// The address of the page is not known.
    #[error("the address of the page is not known")]
    NoPage,
    /// A file could not be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the file system.
        #[source]
        source: std::io::Error,
    },
    /// A file is no table of prices.
    #[error("`{}` is no table of prices: {problem}", path.display())]
    Prices {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// A file is no list of images in use.
    #[error("`{}` is no list of images in use: {problem}", path.display())]
    UsageList {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// There is no such list of images in use.
    #[error("there is no list of images in use called `{name}`")]
    NoUsageList {
        /// The name, as the caller wrote it.
        name: String,
    },
    /// A file could not be written.
    #[error("cannot write `{}`", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The error of the file system.
        #[source]
        source: std::io::Error,
    },
    /// Events could not be recorded after several attempts.
    #[error("cannot record the remaining events; the events before them are recorded")]
    Recording(#[source] Arc<store::Error>),
    /// A query or an operator action failed.
    #[error(transparent)]
    Query(answers::error::Error),
    /// The simulated registries could not be opened or saved.
    #[error(transparent)]
    Registries(#[from] simulator::keep::Error),
    /// The port is not free.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Port {
        /// The port.
        port: u16,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// A role could not be assumed.
    #[error("cannot assume the role")]
    Role(#[source] Box<dyn StdError + Send + Sync>),
    /// A simulated registry refused a call of the demo.
    #[error("the demo failed")]
    Demo(#[source] Box<dyn StdError + Send + Sync>),
    /// `sts:GetCallerIdentity` failed.
    #[error("cannot determine your AWS identity")]
    Identity(#[source] Box<dyn StdError + Send + Sync>),
    /// A policy is invalid.
    #[error(transparent)]
    Policy(#[from] policy::InvalidPolicyError),
    /// A registry could not be read or changed.
    #[error("cannot {what} in `{registry}`")]
    Registry {
        /// The failed operation.
        what: &'static str,
        /// The registry of the call.
        registry: Registry,
        /// The error of the call.
        #[source]
        source: retry::CallError,
    },
    /// An image could not be copied back.
    #[error(transparent)]
    Copy(#[from] answers::restore::CopyError),
    /// The stack does not exist.
    #[error("stack `{stack}` does not exist in this account and region")]
    NoStack {
        /// The name of the stack.
        stack: String,
    },
    /// The stack is being changed.
    #[error("stack `{stack}` is {status}")]
    StackBusy {
        /// The name of the stack.
        stack: String,
        /// CloudFormation's status.
        status: String,
    },
    /// The stack is not a hub's stack.
    #[error("stack `{stack}` has no output `{output}`: it was not deployed from hub.yaml")]
    NoHub {
        /// The name of the stack.
        stack: String,
        /// The missing output.
        output: &'static str,
    },
    /// A hub takes events of its own partition only.
    #[error(
        "`{registry}` is in partition {}, and the hub `{hub}` in {}",
        registry.partition().name,
        hub.partition().name
    )]
    OtherPartition {
        /// The registry.
        registry: Registry,
        /// The hub's account and region.
        hub: Registry,
    },
    /// A stack could not be read.
    #[error("cannot read stack `{stack}`")]
    Stack {
        /// The name of the stack.
        stack: String,
        /// The error of the call.
        #[source]
        source: retry::CallError,
    },
    /// The program was built without what the command needs.
    #[error("this program was built without the feature `{feature}`")]
    WithoutFeature {
        /// The feature.
        feature: &'static str,
    },
    /// The solver cannot be started.
    #[error("cannot run the solver `{}`", solver.display())]
    NoSolver {
        /// The program.
        solver: PathBuf,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// The solver is another program.
    #[error("`{}` is not cvc5: it does not say its version", solver.display())]
    OtherSolver {
        /// The program.
        solver: PathBuf,
    },
    /// The solver is too old.
    #[error("cvc5 {version} is too old")]
    OldSolver {
        /// Its version.
        version: String,
    },
    /// The text of `--never` has more than an expression.
    #[error("the text of `--never` is more than one expression")]
    NotAnExpression,
    /// The solver did not decide in time.
    #[error("neither proven nor refuted: the solver did not decide within a minute")]
    Undecided,
    /// The solver or the symbolic compiler failed.
    #[error("neither proven nor refuted")]
    NotProven(#[source] Box<dyn StdError + Send + Sync>),
    /// A registry could not be listed completely.
    #[error(transparent)]
    Listing(reconcile::Error),
    /// The command asks before it acts, and standard input is no terminal.
    #[error("this command asks before it acts, and standard input is no terminal")]
    CannotAsk,
    /// The operator did not confirm the action.
    #[error("not confirmed: nothing was changed")]
    Declined,
    /// Another process lists registries.
    #[error("another process is listing registries")]
    Busy,
    /// The file of aliases is wrong.
    #[error(transparent)]
    Aliases(#[from] crate::aliases::AliasError),
    /// There is no manual page of the command.
    #[error("there is no command `{command}`")]
    NoCommand {
        /// The command, as it was named.
        command: String,
    },
    /// The JSON of a command has no schema.
    #[error("the JSON of `{command}` has no schema")]
    NoSchema {
        /// The command, as it was named.
        command: String,
    },
    /// The answer does not have the format.
    #[error("{} the format `{}`", who(*format), format!("{format:?}").to_lowercase())]
    Unsupported {
        /// The requested format.
        format: Format,
    },
    /// Standard output cannot be written.
    #[error("cannot write to standard output")]
    Output(#[from] std::io::Error),
}

impl From<answers::error::Error> for CliError {
    fn from(error: answers::error::Error) -> Self {
        match error {
            answers::error::Error::Table(error) => Self::Table(error),
            error => Self::Query(error),
        }
    }
}

impl From<sandbox::Error> for CliError {
    fn from(error: sandbox::Error) -> Self {
        match error {
            sandbox::Error::Table(error) => Self::Table(error),
            sandbox::Error::Embedded(error) => Self::Embedded(error),
            sandbox::Error::Registries(error) => Self::Registries(error),
            sandbox::Error::Port { port, source } => Self::Port { port, source },
            sandbox::Error::Role(error) => Self::Role(error),
            sandbox::Error::Query(error) => error.into(),
            sandbox::Error::Demo(error) => Self::Demo(error),
        }
    }
}

impl From<answers::restore::Error> for CliError {
    fn from(error: answers::restore::Error) -> Self {
        match error {
            answers::restore::Error::Question(error) => error.into(),
            answers::restore::Error::Registry { what, registry, source } => Self::Registry { what, registry, source },
        }
    }
}

impl CliError {
    /// The message for a terminal: `error:` with all causes on one line, `next:` with what to do.
    #[must_use]
    pub fn report(&self) -> String {
        let line = chain(self);
        let (red, bold) = (anstyle::AnsiColor::Red.on_default().bold(), anstyle::Style::new().bold());
        let next = self.next().map(|next| format!("{bold}next:{bold:#}  {next}\n")).unwrap_or_default();
        format!("{red}error:{red:#} {line}\n{next}")
    }

    /// The recommended next step.
    fn next(&self) -> Option<String> {
        Some(match self {
            Self::Table(error) => return table(error),
            Self::Recording(error) => {
                return Some(table(error).unwrap_or_else(|| "run the command again: it records no event twice".into()));
            }
            Self::Embedded(_) => "choose another file with `--table`, or use `--table memory`".into(),
            Self::NoTableName { table } => no_table_name(table),
            Self::NoPage => {
                "give it with `--page URL` or `ECR_LINEAGE_PAGE`; `ecr-lineage serve` prints one for this machine".into()
            }
            Self::Query(error) => return error.remediation(),
            Self::NothingRecorded { .. } => {
                "name the table with `--table`, or record something: `ecr-lineage ingest FILE`, `ecr-lineage reconcile REGISTRY`".into()
            }
            Self::NoTable { .. } => {
                "name another with `--table`; `ecr-lineage ingest FILE` and `ecr-lineage reconcile REGISTRY` create it".into()
            }
            Self::Aliases(_) => "correct the line; a line is an account and its name, as in `111122223333 = \"prod\"`".into(),
            Self::NoSchema { .. } => "`ecr-lineage schema` lists the commands that have one".into(),
            Self::NoCommand { .. } => "`ecr-lineage help` lists the commands".into(),
            Self::Unsupported { .. } => "choose `--format table` or `--format json`".into(),
            Self::Unreadable { source, .. } => match source.kind() {
                ErrorKind::NotFound => "check the path; `-` reads standard input".into(),
                ErrorKind::PermissionDenied => "check the permissions of the file".into(),
                _ => "check the disk, and run the command again".into(),
            },
            Self::UsageList { .. } => {
                "name images as in `111122223333.dkr.ecr.eu-west-1.amazonaws.com/shop/web@sha256:…`, in any text".into()
            }
            Self::NoUsageList { .. } => "`ecr-lineage usage lists` lists them".into(),
            Self::Prices { .. } => {
                "write `date`, `sources` and `regions` as docs/cli.md shows; prices are in USD for a GB".into()
            }
            Self::Unwritable { source, .. } => match source.kind() {
                ErrorKind::AlreadyExists => "choose another `--output`, or overwrite it with `--force`".into(),
                _ => "check the folder and its permissions".into(),
            },
            Self::Registries(simulator::keep::Error::InUse { .. }) => {
                "stop the other process, or choose another folder with `--data`".into()
            }
            Self::Registries(_) => "choose another folder with `--data`".into(),
            Self::Port { .. } => "choose another port with `--port`; `--port 0` picks a free one".into(),
            Self::Identity(_) => "sign in (`aws sso login`), or choose another `--profile`".into(),
            Self::Policy(_) => "`infra/policies/README.md` describes what a policy can contain".into(),
            Self::Registry { .. } => {
                "pass a role of the registry's account with `--role`, or its credentials with `--profile`".into()
            }
            Self::Copy(_) => {
                "repeat the command: it goes on with what is missing; docs/cli.md lists the permissions that it needs"
                    .into()
            }
            Self::Listing(_) => {
                "run the command again: it records nothing twice; `--role` gives access to the registry, a lower \
                 `--calls-per-second` avoids throttling"
                    .into()
            }
            Self::NoStack { .. } | Self::NoHub { .. } => {
                "pass the hub's stack with `--stack`, its region with `--region`, its account with `--profile`".into()
            }
            Self::StackBusy { .. } => "wait for the end of its change".into(),
            Self::OtherPartition { .. } => "deploy a hub in each partition: nothing replicates between them".into(),
            Self::Stack { .. } => {
                "sign in (`aws sso login`); your role needs the policy in the stack's output ReadersPolicy".into()
            }
            Self::WithoutFeature { feature } => {
                format!("build it with `cargo install --path cli --features {feature}`")
            }
            Self::NoSolver { .. } | Self::OtherSolver { .. } | Self::OldSolver { .. } => {
                "install cvc5 1.3.1 or newer (https://cvc5.github.io), and name it with `--solver` or `CVC5`".into()
            }
            Self::NotAnExpression => "write one Cedar expression, without `;`".into(),
            Self::Undecided => "prove it for one action at a time, as in `action == Action::\"delete\" && …`".into(),
            Self::CannotAsk => "pass `--yes`, or run it on a terminal".into(),
            Self::Busy => "wait until it ends, at most an hour".into(),
            Self::Role(_) | Self::Demo(_) | Self::Declined | Self::Output(_) | Self::NotProven(_) => return None,
        })
    }
}

/// Which commands support a format.
fn who(format: Format) -> &'static str {
    match format {
        Format::Ocsf => "only `activity` supports",
        Format::Csv => "this command has no list: it does not support",
        Format::Table | Format::Json | Format::Dot | Format::Mermaid => "only `show` supports",
    }
}

/// What to pass instead of a URL or an ARN.
fn no_table_name(table: &str) -> String {
    let (scheme, rest) = table.split_once(':').unwrap_or_default();
    match (scheme, rest.split(':').collect::<Vec<_>>().as_slice()) {
        ("arn", [_, "dynamodb", region, _, resource]) => {
            let name = resource.split('/').nth(1).unwrap_or_default();
            format!("pass the table's name, and its region: `--table {name} --region {region}`")
        }
        ("dynamodb", _) => format!("pass the table's name: `--table {}`", rest.trim_start_matches('/')),
        ("file" | "sqlite", _) => {
            let slashes = rest.len() - rest.trim_start_matches('/').len();
            let path = rest.get(slashes.saturating_sub(1)..).filter(|_| slashes > 0).unwrap_or(rest);
            format!("pass the path: `--table {path}`")
        }
        _ => "pass the path of an embedded table on this machine, such as `./lineage.db`, or the name of a DynamoDB table"
            .to_owned(),
    }
}

/// The recommended next step for a table that cannot be used.
fn table(error: &store::Error) -> Option<String> {
    let next = match error.code() {
        Some("ResourceNotFoundException") => {
            "check `--table` and `--region`; an embedded table has a slash or `.db` in its name"
        }
        Some("AccessDeniedException") => "these credentials have no access to the table; try another `--profile`",
        Some("UnrecognizedClientException" | "ExpiredTokenException" | "InvalidSignatureException") => {
            "sign in again, or choose another `--profile`"
        }
        _ if mentions(error, "credential") => {
            "sign in (`aws sso login`), or pass credentials with `--profile` or the AWS environment variables"
        }
        _ if mentions(error, "region") => "pass the table's region with `--region`",
        _ => return None,
    };
    Some(next.to_owned())
}

/// Whether the message of an error or of one of its sources contains a word.
fn mentions(error: &dyn StdError, word: &str) -> bool {
    error.to_string().to_lowercase().contains(word) || error.source().is_some_and(|source| mentions(source, word))
}
