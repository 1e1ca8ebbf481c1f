//! The dead-letter queue of events that could not be recorded.

use aws_sdk_sqs::{Client, types::QueueAttributeName};

use retry::CallError;

/// The dead-letter queue of `record`, through an SQS client.
#[derive(Debug)]
pub struct DeadLetters {
    client: Client,
    url: String,
}

impl DeadLetters {
    /// The queue with this URL.
    #[must_use]
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self { client, url: url.into() }
    }

    /// The URL of the queue.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The approximate number of messages.
    /// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html>
    ///
    /// # Errors
    /// When the call fails or its response has no count.
    pub async fn count(&self) -> Result<u64, CallError> {
        let name = QueueAttributeName::ApproximateNumberOfMessages;
        let call = self.client.get_queue_attributes().queue_url(&self.url).attribute_names(name.clone());
        let answer = call.send().await?;
        let count = answer.attributes().and_then(|attributes| attributes.get(&name)).and_then(|text| text.parse().ok());
        count.ok_or_else(|| CallError::unclear("SQS does not say how many messages there are".to_owned()))
    }
}
