//! Which images the services of an account run in a region: ECS, Lambda and Inspector.
//!
//! A read must never take what it did not see for unused. Every page is followed, an answer that lacks what it should
//! have is an error, and a service of which any call failed is unreadable as a whole. What was found before the failure
//! counts nevertheless.

mod call;
mod ecs;
mod inspector;
mod lambda;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex as StdMutex, PoisonError},
};

use aws_smithy_http_client::{
    Connector,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use domain::{
    image::Registry,
    usage::{Usage, UsageService, UsedImage},
};
use retry::{CallError, chain};
use tokio::sync::Mutex;

use self::{call::Caller, ecs::Ecs, inspector::Inspector, lambda::Lambda};
use crate::registry::Registries;

/// What never changes and is read once per process: the images of task definitions and of published versions of
/// functions, by their ARNs.
type Immutable = Arc<StdMutex<BTreeMap<String, Arc<[UsedImage]>>>>;

/// What is kept of it.
const KEPT: usize = 20_000;

/// Reads what services run. Clones share the connections and what never changes.
#[derive(Clone)]
pub struct UsageReader {
    registries: Registries,
    services: BTreeSet<UsageService>,
    revisions: u32,
    http: SharedHttpConnector,
    immutable: Immutable,
}

impl fmt::Debug for UsageReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsageReader").field("services", &self.services).finish_non_exhaustive()
    }
}

impl UsageReader {
    /// A reader of these services, with the role that reads registries. Of the task definitions of each service of ECS,
    /// it reads this number of the newest revisions, too: those to which one rolls back.
    #[must_use]
    pub fn new(registries: Registries, services: BTreeSet<UsageService>, revisions: u32) -> Self {
        let connector = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::Ring)).build();
        Self { registries, services, revisions, http: SharedHttpConnector::new(connector), immutable: Arc::default() }
    }

    /// The same reader, with calls through this connector.
    #[must_use]
    pub fn through(self, http: SharedHttpConnector) -> Self {
        Self { http, ..self }
    }

    /// The services.
    #[must_use]
    pub fn services(&self) -> &BTreeSet<UsageService> {
        &self.services
    }

    /// The number of revisions.
    #[must_use]
    pub fn revisions(&self) -> u32 {
        self.revisions
    }

    /// Reads for one run: each account and region once.
    #[must_use]
    pub fn begin(&self) -> UsageReads {
        UsageReads { reader: self.clone(), read: Mutex::default() }
    }

    /// Reads what the services of an account run in a region.
    async fn read(&self, registry: &Registry) -> Usage {
        let mut usage = Usage::default();
        if self.services.is_empty() {
            return usage;
        }
        let caller = match Caller::new(&self.registries, registry, self.http.clone()).await {
            Ok(caller) => caller,
            Err(failure) => {
                let why = chain(&failure);
                usage.unreadable = self.services.iter().map(|service| (service.to_string(), why.clone())).collect();
                return usage;
            }
        };
        for service in &self.services {
            let mut found = Usage::default();
            let read = match service {
                UsageService::Ecs => {
                    let ecs = Ecs::new(&caller, self);
                    ecs.read(&mut found).await
                }
                UsageService::Lambda => {
                    let lambda = Lambda::new(&caller, self);
                    lambda.read(&mut found).await
                }
                UsageService::Inspector => {
                    let inspector = Inspector::new(&caller);
                    inspector.read(&mut found).await
                }
            };
            if let Err(failure) = read {
                found.unreadable.insert(service.to_string(), chain(&failure));
            }
            usage.merge(&found);
        }
        usage
    }

    fn known(&self, arn: &str) -> Option<Arc<[UsedImage]>> {
        self.immutable.lock().unwrap_or_else(PoisonError::into_inner).get(arn).cloned()
    }

    fn keep(&self, arn: &str, images: &Arc<[UsedImage]>) {
        let mut kept = self.immutable.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(arn.to_owned(), images.clone());
    }
}

/// What was read in one run.
#[derive(Debug)]
pub struct UsageReads {
    reader: UsageReader,
    read: Mutex<BTreeMap<Registry, Arc<Usage>>>,
}

impl UsageReads {
    /// Whether any service is read.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        !self.reader.services.is_empty()
    }

    /// What the services of an account run in a region. The first call of the run reads it.
    pub async fn running(&self, registry: &Registry) -> Arc<Usage> {
        if let Some(known) = self.read.lock().await.get(registry) {
            return known.clone();
        }
        let usage = Arc::new(self.reader.read(registry).await);
        self.read.lock().await.insert(registry.clone(), usage.clone());
        usage
    }
}

/// The images that a container's definition names.
fn images(reference: &str) -> Result<Vec<UsedImage>, CallError> {
    UsedImage::all_in(reference).map_err(|error| CallError::unclear(chain(&error)))
}
