//! Where answers go, and how names and times in them are shown. Both are chosen once, by options of every command.

use std::{
    fs,
    io::{self, ErrorKind, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use crate::{
    aliases::Aliases,
    failure::CliError,
    options::{OutputOptions, TimeForm},
};

/// What the options of every command say about the answer.
#[derive(Debug)]
struct Output {
    file: Option<PathBuf>,
    quiet: bool,
    verbose: bool,
    time: TimeForm,
    zone: TimeZone,
    aliases: Arc<Aliases>,
    /// What is written to the file when the command has ended.
    text: Mutex<String>,
    /// Whether the next part is the first of another answer to the same question.
    clears: AtomicBool,
}

static OUTPUT: OnceLock<Output> = OnceLock::new();

/// Sets where answers go, once for the process. Without it, they go to standard output.
pub(crate) fn begin(options: &OutputOptions, aliases: Arc<Aliases>) {
    let zone = if options.time == TimeForm::Local { TimeZone::system() } else { TimeZone::UTC };
    let OutputOptions { output, quiet, verbose, time, .. } = options.clone();
    _ = OUTPUT.set(Output {
        file: output,
        quiet,
        verbose,
        time,
        zone,
        aliases,
        text: Mutex::default(),
        clears: AtomicBool::new(false),
    });
}

/// Whether calls and tables are named on standard error.
pub(crate) fn is_verbose() -> bool {
    OUTPUT.get().is_some_and(|output| output.verbose)
}

/// Whether no answer is printed.
pub(crate) fn is_quiet() -> bool {
    OUTPUT.get().is_some_and(|output| output.quiet)
}

/// Whether answers go to a terminal.
pub(crate) fn is_terminal() -> bool {
    OUTPUT.get().is_none_or(|output| output.file.is_none()) && io::stdout().is_terminal()
}

/// Says on standard error what is asked, if `--verbose` is given.
pub(crate) fn note(text: &str) {
    if is_verbose() {
        anstream::eprintln!("{text}");
    }
}

/// Fails if the file of `--output` could not be written in the end: before the command did anything.
pub(crate) fn check() -> Result<(), CliError> {
    let Some(file) = OUTPUT.get().and_then(|output| output.file.as_ref()) else { return Ok(()) };
    let failed = |kind: ErrorKind| Err(CliError::Unwritable { path: file.clone(), source: kind.into() });
    match fs::metadata(file) {
        Ok(known) if known.is_dir() => return failed(ErrorKind::IsADirectory),
        Ok(_) => return Ok(()),
        Err(_) => {}
    }
    let folder = folder_of(file);
    match fs::metadata(folder) {
        Ok(folder) if folder.is_dir() => Ok(()),
        Ok(_) => failed(ErrorKind::NotADirectory),
        Err(source) => Err(CliError::Unwritable { path: file.clone(), source }),
    }
}

/// Writes a part of the answer.
pub(crate) fn write(text: &str) -> Result<(), CliError> {
    if let Some(output) = OUTPUT.get() {
        if output.quiet {
            return Ok(());
        }
        if output.file.is_some() {
            let plain = anstream::adapter::strip_str(text).to_string();
            output.text.lock().unwrap_or_else(PoisonError::into_inner).push_str(&plain);
            return Ok(());
        }
    }
    let clears = OUTPUT.get().is_some_and(|output| output.clears.swap(false, Relaxed)) && is_terminal();
    let clear = if clears { "\x1b[H\x1b[2J\x1b[3J" } else { "" };
    let mut out = anstream::stdout().lock();
    match out.write_all(clear.as_bytes()).and_then(|()| out.write_all(text.as_bytes())).and_then(|()| out.flush()) {
        // `ecr-lineage … | head` has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Clears a terminal before the next part of the answer.
pub(crate) fn clear_before_next() {
    if let Some(output) = OUTPUT.get() {
        output.clears.store(true, Relaxed);
    }
}

/// Writes the file of `--output`: after a command that ended, also if its exit code says that something is wrong.
pub(crate) fn finish() -> Result<(), CliError> {
    let Some(output) = OUTPUT.get() else { return Ok(()) };
    let Some(file) = &output.file else { return Ok(()) };
    let text = output.text.lock().unwrap_or_else(PoisonError::into_inner);
    // A device or a pipe is written, a file is replaced.
    let replaces = fs::metadata(file).map_or(true, |known| known.is_file());
    let written = if replaces { replace(file, text.as_bytes()) } else { fs::write(file, text.as_bytes()) };
    written.map_err(|source| CliError::Unwritable { path: file.clone(), source })
}

/// Writes all pages to a folder, which is created if it does not exist.
pub(crate) fn write_pages(folder: &Path, pages: &[(String, Vec<u8>)]) -> Result<(), CliError> {
    let failed = |path: &Path, source| CliError::Unwritable { path: path.to_owned(), source };
    fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
    for (name, page) in pages {
        let file = folder.join(name);
        replace(&file, page).map_err(|source| failed(&file, source))?;
    }
    write(&format!("Wrote {} pages to {}.\n", pages.len(), folder.display()))
}

/// Replaces a file by another in one step: a reader sees the old content or the new.
fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = folder_of(file).join(name);
    let stored = fs::File::create_new(&new)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&new, file));
    if stored.is_err() {
        _ = fs::remove_file(&new);
    }
    stored
}

fn folder_of(file: &Path) -> &Path {
    let folder = file.parent().unwrap_or(Path::new("."));
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

/// A text as it is shown: with aliases of accounts, and times relative to now. Applied twice, it changes nothing more.
pub(crate) fn shown(text: &str) -> String {
    let Some(output) = OUTPUT.get() else { return text.to_owned() };
    let text = output.aliases.shown(text);
    match output.time {
        TimeForm::Utc => text,
        TimeForm::Local => text.replace("(UTC)", "(LOCAL)"),
        TimeForm::Relative => with_times(&text.replace(" (UTC)", ""), |at| relative(at, crate::now::now())),
    }
}

/// A finished text in local time, if that is chosen. Only once: local times look like those in UTC, and are as long.
pub(crate) fn localized(text: String) -> String {
    match OUTPUT.get() {
        Some(output) if output.time == TimeForm::Local => {
            with_times(&text, |at| at.to_zoned(output.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string())
        }
        _ => text,
    }
}

/// The length of a time in a text, such as `2026-11-16 01:54:34`.
const TIME_LENGTH: usize = 19;

/// A text with each of its times in another form.
fn with_times(text: &str, form: impl Fn(Timestamp) -> String) -> String {
    let (mut shown, mut rest) = (String::new(), text);
    while let Some(next) = rest.chars().next() {
        let time = rest.get(..TIME_LENGTH).filter(|_| next.is_ascii_digit()).and_then(time_of);
        let length = match time {
            Some(at) => {
                shown.push_str(&form(at));
                TIME_LENGTH
            }
            None => {
                shown.push(next);
                next.len_utf8()
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    shown
}

/// The time that a text is, as [`domain::time::time_text`] writes it.
fn time_of(text: &str) -> Option<Timestamp> {
    let time = DateTime::strptime("%Y-%m-%d %H:%M:%S", text).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// A time relative to another, such as `3 h ago` or `in 2 d`.
fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second() - at.as_second();
    let amount = match seconds.abs() {
        seconds @ ..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    };
    if seconds < 0 { format!("in {amount}") } else { format!("{amount} ago") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_a_text_are_shown_relative_to_now() {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        for (text, shown) in [
            ("due 2026-11-30 15:00:30, deleted 2026-11-30 11:59:18", "due in 3 h, deleted 42 s ago"),
            ("2026-11-28 12:00:00", "2 d ago"),
            ("2026-11-30 11:30:00 → ‼", "30 min ago → ‼"),
            ("2026-13-30 11:30:00 20261130", "2026-13-30 11:30:00 20261130"),
        ] {
            assert_eq!(with_times(text, |at| relative(at, now)), shown);
        }
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_a_folder_never() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("answer.txt");
        replace(&file, b"old").unwrap();
        replace(&file, b"new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(replace(folder.path(), b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no other file is left");
    }
}
