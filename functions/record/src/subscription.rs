//! Confirms the subscriptions that registries' stacks make to the hub's queue.

use aws::topic::Topics;
use futures::future::join_all;
use retry::{CallError, chain};
use tracing::{Instrument, error, info};

use crate::{Confirmation, Handled, message_span};

/// Confirms the subscriptions of a batch, all at the same time: the invocation must end in time. The
/// message of one that cannot be confirmed fails and returns to the queue.
pub async fn confirm_all(topics: &Topics, handled: &mut Handled) {
    let confirmations = std::mem::take(&mut handled.confirmations);
    let confirmed = join_all(confirmations.into_iter().map(async |confirmation| {
        let span = message_span(&confirmation.message, None);
        confirm(topics, &confirmation).instrument(span).await.map_err(|_| confirmation.message)
    }));
    handled.failed.extend(confirmed.await.into_iter().filter_map(Result::err));
}

async fn confirm(topics: &Topics, Confirmation { topic, token, .. }: &Confirmation) -> Result<(), CallError> {
    topics.confirm(topic, token).await.inspect_err(|failure| {
        error!(topic = topic.arn(), error = chain(failure), "a subscription cannot be confirmed");
    })?;
    info!(topic = topic.arn(), "the subscription to a topic is confirmed");
    Ok(())
}
