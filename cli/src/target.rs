//! The table that a command works on: embedded, or DynamoDB's.

use std::path::PathBuf;

use aws::{start, table::Table};
use aws_config::Region;

use crate::{embedded::Embedded, failure::Failure, options::TargetOptions};

/// The name of the table within an embedded file.
pub(crate) const EMBEDDED_NAME: &str = "ecr-lineage";

/// A table, and the server behind it if it is embedded.
#[derive(Debug)]
pub struct Target {
    /// The table.
    pub table: Table,
    embedded: Option<Embedded>,
}

impl Target {
    /// Opens the table that the options name.
    ///
    /// # Errors
    /// When an embedded table cannot be opened. Whether a DynamoDB table is there shows when it is asked.
    pub async fn open(options: &TargetOptions) -> Result<Self, Failure> {
        let file = options.table.contains(['/', std::path::MAIN_SEPARATOR]) || options.table.ends_with(".db");
        if file || options.table == "memory" {
            let embedded = Embedded::open(file.then(|| PathBuf::from(&options.table))).await?;
            let table = Table::new(embedded.client().await, EMBEDDED_NAME);
            table.create().await?;
            return Ok(Self { table, embedded: Some(embedded) });
        }
        let mut loader = start::loader();
        if let Some(profile) = &options.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &options.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(url) = &options.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let client = aws_sdk_dynamodb::Client::new(&loader.load().await);
        Ok(Self { table: Table::new(client, &options.table), embedded: None })
    }

    /// Lets go of the table.
    pub async fn close(self) {
        if let Some(embedded) = self.embedded {
            embedded.close().await;
        }
    }
}
