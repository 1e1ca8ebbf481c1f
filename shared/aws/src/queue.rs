//! The queue of what could not be recorded.

use aws_sdk_sqs::{Client, types::QueueAttributeName};

use retry::CallError;

/// The dead letters of `record`, through an SQS client.
#[derive(Debug)]
pub struct DeadLetters {
    client: Client,
    url: String,
}

impl DeadLetters {
    /// Those in the queue of this URL.
    #[must_use]
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self { client, url: url.into() }
    }

    /// How many there are, approximately.
    /// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html>
    ///
    /// # Errors
    /// When SQS does not say.
    pub async fn count(&self) -> Result<u64, CallError> {
        let name = QueueAttributeName::ApproximateNumberOfMessages;
        let call = self.client.get_queue_attributes().queue_url(&self.url).attribute_names(name.clone());
        let answer = call.send().await?;
        let count = answer.attributes().and_then(|attributes| attributes.get(&name)).and_then(|text| text.parse().ok());
        count.ok_or_else(|| CallError::unclear("SQS does not say how many messages there are".to_owned()))
    }
}
