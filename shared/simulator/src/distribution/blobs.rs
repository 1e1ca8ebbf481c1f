//! Blobs: configurations and layers, and their uploads.

use std::io::{Seek, SeekFrom};

use domain::image::Digest;
use http_body_util::BodyExt;
use hyper::{
    HeaderMap, StatusCode,
    body::Incoming,
    header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION, RANGE},
};
use serde_json::{Value, json};

use super::{CONTENT_DIGEST, DistributionError, Failure, Query, Reply, Session, answer_with, digest_of, put_header};
use crate::{api::layers::complete_upload, body::ResponseBody, layers::UploadError, world::RepositoryId};

/// The header with the id of an upload.
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

impl Session<'_> {
    /// Downloads a blob, or a range of it. ECR redirects to S3 instead (B5).
    pub(super) fn get_blob(&self, name: &str, digest: &str, headers: &HeaderMap, head: bool) -> Reply {
        let digest = digest_of(digest)?;
        let action = if head { "BatchCheckLayerAvailability" } else { "GetDownloadUrlForLayer" };
        let size = self.read(name, action, |world, place| {
            world.layer_size(place, &digest).ok_or_else(|| {
                let message = format!("the repository has no blob {digest}");
                DistributionError::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", message).into()
            })
        })?;
        let range = headers.get(RANGE).and_then(|range| range.to_str().ok());
        let (status, first, length) = match range.map(|range| bytes_of(range, size)) {
            None => (StatusCode::OK, 0, size),
            Some(Some((first, last))) => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
            Some(None) => {
                let message = format!("the blob has {size} bytes");
                let mut error = DistributionError::new(StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID", message);
                error.headers.push((CONTENT_RANGE, format!("bytes */{size}")));
                return Err(error.into());
            }
        };
        let mut headers = vec![
            (CONTENT_TYPE, "application/octet-stream".to_owned()),
            (CONTENT_LENGTH, length.to_string()),
            (ACCEPT_RANGES, "bytes".to_owned()),
            (CONTENT_DIGEST, digest.to_string()),
        ];
        if status == StatusCode::PARTIAL_CONTENT {
            headers.push((CONTENT_RANGE, format!("bytes {first}-{}/{size}", first + length - 1)));
        }
        let answer = answer_with(status, &headers, "");
        if head {
            return Ok(answer);
        }
        let file = self.simulator.layers.read(&digest).and_then(|mut file| {
            file.seek(SeekFrom::Start(first))?;
            Ok(file)
        });
        let file = file.map_err(UploadError::Disk)?;
        Ok(answer.map(|_| ResponseBody::File { file, left: length }))
    }

    /// Begins an upload; with `digest` the body is the whole blob; with `mount` the blob may be in another repository
    /// of the registry.
    pub(super) async fn begin_upload(&self, name: &str, query: &Query, body: Incoming) -> Reply {
        if let (Some(digest), Some(from)) = (query.get("mount"), query.get("from"))
            && let Some(answer) = self.mount(name, &digest_of(digest)?, from)?
        {
            return Ok(answer);
        }
        let begun = self.call("InitiateLayerUpload", name, json!({}))?;
        let id = begun.get("uploadId").and_then(Value::as_str).unwrap_or_default();
        match query.get("digest") {
            None => self.upload_answer(StatusCode::ACCEPTED, name, id, 0),
            Some(digest) => {
                let place = self.place(name, "UploadLayerPart")?;
                self.receive(id, &place, 0, body).await?;
                self.complete(name, id, &place, &digest_of(digest)?)
            }
        }
    }

    /// Gives a blob of another repository to this one, if the caller may read it there, and the registry's account
    /// setting permits it (B5).
    fn mount(&self, name: &str, digest: &Digest, from: &str) -> Result<Option<super::HttpResponse>, Failure> {
        if self.simulator.with(|world| world.account_setting(&self.registry, "BLOB_MOUNTING")) != "ENABLED" {
            return Ok(None);
        }
        let found = self.read(from, "GetDownloadUrlForLayer", |world, from| Ok(world.layer_size(from, digest)));
        let Ok(Some(size_bytes)) = found else { return Ok(None) };
        self.read(name, "InitiateLayerUpload", |world, place| {
            world.add_layer(place, digest, size_bytes);
            Ok(())
        })?;
        Ok(Some(created(name, digest)))
    }

    /// Appends the body to an upload.
    pub(super) async fn append(&self, name: &str, id: &str, headers: &HeaderMap, body: Incoming) -> Reply {
        let place = self.place(name, "UploadLayerPart")?;
        let received = self.receive_at(name, id, &place, headers, body).await?;
        self.upload_answer(StatusCode::ACCEPTED, name, id, received)
    }

    /// Appends the body, which may be empty, and makes a blob of the upload.
    pub(super) async fn complete_upload(
        &self,
        name: &str,
        id: &str,
        query: &Query,
        headers: &HeaderMap,
        body: Incoming,
    ) -> Reply {
        let place = self.place(name, "CompleteLayerUpload")?;
        let digest = digest_of(query.get("digest").unwrap_or_default())?;
        self.receive_at(name, id, &place, headers, body).await?;
        self.complete(name, id, &place, &digest)
    }

    pub(super) fn upload_status(&self, name: &str, id: &str) -> Reply {
        let place = self.place(name, "UploadLayerPart")?;
        let received = self.simulator.layers.received(id, &place)?;
        self.upload_answer(StatusCode::NO_CONTENT, name, id, received)
    }

    pub(super) fn cancel_upload(&self, name: &str, id: &str) -> Reply {
        let place = self.place(name, "UploadLayerPart")?;
        self.simulator.layers.received(id, &place)?;
        self.simulator.layers.cancel(id);
        Ok(answer_with(StatusCode::NO_CONTENT, &[], ""))
    }

    /// Appends a body where its range says, or after what was received. Another place is an error that says where.
    async fn receive_at(
        &self,
        name: &str,
        id: &str,
        place: &RepositoryId,
        headers: &HeaderMap,
        body: Incoming,
    ) -> Result<u64, Failure> {
        let received = self.simulator.layers.received(id, place)?;
        let range = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let first = match range {
            None => received,
            Some(range) => {
                let first = range.trim_start_matches("bytes ").split('-').next().and_then(|first| first.parse().ok());
                first.unwrap_or(u64::MAX)
            }
        };
        if first != received {
            let error = UploadError::NotConsecutive { received };
            let mut error =
                DistributionError::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", error.to_string());
            error.headers.extend(upload_headers(name, id, received));
            return Err(error.into());
        }
        self.receive(id, place, received, body).await
    }

    /// Appends a body as it arrives. What arrived before it breaks off stays: a client can go on from there.
    async fn receive(&self, id: &str, place: &RepositoryId, at: u64, mut body: Incoming) -> Result<u64, Failure> {
        let mut received = at;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Err(Failure::Lost) };
            if let Ok(bytes) = frame.into_data() {
                received = self.simulator.layers.append(id, place, received, &bytes)?;
            }
        }
        Ok(received)
    }

    fn complete(&self, name: &str, id: &str, place: &RepositoryId, digest: &Digest) -> Reply {
        complete_upload(self.simulator, id, place, std::slice::from_ref(digest))?;
        Ok(created(name, digest))
    }

    fn upload_answer(&self, status: StatusCode, name: &str, id: &str, received: u64) -> Reply {
        let mut answer = answer_with(status, &[(UPLOAD_ID, id.to_owned())], "");
        for (name, value) in upload_headers(name, id, received) {
            put_header(&mut answer, &name, &value);
        }
        Ok(answer)
    }
}

