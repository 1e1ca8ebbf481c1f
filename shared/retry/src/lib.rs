#![doc = include_str!("../README.md")]

use std::{error::Error as StdError, fmt};

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::{metadata::ProvideErrorMetadata, operation::BuildError};

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The same call may succeed later, or after an operator fixes the deployment. The default in doubt.
    Retry,
    /// The same call can never succeed.
    Reject,
}

/// A failed call to AWS.
#[derive(Debug)]
pub struct CallError {
    /// Whether a retry may help.
    pub disposition: Disposition,
    /// The service's error code, such as `ValidationException`, if the service answered; [`NO_CREDENTIALS`] if the call
    /// was never made for lack of credentials.
    pub code: Option<String>,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Error codes of requests that are invalid, so that a retry cannot help.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>
const NEVER: [&str; 3] = ["ValidationException", "SerializationException", "ItemCollectionSizeLimitExceededException"];

/// The code of a call that was never made because there were no credentials, for example because a role cannot be
/// assumed.
pub const NO_CREDENTIALS: &str = "NoCredentials";

impl<E, R> From<SdkError<E, R>> for CallError
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    R: fmt::Debug + Send + Sync + 'static,
{
    fn from(error: SdkError<E, R>) -> Self {
        let never = match &error {
            SdkError::ConstructionFailure(_) => true,
            SdkError::ServiceError(context) => context.err().code().is_some_and(|code| NEVER.contains(&code)),
            _ => false,
        };
        let disposition = if never { Disposition::Reject } else { Disposition::Retry };
        if let SdkError::ServiceError(context) = &error {
            let code = context.err().code().unwrap_or("unnamed error");
            let message = context.err().message().unwrap_or("without a message");
            return Self {
                disposition,
                code: Some(code.to_owned()),
                message: format!("{code}: {message}"),
                source: None,
            };
        }
        if let Some(refused) = find::<CredentialsError>(&error) {
            let message = format!("{NO_CREDENTIALS}: {}", chain(refused));
            return Self { disposition, code: Some(NO_CREDENTIALS.to_owned()), message, source: None };
        }
        Self { disposition, code: None, message: error.to_string(), source: error.into_source().ok() }
    }
}

/// The first error of a type among an error and its causes.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

impl From<BuildError> for CallError {
    fn from(error: BuildError) -> Self {
        Self { disposition: Disposition::Reject, code: None, message: error.to_string(), source: None }
    }
}

impl CallError {
    /// A batch that the service left entirely unprocessed, without returning an error.
    pub fn throttled() -> Self {
        Self::unclear("the service left the whole batch unprocessed, repeatedly".to_owned())
    }

    /// A part of a call that the service refused although it answered the call.
    pub fn refused(code: &str, message: &str) -> Self {
        let message = format!("{code}: {message}");
        Self { disposition: Disposition::Retry, code: Some(code.to_owned()), message, source: None }
    }

    /// The same error, with the operation that failed.
    #[must_use]
    pub fn about(mut self, operation: &str) -> Self {
        self.message = format!("{operation}: {}", self.message);
        self
    }

    /// A response that lacks what it should contain. A retry may return it.
    pub fn unclear(message: String) -> Self {
        Self { disposition: Disposition::Retry, code: None, message, source: None }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for CallError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// An error and all its causes on one line.
#[must_use]
pub fn chain(error: &dyn StdError) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        // Some libraries repeat their source in their own text, and the SDK names its own parts.
        if !line.ends_with(&text) && !text.contains("interceptor encountered an error") {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = error.source();
    }
    line.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::{
        error::{ConnectorError, ErrorMetadata},
        operation::put_item::PutItemError,
    };

    use super::*;

    /// The classification of a service error with this code.
    fn service_error(code: &str) -> CallError {
        let metadata = ErrorMetadata::builder().code(code).message("why").build();
        SdkError::service_error(PutItemError::generic(metadata), ()).into()
    }

    #[test]
    fn only_an_invalid_request_is_rejected() {
        for code in NEVER {
            assert_eq!(service_error(code).disposition, Disposition::Reject, "{code}");
        }
        // Throttling, failures of the service, and errors that an operator can fix: a missing table, a missing
        // permission.
        for code in [
            "ThrottlingException",
            "ProvisionedThroughputExceededException",
            "InternalServerError",
            "ResourceNotFoundException",
            "AccessDeniedException",
            "ExpiredTokenException",
            "NeverHeardOf",
        ] {
            assert_eq!(service_error(code).disposition, Disposition::Retry, "{code}");
        }
    }

    #[test]
    fn a_call_without_a_response_is_retried() {
        let unreachable: SdkError<PutItemError, ()> = SdkError::dispatch_failure(ConnectorError::io("gone".into()));
        assert_eq!(CallError::from(unreachable).disposition, Disposition::Retry);
        let slow: SdkError<PutItemError, ()> = SdkError::timeout_error("late");
        assert_eq!(CallError::from(slow).disposition, Disposition::Retry);
    }

    #[test]
    fn missing_credentials_have_a_code_of_their_own_and_are_retried() {
        let refused = CredentialsError::provider_error("the role does not trust you");
        let unsigned: SdkError<PutItemError, ()> =
            SdkError::dispatch_failure(ConnectorError::other(Box::new(refused), None));
        let failure = CallError::from(unsigned);
        assert_eq!((failure.disposition, failure.code.as_deref()), (Disposition::Retry, Some(NO_CREDENTIALS)));
        assert!(failure.to_string().ends_with("the role does not trust you"), "{failure}");
    }

    #[test]
    fn a_failure_says_code_and_message_once() {
        let failure = service_error("ValidationException");
        assert_eq!(failure.to_string(), "ValidationException: why");
        assert!(failure.source().is_none());
        assert_eq!(failure.code.as_deref(), Some("ValidationException"));
    }
}
