//! The body of a response: a whole text, or a part of a file that is read as it is sent.

use std::{
    fs::File,
    io::{self, Read},
    pin::Pin,
    task::{Context, Poll},
};

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

/// The bytes that are read at a time.
const CHUNK: usize = 128 << 10;

/// The most bytes of a request that are read only to answer it.
const MOST_IGNORED: usize = 1 << 30;

/// The body of a request, or nothing if it has more than `most` bytes. What is too large is read to its end: a client
/// that is still sending would see a closed connection instead of the answer.
pub(crate) async fn read(mut body: Incoming, most: usize) -> Result<Option<Bytes>, hyper::Error> {
    let (mut kept, mut length) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > MOST_IGNORED {
            return Ok(None);
        }
        if length > most {
            kept = Vec::new();
        } else {
            kept.extend_from_slice(&data);
        }
    }
    Ok((length <= most).then(|| kept.into()))
}

pub(crate) enum ResponseBody {
    Whole(Full<Bytes>),
    /// The next bytes of a file.
    File {
        file: File,
        left: u64,
    },
}

impl ResponseBody {
    pub(crate) fn of(whole: impl Into<Bytes>) -> Self {
        Self::Whole(Full::new(whole.into()))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(context).map_err(|never| match never {}),
            Self::File { left: 0, .. } => Poll::Ready(None),
            Self::File { file, left } => {
                let mut chunk = vec![0; CHUNK.min(usize::try_from(*left).unwrap_or(CHUNK))];
                Poll::Ready(Some(file.read(&mut chunk).and_then(|count| {
                    if count == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    *left = left.saturating_sub(count as u64);
                    chunk.truncate(count);
                    Ok(Frame::data(chunk.into()))
                })))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::File { left, .. } => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::File { left, .. } => SizeHint::with_exact(*left),
        }
    }
}
