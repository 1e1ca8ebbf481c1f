//! Alerts, and the incidents that they belong to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, ReturnConsumedCapacity, TransactWriteItem, Update};
use domain::{
    alert::{
        Acknowledgement, Alert, AlertState, Incident, Occurrence, OccurrenceGroup, PublishedEvent, Response,
        SeverityRules, Snooze,
    },
    expectation::{ProblemChange, ProblemEnd, ReplicationExpectation},
    image::RepositoryName,
};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    Error, Stored, Table,
    calls::Condition,
    expectation::{decode_expectation, encode_expectation},
    item::{self, EVERYTHING, ImageItemKind, Item, ItemError},
};

/// What operators said about incidents, by the ID of the incident.
pub type Responses = BTreeMap<String, Response>;

/// What a record of the table's stream publishes, from the key, the new item and whether the item is new: an alert that
/// is new, or that the copies of a push are complete. `None` if it publishes nothing.
///
/// # Errors
/// When the item cannot be decoded.
pub fn published_by(
    key: serde_dynamo::Item,
    item: serde_dynamo::Item,
    is_new: bool,
) -> Result<Option<PublishedEvent>, ItemError> {
    let key: Item = key.into();
    if is_new && item::is_alert(&key) {
        return decode_alert(item.into()).map(|alert| Some(PublishedEvent::Alert(alert)));
    }
    if matches!(item::image_item_kind(&key), Some(ImageItemKind::Expectation)) {
        return Ok(decode_expectation(item.into())?.complete().map(PublishedEvent::ReplicationComplete));
    }
    Ok(None)
}

