//! `ingest`: records events from files.
//!
//! One thread reads the files and finds the entries in them; this one records what they say, so that no more is in
//! memory than the entries in between.

mod documents;
mod files;
mod forms;
#[cfg(test)]
mod fuzz;
mod input;
mod listing;
mod rows;

use std::{
    fmt::Write,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use anstyle::AnsiColor;
use domain::{
    event::{Event, EventError, notification::NotificationError},
    image::{MalformedError, Registry, RepositoryName},
};
use indicatif::ProgressBar;
use jiff::Timestamp;
use retry::{Disposition, chain};
use serde::Serialize;
use serde_json::{Map, Value};
use store::{Stored, Table};
use tokio::sync::mpsc;
use utoipa::ToSchema;

use self::forms::Reading;
use crate::{
    failure::CliError,
    print::{HEADING, Print, coloured, progress, styled},
};

/// Events that are recorded together: enough to merge the facts of an image, few enough to show progress.
const BATCH: usize = 100;

/// Entries that wait for being recorded.
const WAITING: usize = 256;

/// Different reasons that are listed for one file.
const REASONS: usize = 100;

/// Attempts to record a batch, with a pause in between. Events that were recorded stay recorded.
const TRIES: u32 = 3;

/// What the caller knows about the files and the files do not say.
#[derive(Debug, Clone, Default)]
pub struct Assumed {
    /// The registry of lists of images, and of entries of `PutEvents`.
    pub registry: Option<Registry>,
    /// The repository of lists that do not name it.
    pub repository: Option<RepositoryName>,
    /// When the lists were made.
    pub listed_at: Option<Timestamp>,
}

/// The result of `ingest`: every entry that was read was recorded, known, ignored or rejected.
#[derive(Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct IngestSummary {
    /// The number of entries read.
    pub read: usize,
    /// The number of new events.
    pub recorded: usize,
    /// The number of events that were recorded before.
    pub known: usize,
    /// The number of entries that say nothing about an image: other services, reads, other files of CloudTrail.
    pub ignored: usize,
    /// The entries that could not be recorded.
    pub rejected: Vec<Rejected>,
}

/// Entries of a file that could not be recorded for one reason.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Rejected {
    /// The path of the file; `-` for standard input.
    pub file: String,
    /// The line on which the first of them begins, counted from 1.
    pub line: usize,
    /// The place of the first of them among the entries of the file, counted from 1.
    pub entry: usize,
    /// The number of entries.
    pub count: usize,
    /// The reason.
    pub reason: String,
}

/// One entry of a file.
#[derive(Debug)]
pub(crate) struct FoundEntry {
    line: usize,
    entry: usize,
    found: Found,
}

/// What an entry is.
#[derive(Debug)]
enum Found {
    Event(Event),
    /// Nothing about an image.
    Ignored,
    Rejected(InputError),
}

