//! Tables for people: the trait [`Print`] and what its implementations share. An implementation stands beside its type;
//! those for answers of other crates are in the modules below.
//!
//! Every colour has a sign or a word beside it, so that no information is lost without colour. Colour is removed at the
//! output stream unless that is a terminal, and always under `NO_COLOR`.

mod activity;
pub(crate) mod alerts;
pub(crate) mod answer;
mod audit;
mod controls;
mod costs;
pub(crate) mod csv;
mod deletions;
mod demo;
mod lifecycle;
pub(crate) mod presence;
mod preview;
pub(crate) mod restore;

use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};
use comfy_table::{ColumnConstraint, ContentArrangement, Width, presets};
use domain::{
    image::{Image, Registry, Tag},
    time::time_text,
};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use textwrap::{
    WordSeparator, WordSplitter,
    core::{break_words, display_width},
    word_splitters::split_words,
    wrap_algorithms::wrap_first_fit,
};

use crate::output;

/// An answer that can be printed as a table.
pub trait Print {
    /// The table as text. If there is a width, in columns, no line is longer.
    fn table(&self, width: Option<u16>) -> String;

    /// The list of the answer, as CSV; nothing if it has none.
    fn sheet(&self) -> Option<&'static csv::Sheet> {
        None
    }
}

/// The width of the answer in columns: that of the terminal, else `COLUMNS`. Nothing if neither is known, because
/// programs expect whole lines.
#[must_use]
pub fn width() -> Option<u16> {
    let columns = || std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|width| *width > 0);
    if !output::is_terminal() {
        return columns();
    }
    let terminal = terminal_size::terminal_size_of(std::io::stdout()).map(|(terminal_size::Width(width), _)| width);
    terminal.filter(|width| *width > 0).or_else(columns).or(Some(80))
}

/// The width of standard error's terminal in columns.
pub(crate) fn error_width() -> Option<u16> {
    terminal_size::terminal_size_of(std::io::stderr()).map(|(terminal_size::Width(width), _)| width)
}

/// A time as it is shown.
pub(crate) fn time(at: Timestamp) -> String {
    output::shown(&time_text(at))
}

/// A registry as it is shown.
pub(crate) fn registry_name(registry: &Registry) -> String {
    output::shown(registry.as_str())
}

/// The programs of the commands that answers contain.
const PROGRAMS: [&str; 7] = ["aws", "crane", "curl", "ecr-lineage", "export", "oras", "sam"];

/// A table as it is printed: no line is longer than the width, except for commands, which stay whole so that they can be
/// pasted.
pub(crate) fn fitted(table: &str, width: Option<u16>) -> String {
    let table = output::localized(output::shown(table));
    let mut continues = false;
    let lines = table.lines().map(|line| {
        // Columns are padded; the padding of the last one is removed.
        let line = line.trim_end();
        let text = line.trim_start_matches(' ');
        let is_command = continues || text.split(' ').next().is_some_and(|program| PROGRAMS.contains(&program));
        continues = is_command && text.ends_with('\\');
        if width.is_none_or(|width| display_width(line) <= width.into()) || is_command {
            return format!("{line}\n");
        }
        let indent = " ".repeat(line.len() - text.len());
        filled(text, [&indent, &format!("{indent}    ")], width) + "\n"
    });
    lines.collect()
}

/// A progress bar on standard error, hidden if standard error is not a terminal.
pub(crate) fn progress(length: u64, template: &str) -> ProgressBar {
    if output::is_quiet() || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}

pub(crate) const HEADING: Style = Style::new().bold();
pub(crate) const QUIET: Style = Style::new().dimmed();

pub(crate) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

pub(crate) fn coloured(colour: AnsiColor, text: impl std::fmt::Display) -> String {
    styled(colour.on_default(), text)
}

