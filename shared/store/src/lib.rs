#![doc = include_str!("../README.md")]

mod activity;
mod alert;
mod batch;
mod breaker;
mod calls;
mod controls;
pub mod definition;
mod deletion;
mod drill;
mod evidence;
mod expectation;
mod fact;
mod heartbeat;
mod image;
mod inventory;
mod item;
mod lease;
mod list;
mod queue;
mod reconcile;
mod record;
mod registry;
mod registry_index;
mod settings;
mod tag;
mod usage;
mod words;

pub use activity::{ActivityBounds, ActivityPosition};
pub use alert::{Responses, published_by};
pub use deletion::Listed;
pub use image::ImageRecord;
pub use item::ItemError;
pub use list::{Arrival, PageBounds, PageEnd};
pub use queue::{Due, Queue, ToWatch};
pub use reconcile::{LISTED_EVENT_ID, ReconcileCounts, ReconcileRun, RepositoryTask};
pub use record::{Recorded, RecordedAll};
pub use registry::KnownRegistry;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use aws_sdk_dynamodb::{Client, operation::create_table::CreateTableError};
use domain::{alert::SeverityRules, image::Registry};
use jiff::Timestamp;
use retry::{CallError, Disposition};

use calls::Units;
use evidence::ROUNDS;
use registry::Remembered;

/// The table, through a DynamoDB client. Clones share the unit counters and the caches.
#[derive(Debug, Clone)]
pub struct Table {
    client: Client,
    name: String,
    units: Arc<Units>,
    /// Registries that this process has registered or found registered.
    registered: Arc<Mutex<HashSet<Registry>>>,
    /// The last event of each registry whose time this process has stored.
    last_events: Arc<Mutex<HashMap<Registry, Timestamp>>>,
    /// The settings of registries that this process has cached.
    remembered: Arc<Mutex<Remembered>>,
    /// The severity of alerts by repository. Each alert passes here, so that no function forgets them.
    severity_rules: Arc<SeverityRules>,
}

/// Why the table could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The table could not be created.
    #[error("cannot create table `{table}`")]
    Create {
        /// The name of the table.
        table: String,
        /// The failed call.
        #[source]
        source: CallError,
    },
    /// Items could not be read.
    #[error("cannot read {what} from table `{table}`")]
    Read {
        /// The name of the table.
        table: String,
        /// What was read.
        what: String,
        /// The failed call.
        #[source]
        source: CallError,
    },
    /// An item could not be written.
    #[error("cannot write {what} to table `{table}`")]
    Write {
        /// The name of the table.
        table: String,
        /// What was to be written.
        what: String,
        /// The failed call.
        #[source]
        source: CallError,
    },
    /// An item could not be encoded or decoded.
    #[error("an item of table `{table}` is damaged: {what}")]
    Item {
        /// The name of the table.
        table: String,
        /// What the item is about.
        what: String,
        /// Why the item could not be encoded or decoded.
        #[source]
        source: ItemError,
    },
    /// Other writers kept changing the same item.
    #[error("others changed {what} in table `{table}` {ROUNDS} times in a row")]
    Contended {
        /// The name of the table.
        table: String,
        /// What the item is about.
        what: String,
    },
    /// An error that several items share.
    #[error(transparent)]
    Shared(Arc<Self>),
}

impl Error {
    /// Whether a retry of the same step may succeed.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Create { source, .. } | Self::Read { source, .. } | Self::Write { source, .. } => source.disposition,
            Self::Contended { .. } => Disposition::Retry,
            Self::Item { .. } => Disposition::Reject,
            Self::Shared(error) => error.disposition(),
        }
    }

    /// The service's error code, if it answered.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Create { source, .. } | Self::Read { source, .. } | Self::Write { source, .. } => {
                source.code.as_deref()
            }
            Self::Contended { .. } | Self::Item { .. } => None,
            Self::Shared(error) => error.code(),
        }
    }
}

/// The result of a conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// The item was written.
    New,
    /// The condition did not hold: the item existed, or another writer changed it.
    Known,
}

impl Table {
    /// The table with this name, which [`Table::create`] may have to create first.
    #[must_use]
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        Self {
            client,
            name: name.into(),
            units: Arc::default(),
            registered: Arc::default(),
            last_events: Arc::default(),
            remembered: Arc::default(),
            severity_rules: Arc::default(),
        }
    }

    /// The same table, in which alerts have the severity that these rules give them.
    #[must_use]
    pub fn with_severity_rules(self, rules: SeverityRules) -> Self {
        Self { severity_rules: Arc::new(rules), ..self }
    }

    /// Creates the table and its indexes, unless it exists.
    ///
    /// # Errors
    /// When DynamoDB refuses or cannot be reached.
    pub async fn create(&self) -> Result<(), Error> {
        match definition::create(&self.client, &self.name).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.as_service_error().is_some_and(CreateTableError::is_resource_in_use_exception) => {
                Ok(())
            }
            Err(error) => Err(Error::Create { table: self.name.clone(), source: error.into() }),
        }
    }
}