impl Table {
    /// Stores an alert, unless it exists.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_alert(&self, alert: &Alert) -> Result<Stored, Error> {
        let mut alert = alert.clone();
        // What is over is `info`, whatever it was.
        if !alert.repositories.is_empty() && alert.state != AlertState::Resolved {
            alert.severity = self.severity_rules.severity(alert.kind, &alert.repositories);
        }
        let item = encode_alert(&alert).map_err(|source| self.decode_error(&alert.id, source))?;
        self.put_new(item).await
    }

    /// The alerts of the UTC day of a time, in the order of their ids.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn alerts(&self, day: Timestamp) -> Result<Vec<Alert>, Error> {
        self.partition(&item::pk_of_alerts(day), decode_alert).await
    }

    /// The incidents that are not resolved, or whose last alert was not stored yet.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn incidents(&self) -> Result<Vec<Incident>, Error> {
        Ok(self.incidents_and_responses().await?.0)
    }

    /// The same incidents, and what operators said about them, by the ID of the incident.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn incidents_and_responses(&self) -> Result<(Vec<Incident>, Responses), Error> {
        let (mut incidents, mut responses) = (Vec::new(), BTreeMap::new());
        for item in self.all(item::INCIDENTS, self.between(item::INCIDENTS, EVERYTHING)).await? {
            match item::response_of(&item) {
                Some(incident) => {
                    let decode = |item: Item| Ok(serde_dynamo::from_item::<_, Response>(item)?);
                    responses.insert(incident, self.decode(item, decode)?);
                }
                None => incidents.push(self.decode(item, decode_incident)?),
            }
        }
        Ok((incidents, responses))
    }

    /// Stores that an operator works on an incident. It replaces an earlier acknowledgement.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_acknowledgement(&self, incident: &str, said: &Acknowledgement) -> Result<(), Error> {
        self.put_response(incident, "acknowledged", said).await
    }

    /// Stores until when an incident is not repeated. It replaces an earlier snooze.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_snooze(&self, incident: &str, snooze: &Snooze) -> Result<(), Error> {
        self.put_response(incident, "snoozed", snooze).await
    }

    async fn put_response(&self, incident: &str, name: &str, said: &impl Serialize) -> Result<(), Error> {
        let value = serde_dynamo::to_attribute_value(said);
        let value = value.map_err(|error| self.decode_error(incident, error.into()))?;
        let attributes = Item::from([(name.to_owned(), value)]);
        self.update(item::key_of_response(incident), attributes, None).await.map(drop)
    }

    /// Deletes what operators said about an incident that is over.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn delete_response(&self, incident: &str) -> Result<(), Error> {
        self.delete(item::key_of_response(incident)).await
    }

    /// The severity of alerts by repository.
    #[must_use]
    pub fn severity_rules(&self) -> &SeverityRules {
        &self.severity_rules
    }

    /// Stores an expectation, and counts its problems in the same transaction. `Known` if there was another push, or
    /// another writer stored the expectation since it was read.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_expectation(
        &self,
        expectation: &ReplicationExpectation,
        changes: &[ProblemChange],
        now: Timestamp,
    ) -> Result<Stored, Error> {
        let read = expectation.state.version;
        let mut next = expectation.clone();
        next.state.version = read.saturating_add(1);
        let (_, key) = item::key_of_expectation(&next.image, &next.source, next.tag.as_ref());
        let item = encode_expectation(&next).map_err(|source| self.decode_error(&key, source))?;
        let names = ["since", "version", "completion"];
        let since = ("since", AttributeValue::S(next.since.to_string()));
        // What is complete does not change: the stream would publish it again.
        let condition = if read == 0 {
            // If no event reported the push, there is no item yet.
            let expression = "(attribute_not_exists(#since) OR #since = :since) AND attribute_not_exists(#version) \
                              AND attribute_not_exists(#completion)";
            Condition::new(expression, names, [since])
        } else {
            let version = ("version", AttributeValue::N(read.to_string()));
            let expression = "#since = :since AND #version = :version AND attribute_not_exists(#completion)";
            Condition::new(expression, names, [since, version])
        };
        if changes.is_empty() {
            return self.put_if(item, condition).await;
        }
        let Condition { expression, names, values } = condition;
        let put = Put::builder().table_name(&self.name).set_item(Some(item)).condition_expression(expression);
        let put = put.set_expression_attribute_names(Some(names)).set_expression_attribute_values(Some(values));
        let put = put.build().map_err(|error| self.write_error(&key, error))?;
        let mut steps = vec![TransactWriteItem::builder().put(put).build()];
        for change in changes {
            steps.push(self.count(&next, change, now)?);
        }
        self.transact(&key, steps).await
    }

    /// Counts an image in or out of an incident.
    fn count(
        &self,
        of: &ReplicationExpectation,
        change: &ProblemChange,
        now: Timestamp,
    ) -> Result<TransactWriteItem, Error> {
        let key = item::sort_key_of_incident(change.kind, &of.source, &change.destination);
        let update = Update::builder().table_name(&self.name);
        let update =
            update.key("pk", AttributeValue::S(item::INCIDENTS.into())).key("sk", AttributeValue::S(key.clone()));
        let number = |number: i32| AttributeValue::N(number.to_string());
        let update = match change.end {
            None => {
                let occurrence = Occurrence {
                    kind: change.kind,
                    source: of.source.clone(),
                    destination: change.destination.clone(),
                    image: of.image.clone(),
                    why: change.why.clone(),
                };
                let (sets, names, mut values) = self.opening(&occurrence, now)?;
                values.insert(":one".to_owned(), number(1));
                let names = names.into_iter().chain([("#count", "count"), ("#open", "open")].map(owned)).collect();
                update
                    .update_expression(format!("{sets} ADD #count :one, #open :one"))
                    .set_expression_attribute_names(Some(names))
                    .set_expression_attribute_values(Some(values))
            }
            Some(end) => update
                .update_expression("ADD #open :less, #arrived :arrived, #superseded :superseded")
                .condition_expression("attribute_exists(pk)")
                .expression_attribute_names("#open", "open")
                .expression_attribute_names("#arrived", "arrived")
                .expression_attribute_names("#superseded", "superseded")
                .expression_attribute_values(":less", number(-1))
                .expression_attribute_values(":arrived", number(i32::from(end == ProblemEnd::Arrived)))
                .expression_attribute_values(":superseded", number(i32::from(end == ProblemEnd::Superseded))),
        };
        let update = update.build().map_err(|error| self.write_error(&key, error))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    /// Counts occurrences; the incident names the first image, and the repositories.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn count_occurrences(&self, group: &OccurrenceGroup, now: Timestamp) -> Result<(), Error> {
        let OccurrenceGroup { first, count, repositories } = group;
        let key = item::sort_key_of_incident(first.kind, &first.source, &first.destination);
        let (sets, names, mut values) = self.opening(first, now)?;
        values.insert(":more".to_owned(), AttributeValue::N(count.to_string()));
        values.insert(":repositories".to_owned(), string_set(repositories));
        let added = [("#count", "count"), ("#repositories", "repositories")].map(owned);
        let update = self.client.update_item().table_name(&self.name);
        let update =
            update.key("pk", AttributeValue::S(item::INCIDENTS.into())).key("sk", AttributeValue::S(key.clone()));
        let update = update
            .update_expression(format!("{sets} ADD #count :more, #repositories :repositories"))
            .set_expression_attribute_names(Some(names.into_iter().chain(added).collect()))
            .set_expression_attribute_values(Some(values))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let output = update.send().await.map_err(|error| self.write_error(&key, error))?;
        self.wrote(output.consumed_capacity());
        Ok(())
    }

    /// Adds repositories to an incident that is open.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn add_repositories(
        &self,
        incident: &Incident,
        repositories: &BTreeSet<RepositoryName>,
    ) -> Result<(), Error> {
        let key = item::sort_key_of_incident(incident.kind, &incident.source, &incident.destination);
        let update = self.client.update_item().table_name(&self.name);
        let update =
            update.key("pk", AttributeValue::S(item::INCIDENTS.into())).key("sk", AttributeValue::S(key.clone()));
        let update = update
            .update_expression("ADD #repositories :repositories")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_names("#repositories", "repositories")
            .expression_attribute_values(":repositories", string_set(repositories))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let output = update.send().await.map_err(|error| self.write_error(&key, error))?;
        self.wrote(output.consumed_capacity());
        Ok(())
    }

    /// The update expression that creates an incident unless it exists, with its names and values.
    fn opening(&self, first: &Occurrence, now: Timestamp) -> Result<Opening, Error> {
        let incident = Incident {
            kind: first.kind,
            source: first.source.clone(),
            destination: first.destination.clone(),
            opened_at: now,
            count: 0,
            open: 0,
            arrived: 0,
            superseded: 0,
            image: first.image.clone(),
            repositories: BTreeSet::new(),
            why: first.why.clone(),
            notified: 0,
            notified_at: None,
            severity: None,
        };
        let mut item: Item =
            serde_dynamo::to_item(&incident).map_err(|error| self.decode_error(first.kind.as_str(), error.into()))?;
        item.retain(|name, _| !["count", "open", "arrived", "superseded", "notified"].contains(&name.as_str()));
        let mut sets: Vec<_> = item.keys().map(|name| format!("#{name} = if_not_exists(#{name}, :{name})")).collect();
        sets.sort();
        let names = item.keys().map(|name| (format!("#{name}"), name.clone())).collect();
        let values = item.into_iter().map(|(name, value)| (format!(":{name}"), value)).collect();
        Ok((format!("SET {}", sets.join(", ")), names, values))
    }

    /// Stores an alert of an incident, and in the same transaction that it was sent; a resolved or one-shot incident is
    /// deleted. `Known` if the incident was notified or changed meanwhile.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_incident_alert(&self, incident: &Incident, alert: &Alert) -> Result<Stored, Error> {
        let key = item::sort_key_of_incident(incident.kind, &incident.source, &incident.destination);
        let item = encode_alert(alert).map_err(|source| self.decode_error(&alert.id, source))?;
        let put =
            Put::builder().table_name(&self.name).set_item(Some(item)).condition_expression("attribute_not_exists(pk)");
        let put = put.build().map_err(|error| self.write_error(&key, error))?;
        let (condition, mut values) = match incident.notified {
            0 => ("attribute_not_exists(#notified)", HashMap::new()),
            notified => (
                "#notified = :notified",
                HashMap::from([(":notified".to_owned(), AttributeValue::N(notified.to_string()))]),
            ),
        };
        let names = HashMap::from([owned(("#notified", "notified"))]);
        let (pk, sk) = (AttributeValue::S(item::INCIDENTS.into()), AttributeValue::S(key.clone()));
        let step = if matches!(alert.state, AlertState::Resolved | AlertState::Notice) {
            // An incident is deleted only if no image is open (resolved), or no further occurrence was counted
            // (one-shot).
            let (changing, number) =
                if alert.state == AlertState::Resolved { ("open", 0) } else { ("count", incident.count) };
            let names = names.into_iter().chain([owned(("#changing", changing))]).collect();
            values.insert(":number".to_owned(), AttributeValue::N(number.to_string()));
            let delete = Delete::builder().table_name(&self.name).key("pk", pk).key("sk", sk);
            let delete = delete.condition_expression(format!("{condition} AND #changing = :number"));
            let delete =
                delete.set_expression_attribute_names(Some(names)).set_expression_attribute_values(Some(values));
            TransactWriteItem::builder().delete(delete.build().map_err(|error| self.write_error(&key, error))?)
        } else {
            let also = [("#notified_at", "notified_at"), ("#severity", "severity")].map(owned);
            let names = names.into_iter().chain(also).collect();
            values.insert(":severity".to_owned(), AttributeValue::S(alert.severity.as_str().to_owned()));
            values.insert(":next".to_owned(), AttributeValue::N(incident.notified.saturating_add(1).to_string()));
            values.insert(":now".to_owned(), AttributeValue::S(alert.time.to_string()));
            let update = Update::builder().table_name(&self.name).key("pk", pk).key("sk", sk);
            let update = update.update_expression("SET #notified = :next, #notified_at = :now, #severity = :severity");
            let update = update.condition_expression(condition);
            let update =
                update.set_expression_attribute_names(Some(names)).set_expression_attribute_values(Some(values));
            TransactWriteItem::builder().update(update.build().map_err(|error| self.write_error(&key, error))?)
        };
        self.transact(&key, vec![TransactWriteItem::builder().put(put).build(), step.build()]).await
    }
}

/// An update expression, its names and its values.
type Opening = (String, HashMap<String, String>, HashMap<String, AttributeValue>);

fn string_set(names: &BTreeSet<RepositoryName>) -> AttributeValue {
    AttributeValue::Ss(names.iter().map(ToString::to_string).collect())
}

fn owned((placeholder, name): (&str, &str)) -> (String, String) {
    (placeholder.to_owned(), name.to_owned())
}

fn encode_alert(alert: &Alert) -> Result<Item, ItemError> {
    let key = (item::pk_of_alerts(alert.time), alert.id.clone());
    Ok(item::with_key(serde_dynamo::to_item(alert)?, key))
}

fn decode_alert(item: Item) -> Result<Alert, ItemError> {
    Ok(serde_dynamo::from_item(item)?)
}

fn decode_incident(item: Item) -> Result<Incident, ItemError> {
    Ok(serde_dynamo::from_item(item)?)
}
