//! The schema of the table, in one place: the embedded table, the tests and the deployed table are all created from it
//! or checked against it.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::{
    Client,
    operation::create_table::builders::CreateTableFluentBuilder,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, IndexStatus, KeySchemaElement, KeyType,
        PointInTimeRecoveryStatus, Projection, ProjectionType, ScalarAttributeType, StreamViewType, TableDescription,
        TimeToLiveStatus,
    },
};
use retry::CallError;

use super::{Error, Table};

/// Partition and sort key of the table, both strings.
pub const KEY: (&str, &str) = ("pk", "sk");

/// The index that lists the images of a registry. Only evidence has its keys.
pub const REGISTRY_INDEX: Index = Index {
    name: "registry-index",
    key: ("registry", "name"),
    projected: &["pushed", "replicated", "seen", "removed", "archived"],
};

/// The index of work by due time. Only items that are due, or will be, have its keys.
pub const DUE_INDEX: Index = Index { name: "due-index", key: ("queue", "due"), projected: &[] };

/// The index of deletions by status and source, newest last.
pub const DELETION_INDEX: Index = Index { name: "deletion-index", key: ("status_key", "changed_at"), projected: &[] };

/// The index of what callers, lifecycle policies, ecr-lineage and operators did, by kind and shard, newest last. It has all
/// attributes, because most of what a question examines does not belong to its answer.
pub const ACTIVITY_INDEX: Index = Index { name: "activity-index", key: ("activity", "happened"), projected: ALL };

/// Every index.
pub const INDEXES: [&Index; 4] = [&REGISTRY_INDEX, &DUE_INDEX, &DELETION_INDEX, &ACTIVITY_INDEX];

/// Every attribute is projected.
pub const ALL: &[&str] = &["*"];

/// A sparse global secondary index with two string keys.
#[derive(Debug)]
pub struct Index {
    /// The name of the index.
    pub name: &'static str,
    /// Its partition and sort key.
    pub key: (&'static str, &'static str),
    /// The attributes that it contains besides all keys. Changing an attribute that is left out costs no write to the
    /// index.
    pub projected: &'static [&'static str],
}

/// The request that creates the table under a name.
#[expect(clippy::expect_used, reason = "every builder below is given all that it requires")]
pub(super) fn create(client: &Client, name: &str) -> CreateTableFluentBuilder {
    let element =
        |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().expect("complete");
    let keys = |(hash, range): (&str, &str)| vec![element(hash, KeyType::Hash), element(range, KeyType::Range)];
    let text = |name: &str| {
        let attribute = AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S);
        attribute.build().expect("complete")
    };
    let indexes = INDEXES.iter().map(|index| {
        let projected = index.projected.iter().map(|&name| name.to_owned()).collect();
        let projection = match index.projected {
            [] => Projection::builder().projection_type(ProjectionType::KeysOnly),
            ALL => Projection::builder().projection_type(ProjectionType::All),
            _ => Projection::builder().projection_type(ProjectionType::Include).set_non_key_attributes(Some(projected)),
        };
        GlobalSecondaryIndex::builder()
            .index_name(index.name)
            .set_key_schema(Some(keys(index.key)))
            .projection(projection.build())
            .build()
            .expect("complete")
    });
    let attributes = INDEXES.iter().flat_map(|index| [index.key.0, index.key.1]);
    client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(Some(keys(KEY)))
        .set_attribute_definitions(Some([KEY.0, KEY.1].into_iter().chain(attributes).map(text).collect()))
        .set_global_secondary_indexes(Some(indexes.collect()))
}

/// A table as DynamoDB describes it, as far as the functions depend on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundTable {
    /// The names of its keys.
    pub key: Vec<String>,
    /// Its global secondary indexes, by name.
    pub indexes: BTreeMap<String, FoundIndex>,
    /// The ARN of its newest stream, if that has the new images of items.
    pub stream: Option<String>,
    /// The attribute by which DynamoDB deletes items, if any.
    pub time_to_live: Option<String>,
    /// Whether it can be restored to a point in time.
    pub recovers: bool,
    /// Whether it is protected from being deleted.
    pub protected: bool,
}

/// A global secondary index as DynamoDB describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundIndex {
    /// The names of its keys.
    pub key: Vec<String>,
    /// The attributes that it contains besides all keys, sorted; [`ALL`] is all of them.
    pub projected: Vec<String>,
    /// Whether DynamoDB still builds it.
    pub building: bool,
}

impl FoundIndex {
    /// Whether it is as it is defined.
    #[must_use]
    pub fn is(&self, defined: &Index) -> bool {
        let mut projected: Vec<_> = defined.projected.iter().map(|&name| name.to_owned()).collect();
        projected.sort();
        self.key == [defined.key.0, defined.key.1] && self.projected == projected
    }
}

impl Table {
    /// Reads the settings of the table.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn found(&self) -> Result<FoundTable, Error> {
        let failed = |what: &str, source| Error::Read { table: self.name.clone(), what: what.to_owned(), source };
        let described = self.client.describe_table().table_name(&self.name).send().await;
        let described = described.map_err(|error| failed("the settings", CallError::from(error)))?;
        let lifetime = self.client.describe_time_to_live().table_name(&self.name).send().await;
        let lifetime = lifetime.map_err(|error| failed("the time to live", CallError::from(error)))?;
        let backups = self.client.describe_continuous_backups().table_name(&self.name).send().await;
        let backups = backups.map_err(|error| failed("the continuous backups", CallError::from(error)))?;
        let lifetime = lifetime.time_to_live_description.filter(|each| {
            matches!(each.time_to_live_status(), Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling))
        });
        let backups = backups.continuous_backups_description.and_then(|each| each.point_in_time_recovery_description);
        let status = backups.and_then(|each| each.point_in_time_recovery_status);
        Ok(FoundTable {
            time_to_live: lifetime.and_then(|each| each.attribute_name),
            recovers: status == Some(PointInTimeRecoveryStatus::Enabled),
            ..found(&described.table.unwrap_or_else(|| TableDescription::builder().build()))
        })
    }
}

/// What a description says of a table.
fn found(table: &TableDescription) -> FoundTable {
    let new_images = |kind: &StreamViewType| matches!(kind, StreamViewType::NewImage | StreamViewType::NewAndOldImages);
    let streams = table
        .stream_specification()
        .is_some_and(|stream| stream.stream_enabled() && stream.stream_view_type().is_some_and(new_images));
    let indexes = table.global_secondary_indexes().iter().map(|index| {
        let projection = index.projection();
        let mut projected = match projection.and_then(Projection::projection_type) {
            Some(ProjectionType::All) => ALL.iter().map(|&name| name.to_owned()).collect(),
            _ => projection.map(|projection| projection.non_key_attributes().to_vec()).unwrap_or_default(),
        };
        projected.sort();
        let building = index.index_status() == Some(&IndexStatus::Creating);
        let name = index.index_name().unwrap_or_default().to_owned();
        (name, FoundIndex { key: names(index.key_schema()), projected, building })
    });
    FoundTable {
        key: names(table.key_schema()),
        indexes: indexes.collect(),
        stream: table.latest_stream_arn().filter(|_| streams).map(str::to_owned),
        protected: table.deletion_protection_enabled().unwrap_or_default(),
        ..FoundTable::default()
    }
}

/// The names of keys: DynamoDB lists the partition key first.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_KeySchemaElement.html>
fn names(schema: &[KeySchemaElement]) -> Vec<String> {
    schema.iter().map(|element| element.attribute_name().to_owned()).collect()
}