fn created(name: &str, digest: &Digest) -> super::HttpResponse {
    let location = format!("/v2/{name}/blobs/{digest}");
    answer_with(StatusCode::CREATED, &[(LOCATION, location), (CONTENT_DIGEST, digest.to_string())], "")
}

/// Where an upload goes on, and what it has.
fn upload_headers(name: &str, id: &str, received: u64) -> [(HeaderName, String); 2] {
    let location = format!("/v2/{name}/blobs/uploads/{id}");
    [(LOCATION, location), (RANGE, format!("0-{}", received.saturating_sub(1)))]
}

/// The first and last byte of a range of `bytes=…`; nothing if the blob does not have them.
/// <https://www.rfc-editor.org/rfc/rfc9110#name-byte-ranges>
fn bytes_of(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let end = size.checked_sub(1)?;
    if first.is_empty() {
        let length: u64 = last.parse().ok().filter(|length| *length > 0)?;
        return Some((size.saturating_sub(length), end));
    }
    let first: u64 = first.parse().ok()?;
    let last = if last.is_empty() { end } else { last.parse::<u64>().ok()?.min(end) };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_at_the_end_of_the_blob() {
        for (range, bytes) in [
            ("bytes=0-3", Some((0, 3))),
            ("bytes=4-", Some((4, 9))),
            ("bytes=-2", Some((8, 9))),
            ("bytes=-20", Some((0, 9))),
            ("bytes=8-20", Some((8, 9))),
            ("bytes=10-", None),
            ("bytes=3-2", None),
            ("bytes=-0", None),
            ("lines=1-2", None),
        ] {
            assert_eq!(bytes_of(range, 10), bytes, "{range}");
        }
        assert_eq!(bytes_of("bytes=0-", 0), None);
    }
}
