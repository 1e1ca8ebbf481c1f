//! A stream of bytes from which `serde_json` reads one document after the other, and which can go on after an error.

use std::{
    cell::Cell,
    io::{self, Read},
};

/// The most bytes of one entry: what bounds the memory. AWS's own entries have at most 1 MiB
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>).
const ENTRY_BYTES: usize = 8 << 20;

/// The bytes that are read at once, and in which the header of a table must end.
const BUFFER_BYTES: usize = 1 << 16;

/// The bytes that are looked at before they are taken.
const LOOK_AHEAD: usize = 4;

/// Where the reader is: shared with the code that `serde_json` calls while it reads.
#[derive(Debug)]
pub(super) struct Position {
    /// The current line, counted from 1.
    pub(super) line: Cell<usize>,
    /// The bytes since the current entry began.
    taken: Cell<usize>,
}

impl Position {
    pub(super) fn new() -> Self {
        Self { line: Cell::new(1), taken: Cell::new(0) }
    }

    /// An entry begins here.
    pub(super) fn begin(&self) {
        self.taken.set(0);
    }

    /// Whether the current entry is longer than is read.
    pub(super) fn is_too_long(&self) -> bool {
        self.taken.get() > ENTRY_BYTES
    }
}

/// The stream.
pub(super) struct Input<'a> {
    source: &'a mut dyn Read,
    position: &'a Position,
    buffer: Box<[u8]>,
    at: usize,
    end: usize,
    /// The last byte before the buffer.
    last: u8,
    /// Why the source ended early.
    pub(super) failure: Option<io::Error>,
}

impl<'a> Input<'a> {
    pub(super) fn new(source: &'a mut dyn Read, position: &'a Position, buffer_bytes: usize) -> Self {
        let buffer = vec![0; buffer_bytes.clamp(LOOK_AHEAD, BUFFER_BYTES)].into_boxed_slice();
        Self { source, position, buffer, at: 0, end: 0, last: b'\n', failure: None }
    }

    /// The next byte, which stays; `None` at the end.
    pub(super) fn peek(&mut self) -> Option<u8> {
        if self.at == self.end {
            self.last = self.previous();
            (self.at, self.end) = (0, 0);
            self.fill();
        }
        self.buffer.get(self.at).copied().filter(|_| self.at < self.end)
    }

    /// The byte before the next one; a line break at the beginning.
    pub(super) fn previous(&self) -> u8 {
        self.at.checked_sub(1).and_then(|at| self.buffer.get(at)).copied().unwrap_or(self.last)
    }

    /// Whether the next bytes are these few.
    pub(super) fn continues_with(&mut self, bytes: &[u8]) -> bool {
        if self.end - self.at < bytes.len() {
            self.last = self.previous();
            self.buffer.copy_within(self.at..self.end, 0);
            (self.at, self.end) = (0, self.end - self.at);
            self.fill();
        }
        self.buffer.get(self.at..self.end).is_some_and(|next| next.starts_with(bytes))
    }

    /// Reads more after what is in the buffer.
    fn fill(&mut self) {
        while self.failure.is_none() {
            let Some(free) = self.buffer.get_mut(self.end..).filter(|free| !free.is_empty()) else { return };
            match self.source.read(free) {
                Ok(length) => return self.end += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.failure = Some(error),
            }
        }
    }

    /// Takes the next byte.
    pub(super) fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        self.position.taken.set(self.position.taken.get() + 1);
        if byte == b'\n' {
            self.position.line.set(self.position.line.get() + 1);
        }
        Some(byte)
    }

    /// Puts the byte back that was taken last: after an error, it may be the beginning of something.
    pub(super) fn put_back(&mut self) {
        if let Some(at) = self.at.checked_sub(1) {
            self.at = at;
            if self.buffer.get(at) == Some(&b'\n') {
                self.position.line.set(self.position.line.get() - 1);
            }
        }
    }

    /// The first line, if it is short enough for the buffer. Nothing is taken.
    pub(super) fn first_line(&mut self) -> Option<&[u8]> {
        loop {
            let end = self.end;
            let read = self.buffer.get(self.at..end)?;
            if read.contains(&b'\n') {
                break;
            }
            self.fill();
            if self.end == end {
                break;
            }
        }
        let read = self.buffer.get(self.at..self.end)?;
        let full = self.end == self.buffer.len();
        match read.iter().position(|byte| *byte == b'\n') {
            Some(length) => read.get(..length),
            None if full => None,
            None => Some(read),
        }
    }
}

impl Read for Input<'_> {
    /// `serde_json` asks for one byte at a time.
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.position.is_too_long() {
            return Err(io::Error::other("too long"));
        }
        let Some(first) = to.first_mut() else { return Ok(0) };
        Ok(match self.next() {
            Some(byte) => {
                *first = byte;
                1
            }
            None => 0,
        })
    }
}