/// Wraps a text, with one indent for the first line and one for the rest. Without a width its lines stay whole.
///
/// A word is broken only if it is longer than a line: after a slash or a comma, before an `@`, else anywhere. So a digest
/// stays whole.
pub(crate) fn filled(text: &str, [first, rest]: [&str; 2], width: Option<u16>) -> String {
    let text = output::shown(text);
    let width = width.map_or(usize::MAX / 2, usize::from);
    let room = |indent: &str| width.saturating_sub(display_width(indent)).max(1);
    let most = room(first).min(room(rest));
    let mut lines: Vec<String> = Vec::new();
    for line in text.split('\n') {
        let words = WordSeparator::AsciiSpace.find_words(line).flat_map(|word| {
            let is_long = display_width(word.word) > most;
            split_words([word], if is_long { &AT_SEAMS } else { &WordSplitter::NoHyphenation })
        });
        let words = break_words(words, most);
        let indents = if lines.is_empty() { [first, rest] } else { [rest, rest] };
        #[expect(clippy::cast_precision_loss, reason = "the width of a terminal is small")]
        let widths = indents.map(|indent| room(indent) as f64);
        for words in wrap_first_fit(&words, &widths) {
            let indent = if lines.is_empty() { first } else { rest };
            let words: String = words.iter().flat_map(|word| [word.word, word.whitespace]).collect();
            lines.push(format!("{indent}{}", words.trim_end_matches(' ')));
        }
    }
    lines.join("\n")
}

static AT_SEAMS: WordSplitter = WordSplitter::Custom(seams);

/// Where a word that is longer than a line is broken.
fn seams(word: &str) -> Vec<usize> {
    let seams = word.char_indices().filter_map(|(at, character)| match character {
        '/' | ',' => Some(at + 1),
        '@' => Some(at),
        _ => None,
    });
    seams.filter(|at| (1..word.len()).contains(at)).collect()
}

/// A table whose columns with an index in `whole` are never wrapped.
fn table(width: Option<u16>, headings: &[&str], whole: &[usize]) -> Table {
    let headings = headings.iter().map(|heading| output::shown(heading)).collect();
    Table { width, headings, whole: whole.to_vec(), rows: Vec::new() }
}

/// A table without lines: columns apart, headings bold.
///
/// On a narrow terminal, a first column that can be wrapped is printed above its row, and the others below, each on
/// lines of its own. If that is still too wide, the last of the other columns follow them, each with its heading.
struct Table {
    width: Option<u16>,
    headings: Vec<String>,
    whole: Vec<usize>,
    rows: Vec<Vec<String>>,
}

/// The fewest characters of a text column that are readable.
const NARROWEST_TEXT: usize = 28;

/// The space between two columns.
const GAP: usize = 2;

impl Table {
    fn add_row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(|cell| output::shown(&cell.into())).collect());
    }

    fn cells(&self, column: usize) -> impl Iterator<Item = &String> {
        self.rows.iter().chain([&self.headings]).filter_map(move |row| row.get(column))
    }

    /// The width that a column needs, without the gap: all of its content, or what is readable if it can be wrapped.
    fn needed(&self, column: usize) -> usize {
        let lines = self.cells(column).flat_map(|cell| cell.lines());
        let content = lines.map(display_width).max().unwrap_or_default();
        if self.whole.contains(&column) {
            return content;
        }
        let words = self.cells(column).flat_map(|cell| cell.split_whitespace());
        words.map(display_width).max().unwrap_or_default().max(content.min(NARROWEST_TEXT))
    }

    fn fits(&self, columns: &[usize], indent: usize) -> bool {
        let needed: usize = columns.iter().map(|column| self.needed(*column) + GAP).sum();
        self.width.is_none_or(|width| needed + indent <= usize::from(width) + GAP)
    }

    /// A table of some of the columns.
    fn grid(&self, columns: &[usize], width: Option<u16>) -> comfy_table::Table {
        let mut grid = comfy_table::Table::new();
        grid.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        // Without a terminal nothing is wrapped: programs and files expect whole lines. The gap after the last column is
        // removed in the end.
        grid.set_width(width.map_or(u16::MAX, |width| width.saturating_add(2)));
        let headings: Vec<_> = self.headings.iter().map(|heading| styled(HEADING, heading)).collect();
        let chosen =
            |row: &Vec<String>| columns.iter().filter_map(|column| row.get(*column).cloned()).collect::<Vec<_>>();
        grid.set_header(chosen(&headings));
        self.rows.iter().for_each(|row| _ = grid.add_row(chosen(row)));
        for column in grid.column_iter_mut() {
            column.set_padding((0, 2));
            let Some(index) = columns.get(column.index) else { continue };
            column.set_constraint(if self.whole.contains(index) {
                ColumnConstraint::ContentWidth
            } else {
                let least = u16::try_from(self.needed(*index) + GAP).unwrap_or(u16::MAX);
                ColumnConstraint::LowerBoundary(Width::Fixed(least))
            });
        }
        grid
    }

    /// Writes a row of a narrow table: the lines of the grid, and what stands above and below them.
    fn write_row<'a>(
        &self,
        f: &mut std::fmt::Formatter<'_>,
        row: &[String],
        lines: &mut impl Iterator<Item = &'a str>,
        narrow: &Narrow,
    ) -> std::fmt::Result {
        let cell = |column: &usize| row.get(*column).map(String::as_str).unwrap_or_default();
        if let Some(above) = narrow.above {
            write!(f, "\n{}", filled(cell(&above), ["", "    "], self.width))?;
        }
        let height = narrow.beside.iter().map(|column| cell(column).lines().count()).max();
        let indent = narrow.indent();
        lines.take(height.unwrap_or(1).max(1)).try_for_each(|line| write!(f, "\n{indent}{}", line.trim_end()))?;
        let moved = narrow.moved.iter().filter(|column| !cell(column).is_empty());
        let moved = moved.map(|column| format!("{} {}", self.headings.get(*column).map_or("", |h| h), cell(column)));
        let moved = moved.collect::<Vec<_>>().join("  ");
        let texts = narrow.below.iter().flat_map(|column| cell(column).lines());
        for line in [moved.as_str()].into_iter().chain(texts).filter(|line| !line.is_empty()) {
            write!(f, "\n{}", filled(line, ["  ", "    "], self.width))?;
        }
        Ok(())
    }
}

