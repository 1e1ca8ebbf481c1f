use aws_sdk_dynamodb::types::{BillingMode, KeySchemaElement, KeyType, ProjectionType};
use serde_json::json;
use store::definition::{ALL, INDEXES, KEY};

use crate::{templates::template, test_table::Store};

#[tokio::test]
async fn the_created_table_matches_the_definition() {
    let store = Store::new().await;
    let table = store.describe().await;
    assert_eq!(keys(table.key_schema()), [(KEY.0.into(), KeyType::Hash), (KEY.1.into(), KeyType::Range)]);
    assert_eq!(table.billing_mode_summary().unwrap().billing_mode(), Some(&BillingMode::PayPerRequest));
    assert_eq!(table.global_secondary_indexes().len(), INDEXES.len());
    for defined in INDEXES {
        let index = table.global_secondary_indexes().iter().find(|index| index.index_name() == Some(defined.name));
        let index = index.unwrap_or_else(|| panic!("no index {}", defined.name));
        let (hash, range) = defined.key;
        assert_eq!(keys(index.key_schema()), [(hash.into(), KeyType::Hash), (range.into(), KeyType::Range)]);
        let projection = index.projection().unwrap();
        if defined.projected == ALL {
            assert_eq!(projection.projection_type(), Some(&ProjectionType::All));
        } else {
            assert_eq!(projection.non_key_attributes(), defined.projected);
        }
    }
}

#[test]
fn the_table_in_the_template_matches_the_definition() {
    let template = template("hub.yaml");
    let table = &template["Resources"]["Table"]["Properties"];
    let keys = |(hash, range): (&str, &str)| json!([{"AttributeName": hash, "KeyType": "HASH"}, {"AttributeName": range, "KeyType": "RANGE"}]);
    assert_eq!(table["KeySchema"], keys(KEY));
    let indexes = INDEXES.map(|index| {
        let projection = match index.projected {
            [] => json!({"ProjectionType": "KEYS_ONLY"}),
            ALL => json!({"ProjectionType": "ALL"}),
            some => json!({"ProjectionType": "INCLUDE", "NonKeyAttributes": some}),
        };
        json!({"IndexName": index.name, "KeySchema": keys(index.key), "Projection": projection})
    });
    assert_eq!(table["GlobalSecondaryIndexes"], json!(indexes));
    let names = [KEY].into_iter().chain(INDEXES.map(|index| index.key)).flat_map(|(hash, range)| [hash, range]);
    let attributes: Vec<_> = names.map(|name| json!({"AttributeName": name, "AttributeType": "S"})).collect();
    assert_eq!(table["AttributeDefinitions"], json!(attributes));
    assert_eq!(table["BillingMode"], "PAY_PER_REQUEST");
    // `alert` reads the new items from the stream.
    assert_eq!(table["StreamSpecification"]["StreamViewType"], "NEW_IMAGE");
    for kept in ["DeletionPolicy", "UpdateReplacePolicy"] {
        assert_eq!(template["Resources"]["Table"][kept], "Retain");
    }
}

#[tokio::test]
async fn creating_a_table_that_exists_changes_nothing() {
    let store = Store::new().await;
    store.table.create().await.unwrap();
}

fn keys(schema: &[KeySchemaElement]) -> Vec<(String, KeyType)> {
    schema.iter().map(|element| (element.attribute_name().to_owned(), element.key_type().clone())).collect()
}
