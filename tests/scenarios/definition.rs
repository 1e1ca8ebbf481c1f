use aws::table::definition::{INDEXES, KEY};
use aws_sdk_dynamodb::types::{BillingMode, KeySchemaElement, KeyType};

use crate::store::Store;

#[tokio::test]
async fn the_table_that_exists_is_the_table_that_is_defined() {
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
        assert_eq!(index.projection().unwrap().non_key_attributes(), defined.projected);
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