/// Where the columns of a narrow table stand.
struct Narrow {
    /// A first column that can be wrapped.
    above: Option<usize>,
    beside: Vec<usize>,
    /// Columns that are never wrapped, for which there is no room.
    moved: Vec<usize>,
    below: Vec<usize>,
}

impl Narrow {
    fn of(table: &Table) -> Self {
        let all = 0..table.headings.len();
        let (beside, below): (Vec<_>, Vec<_>) = all.partition(|column| table.whole.contains(column));
        let above = below.first().copied().filter(|first| *first == 0);
        let below = below.into_iter().filter(|column| Some(*column) != above).collect();
        let mut narrow = Self { above, beside, moved: Vec::new(), below };
        while narrow.beside.len() > 1 && !table.fits(&narrow.beside, narrow.indent().len()) {
            narrow.moved.splice(0..0, narrow.beside.pop());
        }
        narrow
    }

    fn indent(&self) -> &'static str {
        if self.above.is_some() { "  " } else { "" }
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all: Vec<_> = (0..self.headings.len()).collect();
        if self.fits(&all, 0) {
            return write!(f, "{}", self.grid(&all, self.width));
        }
        let narrow = Narrow::of(self);
        let indent = narrow.indent();
        let grid = self.grid(&narrow.beside, self.width.map(|width| width.saturating_sub(2))).to_string();
        let mut lines = grid.lines();
        let heading = |column: &usize| self.headings.get(*column).map(|heading| styled(HEADING, heading));
        if let Some(above) = narrow.above.as_ref().and_then(heading) {
            writeln!(f, "{above}")?;
        }
        write!(f, "{indent}{}", lines.next().unwrap_or_default().trim_end())?;
        let below: Vec<_> = narrow.below.iter().filter_map(heading).collect();
        if !below.is_empty() {
            write!(f, "\n{}", filled(&below.join(" / "), ["  ", "    "], self.width))?;
        }
        self.rows.iter().try_for_each(|row| self.write_row(f, row, &mut lines, &narrow))
    }
}

/// `42 s`, `3 min 20 s`, `2 h 05 min`, `3 d 02 h`.
fn duration(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {:02} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// An image in short, and the tag if one is meant.
pub(crate) fn image_name(image: &Image, tag: Option<&Tag>) -> String {
    let tag = tag.map(|tag| format!(", tag {tag}")).unwrap_or_default();
    format!("{}@{}{tag}", image.repository, image.digest.short())
}

pub(crate) fn plural(count: usize, word: &str) -> String {
    match word.strip_suffix('y') {
        _ if count == 1 => word.to_owned(),
        Some(stem) => format!("{stem}ies"),
        None => format!("{word}s"),
    }
}
