//! The schema of the table, in one place: the embedded table, the tests and the deployed table are all created from it
//! or checked against it.

use aws_sdk_dynamodb::{
    Client,
    operation::create_table::builders::CreateTableFluentBuilder,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
        ScalarAttributeType,
    },
};

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