/// Why an entry is rejected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("not JSON: {0}")]
    NotJson(String),
    #[error("text, not JSON")]
    Text,
    #[error("neither an event nor a CloudTrail record nor a message that contains them")]
    UnknownForm,
    #[error("{0}")]
    NotRead(&'static str),
    #[error("longer than 8 MiB")]
    TooLong,
    #[error("texts in texts, more than 8 deep")]
    TooDeep,
    #[error("a row with more or fewer values than the first line has columns")]
    NoRow,
    #[error("{0} does not name its registry: pass it with `--registry ACCOUNT/REGION`")]
    NoRegistry(&'static str),
    #[error("the output of list-images does not name its repository: pass it with `--repository`")]
    NoRepository,
    #[error("a list of account {account}, which is not that of `--registry`")]
    OtherAccount { account: String },
    #[error("field `{field}` cannot be read")]
    Field { field: &'static str, source: MalformedError },
    #[error("a row without all columns of CloudTrail's records")]
    Row(#[source] EventError),
    #[error("damaged or unreadable from here on")]
    Unreadable(#[source] io::Error),
    #[error(transparent)]
    Rejected(#[from] EventError),
    #[error(transparent)]
    Refused(#[from] NotificationError),
}

impl InputError {
    /// A syntax error without its position, which counts from where the document begins.
    fn not_json(error: &serde_json::Error) -> Self {
        if error.is_eof() {
            return Self::NotJson("truncated".to_owned());
        }
        let text = error.to_string();
        let reason = text.split_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
        Self::NotJson(reason.to_owned())
    }

    fn field(field: &'static str, source: MalformedError) -> Self {
        Self::Field { field, source }
    }

    /// The error of a record, which may be a row of a table that has not all columns.
    fn of_record(error: EventError, object: &Map<String, Value>) -> Self {
        match error {
            EventError::Missing { .. } if !object.contains_key("userIdentity") => Self::Row(error),
            error => Self::Rejected(error),
        }
    }
}

/// What the reading thread says.
enum Message {
    File(String),
    Entry(FoundEntry),
}

/// Records all events of some files and folders.
///
/// # Errors
/// When a path does not exist or the table cannot be written. The events before it are recorded, and recording them
/// again changes nothing.
pub async fn ingest(table: &Table, paths: &[PathBuf], assumed: Assumed) -> Result<IngestSummary, CliError> {
    let files = files::list(paths).map_err(|(path, source)| CliError::Unreadable { path, source })?;
    let bytes = files.iter().filter_map(|path| path.metadata().ok()).map(|file| file.len()).sum();
    let progress = progress(bytes, "{wide_bar} {bytes}/{total_bytes}  {elapsed}  {msg}");
    let (sender, mut receiver) = mpsc::channel(WAITING);
    let read_progress = progress.clone();
    let reader = tokio::task::spawn_blocking(move || read_all(&files, &assumed, &read_progress, &sender));
    let mut recorder = Recorder { table, file: String::new(), summary: IngestSummary::default(), events: Vec::new() };
    while let Some(message) = receiver.recv().await {
        match message {
            Message::File(file) => {
                recorder.flush().await?;
                progress.set_message(file.clone());
                recorder.file = file;
            }
            Message::Entry(entry) => recorder.take(entry).await?,
        }
    }
    recorder.flush().await?;
    // The thread ends with its channel; if it panicked, so does this.
    if let Err(panicked) = reader.await {
        std::panic::resume_unwind(panicked.into_panic());
    }
    progress.finish_and_clear();
    Ok(recorder.summary)
}

/// Reads files until all are read, or their entries are not taken any more.
fn read_all(files: &[PathBuf], assumed: &Assumed, progress: &ProgressBar, sender: &mpsc::Sender<Message>) {
    for path in files {
        if sender.blocking_send(Message::File(path.display().to_string())).is_err() {
            return;
        }
        let mut found = |entry| sender.blocking_send(Message::Entry(entry)).is_ok();
        let read = files::open(path, progress);
        let mut reading = Reading::new(assumed, assumed.listed_at.unwrap_or_else(|| written(path)), &mut found);
        let done = match read {
            Ok(mut source) => documents::read(&mut reading, &mut source, usize::MAX),
            Err(error) => reading.reject(InputError::Unreadable(error)),
        };
        if done.is_err() {
            return;
        }
    }
}

/// When a file was written; standard input is written now.
fn written(path: &Path) -> Timestamp {
    let modified = path.metadata().and_then(|file| file.modified()).ok();
    modified.and_then(|time| Timestamp::try_from(time).ok()).unwrap_or_else(Timestamp::now)
}

/// Records the entries of one file after the other.
struct Recorder<'a> {
    table: &'a Table,
    file: String,
    summary: IngestSummary,
    /// Events that are not recorded yet, with their line and place.
    events: Vec<((usize, usize), Event)>,
}

impl Recorder<'_> {
    async fn take(&mut self, FoundEntry { line, entry, found }: FoundEntry) -> Result<(), CliError> {
        match found {
            Found::Event(event) if event.facts.is_empty() => {
                self.summary.read += 1;
                self.summary.ignored += 1;
            }
            Found::Event(event) => {
                self.events.push(((line, entry), event));
                if self.events.len() >= BATCH {
                    return self.flush().await;
                }
            }
            Found::Ignored => {
                self.summary.read += 1;
                self.summary.ignored += 1;
            }
            Found::Rejected(why) => {
                self.summary.read += 1;
                self.reject((line, entry), chain(&why));
            }
        }
        Ok(())
    }

    /// Notes a rejected entry: once for each file and reason.
    fn reject(&mut self, (line, entry): (usize, usize), reason: String) {
        let of_file = || self.summary.rejected.iter().rev().take_while(|one| one.file == self.file);
        let full = of_file().count() >= REASONS;
        let reason = if full && of_file().all(|one| one.reason != reason) { "more reasons".to_owned() } else { reason };
        let known = self.summary.rejected.iter_mut().rev().take_while(|one| one.file == self.file);
        match known.into_iter().find(|one| one.reason == reason) {
            Some(known) => known.count += 1,
            None => self.summary.rejected.push(Rejected { file: self.file.clone(), line, entry, count: 1, reason }),
        }
    }

    /// Records the events that wait.
    async fn flush(&mut self) -> Result<(), CliError> {
        let mut left = std::mem::take(&mut self.events);
        self.summary.read += left.len();
        for tried in 1.. {
            let (places, events): (Vec<_>, Vec<_>) = left.into_iter().unzip();
            let answers = record::record(self.table, &events).await;
            left = Vec::new();
            for ((place, event), answer) in places.into_iter().zip(events).zip(answers) {
                match answer {
                    Ok(facts) if facts.contains(&Stored::New) => self.summary.recorded += 1,
                    Ok(_) => self.summary.known += 1,
                    Err(failure) if failure.disposition() == Disposition::Reject => {
                        self.reject(place, chain(&failure));
                    }
                    Err(failure) if tried >= TRIES => return Err(CliError::Recording(failure)),
                    Err(_) => left.push((place, event)),
                }
            }
            if left.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1) * tried).await;
        }
        Ok(())
    }
}

impl Print for IngestSummary {
    fn table(&self, _: Option<u16>) -> String {
        let mut text = String::new();
        for Rejected { file, line, entry, count, reason } in &self.rejected {
            let place = styled(HEADING, format!("{file}:{line}"));
            let more = if *count > 1 { format!(" and {} more", count - 1) } else { String::new() };
            let red = coloured(AnsiColor::Red, "rejected");
            _ = writeln!(text, "{red} {place}: entry {entry}{more}: {reason}");
        }
        let count = |count: usize, word: &str| format!("{} {word}", styled(HEADING, count));
        let mut counts = vec![
            count(self.read, "read"),
            count(self.recorded, "recorded"),
            count(self.known, "already recorded"),
            count(self.rejected.iter().map(|one| one.count).sum(), "rejected"),
        ];
        if self.ignored > 0 {
            counts.push(count(self.ignored, "ignored (not about images)"));
        }
        _ = writeln!(text, "{}", counts.join(", "));
        text
    }
}
