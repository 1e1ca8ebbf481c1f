//! Logging, and the spans of a unit of work: `docs/logging.md`.
//!
//! The fields of a span are in every line that is written inside it, at the top level, so that one query finds all lines
//! about an image. Spans have the level `ERROR`: at any lower one, a line of that level would lose its fields.

use std::io;

use domain::{
    deletion::Deletion,
    image::{Image, Registry, RepositoryName, Tag},
};
use tracing::{Span, Subscriber, error_span, subscriber};
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter, layer::SubscriberExt};

/// Starts logging to standard output, with a line that says which version starts. Lambda provides the level in
/// `AWS_LAMBDA_LOG_LEVEL`.
pub fn init() {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").ok();
    // It fails only if another subscriber was set before, which then has all lines.
    _ = subscriber::set_global_default(lines(level.as_deref(), io::stdout));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "started");
}

/// A subscriber that writes JSON lines, from this level up; `INFO` if it is not a level.
pub fn lines<W>(level: Option<&str>, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = level.and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    let layer = json_subscriber::fmt::layer().flatten_event(true).flatten_span_list_on_top_level(true);
    let layer = layer.with_current_span(false).with_span_list(false).with_writer(writer);
    tracing_subscriber::registry().with(level).with(layer)
}

/// The span of work on an image.
#[must_use]
pub fn image(image: &Image) -> Span {
    error_span!("image", image.repository = %image.repository, image.digest = %image.digest)
}

/// The span of work on an image in a registry.
#[must_use]
pub fn placement(registry: &Registry, image: &Image) -> Span {
    error_span!("placement", %registry, image.repository = %image.repository, image.digest = %image.digest)
}

/// The span of work on a registry.
#[must_use]
pub fn registry(registry: &Registry) -> Span {
    error_span!("registry", %registry)
}

/// The span of work on a repository, inside that of its registry.
#[must_use]
pub fn repository(repository: &RepositoryName) -> Span {
    error_span!("repository", image.repository = %repository)
}

/// The span of work on a deletion.
#[must_use]
pub fn deletion(deletion: &Deletion) -> Span {
    let Deletion { registry, source, image, tag, .. } = deletion;
    let colon_tag = tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
    error_span!(
        "deletion",
        deletion.id = format!("{registry}/{}{colon_tag}@{}", image.repository, image.digest),
        %registry,
        %source,
        image.repository = %image.repository,
        image.digest = %image.digest,
        tag = tag.as_ref().map(Tag::as_str),
    )
}
