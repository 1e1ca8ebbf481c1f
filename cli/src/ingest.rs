//! `ingest`: records events from files.

use std::{
    fmt::Write,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use anstyle::AnsiColor;
use domain::event::Event;
use retry::{Disposition, chain};
use serde::Serialize;
use store::{Stored, Table};

use crate::{
    failure::CliError,
    input,
    print::{HEADING, Print, coloured, progress, styled},
};

/// Events that are recorded together: enough to merge the facts of an image, few enough to show progress.
const BATCH: usize = 100;

/// Attempts to record a batch, with a pause in between. Events that were recorded stay recorded.
const TRIES: u32 = 3;

/// The result of `ingest`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct IngestSummary {
    /// The number of entries read.
    pub read: usize,
    /// The number of new events.
    pub recorded: usize,
    /// The number of events that were recorded before.
    pub known: usize,
    /// The number of CloudTrail records that are not about an image.
    pub ignored: usize,
    /// The entries that could not be recorded.
    pub rejected: Vec<Rejected>,
}

/// An entry of a file that could not be recorded.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// The path of the file; `-` for standard input.
    pub file: String,
    /// The line on which the entry starts, counted from 1.
    pub line: usize,
    /// The reason.
    pub reason: String,
}

/// Records all events of some files.
///
/// # Errors
/// When a file cannot be read or the table cannot be written. The events before it are recorded, and recording them
/// again changes nothing.
pub async fn ingest(table: &Table, files: &[PathBuf]) -> Result<IngestSummary, CliError> {
    let mut summary = IngestSummary::default();
    let bytes = files.iter().filter_map(|path| std::fs::metadata(path).ok()).map(|file| file.len()).sum();
    let progress = progress(bytes, "{wide_bar} {percent:>3}%  {elapsed}  {msg}");
    for path in files {
        let text = read(path).map_err(|source| CliError::Unreadable { path: path.clone(), source })?;
        let file = path.display().to_string();
        progress.set_message(file.clone());
        let before = progress.position();
        let lines = text.iter().filter(|byte| **byte == b'\n').count().max(1);
        let mut batch = Vec::new();
        for entry in input::entries(&text) {
            match entry.event {
                Ok(event) => batch.push((entry.line, event)),
                Err(why) => {
                    summary.read += 1;
                    summary.rejected.push(Rejected { file: file.clone(), line: entry.line, reason: chain(&why) });
                }
            }
            if batch.len() >= BATCH {
                record(table, &file, std::mem::take(&mut batch), &mut summary).await?;
                progress.set_position(before + (text.len() * entry.line / lines) as u64);
            }
        }
        record(table, &file, batch, &mut summary).await?;
        progress.set_position(before + text.len() as u64);
    }
    progress.finish_and_clear();
    Ok(summary)
}

/// Records some events of one file.
async fn record(
    table: &Table,
    file: &str,
    batch: Vec<(usize, Event)>,
    summary: &mut IngestSummary,
) -> Result<(), CliError> {
    summary.read += batch.len();
    let mut left = batch;
    for tried in 1.. {
        let (lines, events): (Vec<_>, Vec<_>) = left.into_iter().unzip();
        let answers = record::record(table, &events).await;
        left = Vec::new();
        for ((line, event), answer) in lines.into_iter().zip(events).zip(answers) {
            match answer {
                Ok(facts) if facts.is_empty() => summary.ignored += 1,
                Ok(facts) if facts.contains(&Stored::New) => summary.recorded += 1,
                Ok(_) => summary.known += 1,
                Err(failure) if failure.disposition() == Disposition::Reject => {
                    summary.rejected.push(Rejected { file: file.to_owned(), line, reason: chain(&failure) });
                }
                Err(failure) if tried >= TRIES => return Err(CliError::Recording(failure)),
                Err(_) => left.push((line, event)),
            }
        }
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1) * tried).await;
    }
    Ok(())
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut bytes)?;
    } else {
        bytes = std::fs::read(path)?;
    }
    input::unpack(bytes)
}

impl Print for IngestSummary {
    fn table(&self, _: Option<u16>) -> String {
        let mut text = String::new();
        for rejected in &self.rejected {
            let place = styled(HEADING, format!("{}:{}", rejected.file, rejected.line));
            _ = writeln!(text, "{} {place}: {}", coloured(AnsiColor::Red, "rejected"), rejected.reason);
        }
        let count = |count: usize, word: &str| format!("{} {word}", styled(HEADING, count));
        let mut counts = vec![
            count(self.read, "read"),
            count(self.recorded, "recorded"),
            count(self.known, "already recorded"),
            count(self.rejected.len(), "rejected"),
        ];
        if self.ignored > 0 {
            counts.push(count(self.ignored, "ignored (not about images)"));
        }
        _ = writeln!(text, "{}", counts.join(", "));
        text
    }
}
