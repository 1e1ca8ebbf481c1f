//! The table that a command uses: embedded, or in DynamoDB.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use aws::{
    registry::{Registries, Roles},
    start,
};
use aws_config::{Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use jiff::SignedDuration;
use query::api::Query;
use reconcile::Reconcile;
use sandbox::{
    embedded::{EMBEDDED_NAME, Embedded},
    loopback::user,
};
use store::Table;

use crate::{failure::CliError, now, options::TargetOptions, output, verbose};

/// A table, the server behind it if it is embedded, and access to the registries.
#[derive(Debug)]
pub struct Target {
    /// The table.
    pub table: Table,
    name: String,
    place: String,
    sdk: SdkConfig,
    registries: Registries,
    embedded: Option<Embedded>,
}

impl Target {
    /// Opens the table that the options name. An embedded table that does not exist is created only for a command that
    /// records something: a question about a table that does not exist is a mistake.
    ///
    /// # Errors
    /// When it is no path or name, or an embedded table does not exist or cannot be opened. A missing DynamoDB table is an
    /// error of the first read.
    pub async fn open(options: &TargetOptions, create: bool) -> Result<Self, CliError> {
        if is_url(&options.table) {
            return Err(CliError::NoTableName { table: options.table.clone() });
        }
        let (sdk, roles) = configuration(options).await;
        let registries = Registries::new(sdk.clone(), roles);
        now::follow(sdk.endpoint_url()).await;
        let file = options.table.contains(['/', std::path::MAIN_SEPARATOR]) || options.table.ends_with(".db");
        if file && !create && !std::path::Path::new(&options.table).exists() {
            return Err(CliError::NoTable { table: options.table.clone() });
        }
        if file || options.table == "memory" {
            let embedded = Embedded::open(file.then(|| PathBuf::from(&options.table))).await?;
            let table = Table::new(embedded.client().await, EMBEDDED_NAME);
            table.create().await?;
            let place = options.table.clone();
            output::note(&format!("table: {place}, embedded"));
            return Ok(Self {
                table,
                name: EMBEDDED_NAME.to_owned(),
                place,
                sdk,
                registries,
                embedded: Some(embedded),
            });
        }
        let table = Table::new(Client::new(&sdk), &options.table);
        let name = options.table.clone();
        let region = sdk.region().map_or_else(|| "without a region".to_owned(), |region| format!("in {region}"));
        output::note(&format!("table: {name}, in DynamoDB {region}"));
        Ok(Self { table, place: name.clone(), name, sdk, registries, embedded: None })
    }

    /// The registries, accessed with the role or credentials of the options.
    #[must_use]
    pub fn registries(&self) -> Registries {
        self.registries.clone()
    }

    /// The AWS configuration of the table.
    #[cfg(feature = "doctor")]
    pub(crate) fn sdk(&self) -> &SdkConfig {
        &self.sdk
    }

    /// The reconcile function with a limit of calls per second to each registry.
    #[must_use]
    pub fn reconcile(&self, per_second: u32) -> Reconcile {
        Reconcile {
            table: self.table.clone(),
            registries: self.registries().with_rate_limit(per_second, BTreeMap::new()),
            known: BTreeSet::new(),
            every: SignedDuration::from_hours(24),
            name: format!("command line {}", std::process::id()),
        }
    }

    /// The state of the HTTP API. The API never changes a registry.
    #[must_use]
    pub fn query(&self) -> Query {
        Query { table: self.table.clone(), registries: self.registries(), clock: Box::new(now::now) }
    }

    /// The name of the table.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The table as the caller named it: a file, or a name.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The name under which actions are recorded: the caller's ARN, or for an embedded table, which needs no
    /// credentials, the user's name.
    ///
    /// # Errors
    /// When AWS does not return the caller's identity.
    pub async fn who(&self) -> Result<String, CliError> {
        if self.embedded.is_some() {
            return Ok(user());
        }
        let identity = aws_sdk_sts::Client::new(&self.sdk).get_caller_identity().send().await;
        let identity = identity.map_err(|error| CliError::Identity(error.into()))?;
        Ok(identity.arn.unwrap_or_else(|| "an unidentified caller".to_owned()))
    }

    /// Closes an embedded table.
    pub async fn close(self) {
        if let Some(embedded) = self.embedded {
            embedded.close().await;
        }
    }
}

/// Whether a table is named by a URL or an ARN. Names of tables have no colon; in a path it can follow a drive's letter,
/// or a slash.
fn is_url(table: &str) -> bool {
    let scheme = table.split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.len() > 1 && scheme.chars().all(|character| character.is_ascii_alphanumeric() || "+-.".contains(character))
}

/// The SDK configuration from the profile, region and endpoint, and the roles for registries.
pub(crate) async fn configuration(options: &TargetOptions) -> (SdkConfig, Roles) {
    let mut loader = start::loader();
    if output::is_verbose() {
        loader = loader.http_client(verbose::http_client(start::http_client()));
    }
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(url) = &options.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    let TargetOptions { role, external_id, .. } = options.clone();
    (loader.load().await, Roles { read: role.clone(), delete: role, external_id })
}
