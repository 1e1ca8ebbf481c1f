//! The checks of the table: a table that was restored from a backup or taken over lacks what the template would have set.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/pointintimerecovery_restores.html>

use serde_json::json;
use store::definition::{ALL, FoundTable, INDEXES, Index, KEY};

use super::{
    Finding,
    hub::{ATTACH_READERS_POLICY, HUB, Hub},
};

/// What each index is for.
const PURPOSES: [(&str, &str); 4] = [
    ("registry-index", "lists of images, orphans and drift are incomplete"),
    ("due-index", "nothing that is due is done: no replica is checked, and no deletion mirrored"),
    ("deletion-index", "lists of deletions are incomplete"),
    ("activity-index", "what was done to images is not found"),
];

/// Checks whether the table has what the functions need. Returns also the ARN of its stream, if it could be read.
pub(super) async fn check_table(hub: &Hub<'_>) -> (Option<String>, Vec<Finding>) {
    match hub.table.found().await {
        Ok(found) => {
            let region = hub.place.region();
            let findings = of_table(&found, &format!("--region {region} --table-name {}", hub.table_name));
            (found.stream, findings)
        }
        Err(failure) => {
            let what = "the settings of the table could not be read";
            (None, vec![Finding::unknown(HUB, what, &failure, ATTACH_READERS_POLICY)])
        }
    }
}

/// The findings about a table. `options` name it in commands.
fn of_table(found: &FoundTable, options: &str) -> Vec<Finding> {
    let update = format!("aws dynamodb update-table {options}");
    let mut findings = Vec::new();
    if found.key != [KEY.0, KEY.1] {
        let what = format!("the keys of the table are {}, and not {}, {}", found.key.join(", "), KEY.0, KEY.1);
        findings.push(Finding::wrong(HUB, what, "name a table that a hub of ecr-lineage made, or a copy of one"));
    }
    findings.extend(INDEXES.iter().filter_map(|index| of_index(found, index, &update)));
    if found.stream.is_none() {
        let what = "the table has no stream with new images: no alert is published";
        let fix = format!(
            "{update} --stream-specification StreamEnabled=true,StreamViewType=NEW_IMAGE; then deploy the hub with the \
             LatestStreamArn that this prints as ExistingTableStreamArn, if it has that parameter"
        );
        findings.push(Finding::wrong(HUB, what, &fix));
    }
    if let Some(attribute) = &found.time_to_live {
        let what =
            format!("DynamoDB deletes items of the table by the attribute {attribute}: what is recorded is lost");
        let fix = format!(
            "aws dynamodb update-time-to-live {options} --time-to-live-specification \
             Enabled=false,AttributeName={attribute}"
        );
        findings.push(Finding::wrong(HUB, what, &fix));
    }
    if !found.recovers {
        let fix = format!(
            "aws dynamodb update-continuous-backups {options} --point-in-time-recovery-specification \
             PointInTimeRecoveryEnabled=true"
        );
        findings.push(Finding::notice(HUB, "the table cannot be restored to a point in time", &fix));
    }
    if !found.protected {
        let fix = format!("{update} --deletion-protection-enabled");
        findings.push(Finding::notice(HUB, "the table is not protected from being deleted", &fix));
    }
    if findings.is_empty() {
        findings.push(Finding::good(HUB, "the table has its indexes, its stream and its backups"));
    }
    findings
}

/// The finding about one index; `None` if it is as it is defined.
fn of_index(found: &FoundTable, index: &Index, update: &str) -> Option<Finding> {
    let name = index.name;
    let purpose = PURPOSES.iter().find(|(of, _)| *of == name).map(|(_, purpose)| *purpose).unwrap_or_default();
    match found.indexes.get(name) {
        Some(there) if !there.is(index) => {
            let what = format!("{name} of the table has other keys or attributes than this version: {purpose}");
            let fix = format!("delete the index, and create it: {}", create(index, update));
            Some(Finding::wrong(HUB, what, &fix))
        }
        Some(there) if there.building => {
            Some(Finding::notice(HUB, format!("DynamoDB still builds {name}: until then {purpose}"), "wait for it"))
        }
        Some(_) => None,
        None => Some(Finding::wrong(HUB, format!("the table has no {name}: {purpose}"), &create(index, update))),
    }
}

