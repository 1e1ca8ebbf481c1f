//! Lists: tags, repositories, and the artifacts that refer to an image.

use hyper::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderName, LINK},
};
use serde_json::{Value, json};

use super::{DistributionError, Failure, Query, Reply, Session, answer_with, digest_of};
use crate::repository::ImageStatus;

/// The most entries of a page, and their number if the request does not say.
const MAX_ENTRIES: usize = 1_000;

/// The header that names the filters of a list of referrers.
const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

/// The media type of a list of referrers.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Headers of a response.
type Headers = Vec<(HeaderName, String)>;

/// One page of a sorted list, and the header that leads to the next.
fn page(all: impl Iterator<Item = String>, query: &Query, path: &str) -> Result<(Vec<String>, Headers), Failure> {
    let size = match query.get("n").map(str::parse::<usize>) {
        None => MAX_ENTRIES,
        Some(Ok(size)) => size.min(MAX_ENTRIES),
        Some(Err(_)) => {
            let message = "`n` must be a number";
            return Err(DistributionError::new(StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID", message).into());
        }
    };
    let last = query.get("last").unwrap_or_default();
    let mut rest = all.skip_while(|entry| entry.as_str() <= last).peekable();
    let mut entries = Vec::new();
    while entries.len() < size {
        let Some(entry) = rest.next() else { break };
        entries.push(entry);
    }
    let mut headers = vec![(CONTENT_TYPE, "application/json".to_owned())];
    if let (Some(last), Some(_)) = (entries.last(), rest.peek()) {
        let mut next = form_urlencoded::Serializer::new(String::new());
        next.append_pair("last", last).append_pair("n", &size.to_string());
        headers.push((LINK, format!("<{path}?{}>; rel=\"next\"", next.finish())));
    }
    Ok((entries, headers))
}

impl Session<'_> {
    /// The tags of images that can be pulled, in order.
    pub(super) fn list_tags(&self, name: &str, query: &Query) -> Reply {
        let (tags, headers) = self.read(name, "ListImages", |world, place| {
            let repository = world.existing(place)?;
            let active = repository.tags().iter().filter(|(_, digest)| {
                repository.image(digest).is_some_and(|image| image.state.status == ImageStatus::Active)
            });
            page(active.map(|(tag, _)| tag.to_string()), query, &format!("/v2/{name}/tags/list"))
        })?;
        Ok(answer_with(StatusCode::OK, &headers, json!({"name": name, "tags": tags}).to_string()))
    }

    pub(super) fn list_repositories(&self, query: &Query) -> Reply {
        let (names, headers) = self.simulator.with(|world| {
            let arn = self.registry.arn("ecr", "repository/*");
            world.authorize(&self.caller, &self.registry, &arn, "DescribeRepositories")?;
            let here = world.repositories().keys().filter(|place| place.registry == self.registry);
            page(here.map(|place| place.repository.to_string()), query, "/v2/_catalog")
        })?;
        Ok(answer_with(StatusCode::OK, &headers, json!({"repositories": names}).to_string()))
    }

    /// The artifacts of an image, by `ListImageReferrers`.
    pub(super) fn list_referrers(&self, name: &str, subject: &str, query: &Query) -> Reply {
        let (subject, kind) = (digest_of(subject)?, query.get("artifactType"));
        let (mut manifests, mut next) = (Vec::new(), Value::Null);
        loop {
            let mut request = json!({"subjectId": {"imageDigest": subject}});
            if let Some(members) = request.as_object_mut() {
                members.extend(kind.map(|kind| ("filter".to_owned(), json!({"artifactTypes": [kind]}))));
                members.extend(Some(("nextToken".to_owned(), next)).filter(|(_, next)| !next.is_null()));
            }
            let mut answer = self.call("ListImageReferrers", name, request)?;
            for referrer in answer.get_mut("referrers").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(members) = referrer.as_object_mut() {
                    members.shift_remove("artifactStatus");
                }
                manifests.push(referrer.take());
            }
            next = answer.get_mut("nextToken").map(Value::take).unwrap_or_default();
            if next.is_null() {
                break;
            }
        }
        let mut headers = vec![(CONTENT_TYPE, INDEX.to_owned())];
        headers.extend(kind.map(|_| (FILTERS, "artifactType".to_owned())));
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        Ok(answer_with(StatusCode::OK, &headers, index.to_string()))
    }
}
