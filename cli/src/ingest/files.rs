//! Files: which there are below a folder, and their content as one stream of UTF-8.
//!
//! A file is recognised by its first bytes, never by its name: CloudTrail's names end in `.json.gz`, those of an export
//! of CloudWatch Logs in `000000.gz`, and Firehose compresses what CloudWatch Logs compressed before.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Cursor, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use indicatif::ProgressBar;

/// The number of times that one content is unpacked.
const LAYERS: usize = 3;

/// The files below some paths, in the order of their names. Hidden files in folders are left out, and folders that are
/// symbolic links, which could lead back.
///
/// # Errors
/// When a path does not exist or a folder cannot be listed, with the path.
pub(super) fn list(paths: &[PathBuf]) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut files = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            files.push(path.clone());
            continue;
        }
        let metadata = fs::metadata(path).map_err(|error| (path.clone(), error))?;
        if metadata.is_dir() {
            below(path, &mut files)?;
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn below(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), (PathBuf, io::Error)> {
    let of_folder = |error| (folder.to_owned(), error);
    let entries: Result<Vec<_>, _> = fs::read_dir(folder).map_err(of_folder)?.collect();
    let mut entries = entries.map_err(of_folder)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type().map_err(of_folder)?);
        match entry.file_name().to_string_lossy().starts_with('.') {
            true => {}
            false if kind.is_dir() => below(&path, files)?,
            false if path.is_file() => files.push(path),
            false => {}
        }
    }
    Ok(())
}

/// The content of a file as UTF-8, unpacked. The progress counts the bytes of the file itself.
///
/// # Errors
/// When the file cannot be opened, or is of a kind that is not read.
pub(super) fn open(path: &Path, progress: &ProgressBar) -> io::Result<Box<dyn BufRead>> {
    let raw: Box<dyn Read> = if path.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    unpacked(Box::new(BufReader::with_capacity(1 << 16, progress.wrap_read(raw))), LAYERS)
}

/// What the first bytes of files mean that are not read.
const NOT_READ: [(&[u8], &str); 5] = [
    (b"PAR1", "a Parquet file is not read: query it, and pass the rows as JSON or CSV"),
    (b"PK\x03\x04", "a ZIP archive is not read: unpack it"),
    (b"BZh", "a file compressed with bzip2 is not read: unpack it"),
    (b"\x28\xb5\x2f\xfd", "a file compressed with Zstandard is not read: unpack it"),
    (b"\xfd7zXZ", "a file compressed with xz is not read: unpack it"),
];

/// Removes what is around the text: compression, UTF-16.
pub(super) fn unpacked<'a>(mut source: Box<dyn BufRead + 'a>, layers: usize) -> io::Result<Box<dyn BufRead + 'a>> {
    let mut head = Vec::new();
    source.by_ref().take(6).read_to_end(&mut head)?;
    let rest: Box<dyn BufRead + 'a> = Box::new(Cursor::new(head.clone()).chain(source));
    if let Some((_, why)) = NOT_READ.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, *why));
    }
    Ok(match *head {
        [0x1f, 0x8b, ..] if layers > 0 => {
            return unpacked(Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(rest))), layers - 1);
        }
        [0xff, 0xfe, ..] => Box::new(BufReader::new(Utf16::new(rest, u16::from_le_bytes))),
        [0xfe, 0xff, ..] => Box::new(BufReader::new(Utf16::new(rest, u16::from_be_bytes))),
        // Without a byte order mark: JSON begins with one of these.
        [b'{' | b'[' | b'"', 0, 1..=255, 0, ..] => Box::new(BufReader::new(Utf16::new(rest, u16::from_le_bytes))),
        [0, b'{' | b'[' | b'"', 0, 1..=255, ..] => Box::new(BufReader::new(Utf16::new(rest, u16::from_be_bytes))),
        _ => rest,
    })
}

/// Text in UTF-16, which PowerShell 5 writes with `>`, as UTF-8. What is no character becomes U+FFFD.
struct Utf16<R> {
    source: R,
    unit: fn([u8; 2]) -> u16,
    /// Bytes and units that need more to become a character.
    bytes: Vec<u8>,
    units: Vec<u16>,
    text: Cursor<Vec<u8>>,
}

impl<R: Read> Utf16<R> {
    fn new(source: R, unit: fn([u8; 2]) -> u16) -> Self {
        Self { source, unit, bytes: Vec::new(), units: Vec::new(), text: Cursor::default() }
    }

    /// Reads the next characters; returns whether there are any.
    fn refill(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 1 << 13];
        let length = self.source.read(&mut chunk)?;
        self.bytes.extend(chunk.iter().take(length));
        let unit = self.unit;
        let whole = self.bytes.len() / 2 * 2;
        let taken: Vec<u8> = self.bytes.drain(..whole).collect();
        self.units.extend(taken.chunks_exact(2).filter_map(|pair| Some(unit(pair.try_into().ok()?))));
        // The first half of a pair waits for the second.
        let waits = length > 0 && self.units.last().is_some_and(|unit| (0xd800..0xdc00).contains(unit));
        let ready = self.units.len() - usize::from(waits);
        let characters = char::decode_utf16(self.units.drain(..ready));
        let text: String = characters.map(|one| one.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        self.text = Cursor::new(text.into_bytes());
        Ok(length > 0)
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.text.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            if !self.refill()? && self.text.get_ref().is_empty() {
                return Ok(0);
            }
        }
    }
}
