//! The AWS configuration of every process.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::{
    BehaviorVersion, ConfigLoader, retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig,
    timeout::TimeoutConfig,
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use jiff::Timestamp;

/// The time before the end of an invocation in which no new work begins, if more than twice as much is left: it is
/// needed for running calls to ECR and for storing their outcomes.
const RESERVE: Duration = Duration::from_secs(60);

/// The HTTP client of every process.
#[must_use]
pub fn http_client() -> SharedHttpClient {
    Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}

/// The SDK's default sources of credentials, region and endpoint, to which a caller may add.
///
/// One TLS stack (rustls with ring) instead of the SDK's default of two, and timeouts that leave a function with a 30 s
/// timeout time for a second attempt.
#[must_use]
pub fn loader() -> ConfigLoader {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .operation_attempt_timeout(Duration::from_secs(5))
        .operation_timeout(Duration::from_secs(12))
        .build();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client())
        .retry_config(RetryConfig::standard().with_max_attempts(4))
        .timeout_config(timeouts)
        // It monitors long downloads; our responses are small, and the timeouts above cover them.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}

/// A name for this process, for a lease: Lambda gives each process a log stream of its own.
#[must_use]
pub fn process_name() -> String {
    std::env::var("AWS_LAMBDA_LOG_STREAM_NAME").unwrap_or_else(|_| format!("process {}", std::process::id()))
}

/// The CloudWatch namespace of this deployment's metrics: `METRICS_NAMESPACE`, the name of the hub's stack.
#[must_use]
pub fn metrics_namespace() -> String {
    std::env::var("METRICS_NAMESPACE").unwrap_or_else(|_| "ecr-lineage".to_owned())
}

/// The time until which an invocation with this deadline may begin new work.
#[must_use]
pub fn accept_work_until(deadline: SystemTime) -> Timestamp {
    let left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
    let until = deadline - RESERVE.min(left / 2);
    let seconds = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Timestamp::from_second(i64::try_from(seconds).unwrap_or(i64::MAX)).unwrap_or_default()
}