/// The command that creates an index.
fn create(index: &Index, update: &str) -> String {
    let (hash, range) = index.key;
    let projection = match index.projected {
        [] => json!({"ProjectionType": "KEYS_ONLY"}),
        ALL => json!({"ProjectionType": "ALL"}),
        some => json!({"ProjectionType": "INCLUDE", "NonKeyAttributes": some}),
    };
    let key = json!([{"AttributeName": hash, "KeyType": "HASH"}, {"AttributeName": range, "KeyType": "RANGE"}]);
    let created = json!([{"Create": {"IndexName": index.name, "KeySchema": key, "Projection": projection}}]);
    format!(
        "{update} --attribute-definitions AttributeName={hash},AttributeType=S AttributeName={range},AttributeType=S \
         --global-secondary-index-updates '{created}'"
    )
}

#[cfg(test)]
mod tests {
    use store::definition::FoundIndex;

    use super::*;

    /// A table as the template makes it.
    fn complete() -> FoundTable {
        let sorted = |names: &[&str]| {
            let mut names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            names.sort();
            names
        };
        let indexes = INDEXES.map(|index| {
            let key = vec![index.key.0.to_owned(), index.key.1.to_owned()];
            (index.name.to_owned(), FoundIndex { key, projected: sorted(index.projected), building: false })
        });
        FoundTable {
            key: vec![KEY.0.to_owned(), KEY.1.to_owned()],
            indexes: indexes.into_iter().collect(),
            stream: Some("stream".to_owned()),
            time_to_live: None,
            recovers: true,
            protected: true,
        }
    }

    fn said(found: &FoundTable) -> Vec<(String, String)> {
        let findings = of_table(found, "--table-name t").into_iter();
        findings.map(|each| (each.what, each.fix.unwrap_or_default())).collect()
    }

    #[test]
    fn a_complete_table_is_one_good_finding() {
        let expected = "the table has its indexes, its stream and its backups";
        assert_eq!(said(&complete()), [(expected.to_owned(), String::new())]);
    }

    #[test]
    fn a_table_that_was_restored_lacks_stream_backups_and_protection() {
        let restored = FoundTable { stream: None, recovers: false, protected: false, ..complete() };
        let what: Vec<_> = said(&restored).into_iter().map(|(what, _)| what).collect();
        assert_eq!(
            what,
            [
                "the table has no stream with new images: no alert is published",
                "the table cannot be restored to a point in time",
                "the table is not protected from being deleted",
            ]
        );
    }

    #[test]
    fn a_missing_index_is_created_by_the_command() {
        let mut found = complete();
        found.indexes.remove("due-index");
        let [(what, fix)] = said(&found).try_into().unwrap();
        assert!(what.starts_with("the table has no due-index: nothing that is due is done"), "{what}");
        assert_eq!(
            fix,
            "aws dynamodb update-table --table-name t --attribute-definitions AttributeName=queue,AttributeType=S \
             AttributeName=due,AttributeType=S --global-secondary-index-updates \
             '[{\"Create\":{\"IndexName\":\"due-index\",\"KeySchema\":[{\"AttributeName\":\"queue\",\"KeyType\":\"HASH\"},\
             {\"AttributeName\":\"due\",\"KeyType\":\"RANGE\"}],\"Projection\":{\"ProjectionType\":\"KEYS_ONLY\"}}}]'"
        );
    }

    #[test]
    fn an_index_with_other_attributes_and_a_time_to_live_are_wrong() {
        let mut found = FoundTable { time_to_live: Some("expires".to_owned()), ..complete() };
        found.indexes.get_mut("registry-index").unwrap().projected.pop();
        found.indexes.get_mut("deletion-index").unwrap().building = true;
        let what: Vec<_> = said(&found).into_iter().map(|(what, _)| what).collect();
        assert_eq!(
            what,
            [
                "registry-index of the table has other keys or attributes than this version: lists of images, orphans and \
                 drift are incomplete",
                "DynamoDB still builds deletion-index: until then lists of deletions are incomplete",
                "DynamoDB deletes items of the table by the attribute expires: what is recorded is lost",
            ]
        );
    }

    #[test]
    fn every_index_has_a_purpose() {
        assert_eq!(INDEXES.map(|index| index.name), PURPOSES.map(|(name, _)| name));
    }
}
