//! Tables for people: the trait [`Print`] and what its implementations share. An implementation stands beside its type;
//! those for answers of other crates are in the modules below.
//!
//! Every colour has a sign or a word beside it, so that no information is lost without colour. Colour is removed at the
//! output stream unless that is a terminal, and always under `NO_COLOR`.

pub(crate) mod alerts;
pub(crate) mod answer;
mod audit;
mod controls;
mod deletions;
mod demo;
pub(crate) mod presence;
mod preview;
pub(crate) mod restore;

use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};
use comfy_table::{ColumnConstraint, ContentArrangement, presets};
use domain::image::{Image, Tag};
use indicatif::{ProgressBar, ProgressStyle};

pub(crate) use domain::time::time_text as time;

/// An answer that can be printed as a table.
pub trait Print {
    /// The table as text. If there is a width, in columns, no line is longer.
    fn table(&self, width: Option<u16>) -> String;
}

/// The width of the terminal in columns; nothing if standard output is not a terminal, because programs expect whole
/// lines.
#[must_use]
pub fn width() -> Option<u16> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(terminal_size::Width(width), _)| width)
}

/// The width of standard error's terminal in columns.
pub(crate) fn error_width() -> Option<u16> {
    terminal_size::terminal_size_of(std::io::stderr()).map(|(terminal_size::Width(width), _)| width)
}

/// A progress bar on standard error, hidden if standard error is not a terminal.
pub(crate) fn progress(length: u64, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
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

/// Wraps a line, with one indent for the first line and one for the rest. Without a width the line stays whole.
pub(crate) fn filled(line: &str, [first, rest]: [&str; 2], width: Option<u16>) -> String {
    let options = textwrap::Options::new(width.map_or(usize::MAX, usize::from)).break_words(false);
    let options = options.word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::fill(line, options.initial_indent(first).subsequent_indent(rest))
}

/// A table whose columns with an index in `whole` are never wrapped.
fn table(width: Option<u16>, headings: &[&str], whole: &[usize]) -> Table {
    let headings = headings.iter().map(|heading| styled(HEADING, heading)).collect();
    Table { width, headings, whole: whole.to_vec(), rows: Vec::new() }
}

/// A table without lines: columns apart, headings bold.
///
/// On a narrow terminal, the cells of wrappable columns are printed below their row, each on lines of its own.
struct Table {
    width: Option<u16>,
    headings: Vec<String>,
    whole: Vec<usize>,
    rows: Vec<Vec<String>>,
}

/// The fewest characters of a text column that are readable.
const NARROWEST_TEXT: usize = 28;

impl Table {
    fn add_row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    fn is_narrow(&self, broken: usize) -> bool {
        let of_column = |column: &usize| {
            let cells = self.rows.iter().chain([&self.headings]).filter_map(|row| row.get(*column));
            cells.flat_map(|cell| cell.lines()).map(textwrap::core::display_width).max().unwrap_or_default() + 2
        };
        let needed = self.whole.iter().map(of_column).sum::<usize>() + broken * NARROWEST_TEXT;
        broken > 0 && self.width.is_some_and(|width| usize::from(width) < needed)
    }

    /// A table of some of the columns.
    fn grid(&self, columns: &[usize]) -> comfy_table::Table {
        let mut grid = comfy_table::Table::new();
        grid.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        // Without a terminal nothing is wrapped: programs and files expect whole lines.
        grid.set_width(self.width.unwrap_or(u16::MAX));
        let chosen =
            |row: &Vec<String>| columns.iter().filter_map(|column| row.get(*column).cloned()).collect::<Vec<_>>();
        grid.set_header(chosen(&self.headings));
        self.rows.iter().for_each(|row| _ = grid.add_row(chosen(row)));
        for column in grid.column_iter_mut() {
            column.set_padding((0, 2));
            if columns.get(column.index).is_some_and(|column| self.whole.contains(column)) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        grid
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all: Vec<_> = (0..self.headings.len()).collect();
        let (whole, broken): (Vec<_>, Vec<_>) = all.iter().partition(|column| self.whole.contains(column));
        if !self.is_narrow(broken.len()) {
            return write!(f, "{}", self.grid(&all));
        }
        let grid = self.grid(&whole).to_string();
        let mut lines = grid.lines();
        let headings: Vec<_> = broken.iter().filter_map(|column| self.headings.get(*column).cloned()).collect();
        write!(f, "{}\n  {}", lines.next().unwrap_or_default(), headings.join(" / "))?;
        for row in &self.rows {
            let height = whole.iter().filter_map(|column| row.get(*column)).map(|cell| cell.lines().count()).max();
            lines.by_ref().take(height.unwrap_or(1).max(1)).try_for_each(|line| write!(f, "\n{line}"))?;
            let below = broken.iter().filter_map(|column| row.get(*column)).flat_map(|cell| cell.lines());
            for line in below.filter(|line| !line.is_empty()) {
                write!(f, "\n{}", filled(line, ["  ", "    "], self.width))?;
            }
        }
        Ok(())
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

fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}
