//! Registries: their replication rules, their images, and the three calls that change them.
//!
//! A read must never report an existing image as missing. Every read therefore includes all storage classes
//! (`imageStatus=ANY`; by default ECR returns only active images), and an image that a response neither contains nor
//! reports as missing is an error, not an absence.

mod backfill;
mod changes;
#[cfg(feature = "copy")]
mod copies;
mod images;
mod lifecycle;
mod manifests;
mod replication;
mod repositories;

pub use backfill::{Backfill, Copied};
pub use images::ExpectedPresence;
pub use lifecycle::TakenImage;
pub use manifests::Manifest;
pub use repositories::RepositorySetting;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use aws_config::{Region, SdkConfig, sts::AssumeRoleProvider};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_ecr::Client;
use domain::image::{MalformedError, Registry};
use tokio::{
    sync::Mutex,
    time::{Duration, Instant},
};

use retry::CallError;

/// The roles through which registries are accessed.
#[derive(Debug, Clone, Default)]
pub struct Roles {
    /// The name of the role that reads, in the account of each registry. Without it, the caller's own credentials are
    /// used.
    pub read: Option<String>,
    /// The name of the role that deletes and archives.
    pub delete: Option<String>,
    /// STS external ID that the roles' trust policies require.
    pub external_id: Option<String>,
}

/// The purpose of a client, which decides its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Purpose {
    Read,
    Change,
}

/// Access to every registry. Clients are created on first use and kept with their credentials. Clones share the
/// clients, the rate limit and the call counter.
#[derive(Clone)]
pub struct Registries {
    sdk: SdkConfig,
    roles: Roles,
    clients: Arc<Mutex<BTreeMap<(Registry, Purpose), Client>>>,
    calls: Arc<AtomicU64>,
    rate_limiter: Option<Arc<RateLimiter>>,
}

/// Limits the rate of reads.
#[derive(Debug)]
struct RateLimiter {
    /// The limit in calls per second to each registry; `exceptions` have limits of their own.
    per_second: u32,
    exceptions: BTreeMap<Registry, u32>,
    /// When each registry may be called again.
    next: Mutex<BTreeMap<Registry, Instant>>,
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registries").field("roles", &self.roles).finish_non_exhaustive()
    }
}

impl Registries {
    /// Registries that are accessed through these roles, with the credentials and the endpoint of a configuration.
    #[must_use]
    pub fn new(sdk: SdkConfig, roles: Roles) -> Self {
        Self { sdk, roles, clients: Arc::default(), calls: Arc::default(), rate_limiter: None }
    }

    /// The same registries, with a limit of calls per second to each; `exceptions` have limits of their own. ECR
    /// publishes no quotas for these reads.
    #[must_use]
    pub fn with_rate_limit(self, per_second: u32, exceptions: BTreeMap<Registry, u32>) -> Self {
        Self { rate_limiter: Some(Arc::new(RateLimiter { per_second, exceptions, next: Mutex::default() })), ..self }
    }

    /// The number of calls to ECR so far, without the SDK's retries.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    async fn client(&self, registry: &Registry, purpose: Purpose) -> Client {
        let mut clients = self.clients.lock().await;
        if let Some(client) = clients.get(&(registry.clone(), purpose)) {
            return client.clone();
        }
        let role = match purpose {
            Purpose::Read => &self.roles.read,
            Purpose::Change => &self.roles.delete,
        };
        let client = Client::new(&self.sdk_config_for(registry, role.as_deref()).await);
        clients.insert((registry.clone(), purpose), client.clone());
        client
    }

    /// The SDK configuration for other reads in the account and region of a registry.
    pub async fn config(&self, registry: &Registry) -> SdkConfig {
        self.sdk_config_for(registry, self.roles.read.as_deref()).await
    }

    async fn sdk_config_for(&self, registry: &Registry, role: Option<&str>) -> SdkConfig {
        let config = self.sdk.to_builder().region(Region::new(registry.region().to_owned()));
        let Some(role) = role else { return config.build() };
        let arn = registry.partition().iam_arn(registry.account(), &format!("role/{role}"));
        let mut provider = AssumeRoleProvider::builder(arn).session_name("ecr-lineage").configure(&self.sdk);
        if let Some(id) = &self.roles.external_id {
            provider = provider.external_id(id);
        }
        config.credentials_provider(SharedCredentialsProvider::new(provider.build().await)).build()
    }

    /// Counts a read, and waits until the registry may be called.
    pub(crate) async fn turn(&self, registry: &Registry) {
        self.calls.fetch_add(1, Relaxed);
        if let Some(rate_limiter) = &self.rate_limiter {
            rate_limiter.wait(registry).await;
        }
    }

    async fn read_client(&self, registry: &Registry) -> Client {
        self.turn(registry).await;
        self.client(registry, Purpose::Read).await
    }

    async fn write_client(&self, registry: &Registry) -> Client {
        self.calls.fetch_add(1, Relaxed);
        self.client(registry, Purpose::Change).await
    }
}

impl RateLimiter {
    /// Waits until the registry may be called.
    async fn wait(&self, registry: &Registry) {
        let per_second = self.exceptions.get(registry).copied().unwrap_or(self.per_second).max(1);
        let turn = {
            let mut next = self.next.lock().await;
            let turn = next.get(registry).copied().map_or_else(Instant::now, |next| next.max(Instant::now()));
            next.insert(registry.clone(), turn + Duration::from_secs(1) / per_second);
            turn
        };
        tokio::time::sleep_until(turn).await;
    }
}

/// The error for a name in a response that cannot be parsed.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` wants it")]
fn parsed(error: MalformedError) -> CallError {
    CallError::unclear(retry::chain(&error))
}
