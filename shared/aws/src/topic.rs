//! Subscriptions of the hub's queue to the SNS topics of registries.

use aws_config::{Region, SdkConfig};
use aws_sdk_sns::{Client, config};
use domain::event::notification::Topic;

use retry::CallError;

/// The codes of a call that IAM or the topic's policy does not permit.
/// <https://docs.aws.amazon.com/sns/latest/api/API_GetTopicAttributes.html>,
/// <https://docs.aws.amazon.com/sns/latest/api/CommonErrors.html>
const DENIED: [&str; 4] =
    ["AuthorizationError", "AuthorizationErrorException", "AccessDenied", "AccessDeniedException"];

/// Why a topic is not proven to belong to an account of the organization.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// IAM or the topic's policy denied the call that proves it.
    #[error("its account is not proven to be a member of the organization")]
    Denied(#[source] CallError),
    /// The call failed for another reason. It may succeed later.
    #[error("whether its account is a member of the organization cannot be read")]
    Unknown(#[source] CallError),
}

/// Topics in any region and account, through SNS clients with the function's own credentials.
#[derive(Debug, Clone)]
pub struct Topics {
    sdk: SdkConfig,
}

impl Topics {
    /// Topics with these credentials.
    #[must_use]
    pub fn new(sdk: SdkConfig) -> Self {
        Self { sdk }
    }

    /// Proves that the topic belongs to an account of the organization: reads the topic's attributes. The function's role
    /// permits that only with the condition `aws:ResourceOrgID` (infra/hub.yaml), and the topic's policy permits it to the
    /// hub.
    ///
    /// # Errors
    /// When IAM denies the call, or it fails.
    pub async fn prove_membership(&self, topic: &Topic) -> Result<(), MembershipError> {
        let answer = self.client(topic).get_topic_attributes().topic_arn(topic.arn()).send().await;
        match answer.map_err(CallError::from) {
            Ok(_) => Ok(()),
            Err(denied) if denied.code.as_deref().is_some_and(|code| DENIED.contains(&code)) => {
                Err(MembershipError::Denied(denied))
            }
            Err(failure) => Err(MembershipError::Unknown(failure)),
        }
    }

    /// Confirms the subscription of the hub's queue that the topic's owner made.
    /// <https://docs.aws.amazon.com/sns/latest/api/API_ConfirmSubscription.html>
    ///
    /// # Errors
    /// When the call fails, such as with a token that is older than two days.
    pub async fn confirm(&self, topic: &Topic, token: &str) -> Result<(), CallError> {
        self.client(topic).confirm_subscription().topic_arn(topic.arn()).token(token).send().await?;
        Ok(())
    }

    /// A topic can be called only in its own region.
    fn client(&self, topic: &Topic) -> Client {
        let region = Region::new(topic.registry.region().to_owned());
        Client::from_conf(config::Builder::from(&self.sdk).region(region).build())
    }
}
