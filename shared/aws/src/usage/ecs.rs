//! ECS: the images of running tasks, and of the task definitions from which services start tasks.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/Welcome.html>

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use domain::{
    deletion::ImageOrTag,
    image::Digest,
    usage::{Usage, UsedImage, UserKind},
};
use retry::CallError;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    UsageReader,
    call::{Ask, Caller, next_page},
    images,
};

/// The results of one page of a list: by default, ListServices has 10.
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListServices.html>
const RESULTS_PER_PAGE: usize = 100;

/// The tasks that one call describes.
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html>
const TASKS_PER_CALL: usize = 100;

/// The services that one call describes.
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html>
const SERVICES_PER_CALL: usize = 10;

/// The failure of a task or service that ended after it was listed.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html>
const MISSING: &str = "MISSING";

/// Reads the clusters of an account in a region.
pub(super) struct Ecs<'a> {
    caller: &'a Caller,
    reader: &'a UsageReader,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Clusters {
    cluster_arns: Vec<String>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TaskArns {
    task_arns: Vec<String>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceArns {
    service_arns: Vec<String>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct Tasks {
    tasks: Vec<Task>,
    #[serde(default)]
    failures: Vec<Refused>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Task {
    task_arn: String,
    task_definition_arn: Option<String>,
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    image: Option<String>,
    image_digest: Option<Digest>,
}

#[derive(Deserialize)]
struct Services {
    services: Vec<Service>,
    #[serde(default)]
    failures: Vec<Refused>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Service {
    service_arn: String,
    task_definition: Option<String>,
    #[serde(default)]
    deployments: Vec<Deployment>,
    #[serde(default)]
    task_sets: Vec<Deployment>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Deployment {
    task_definition: Option<String>,
}

#[derive(Deserialize)]
struct Refused {
    arn: Option<String>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Revisions {
    task_definition_arns: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    task_definition: TaskDefinition,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TaskDefinition {
    container_definitions: Vec<ContainerDefinition>,
}

#[derive(Deserialize)]
struct ContainerDefinition {
    image: Option<String>,
}

impl<'a> Ecs<'a> {
    pub(super) fn new(caller: &'a Caller, reader: &'a UsageReader) -> Self {
        Self { caller, reader }
    }

    /// Reads every cluster.
    pub(super) async fn read(&self, usage: &mut Usage) -> Result<(), CallError> {
        // The task definitions, with those who use them.
        let mut definitions: BTreeMap<String, BTreeSet<(UserKind, String)>> = BTreeMap::new();
        let mut next = None;
        loop {
            let page = self.list_clusters(next.as_ref()).await?;
            for cluster in &page.cluster_arns {
                self.tasks(cluster, usage, &mut definitions).await?;
                self.services(cluster, &mut definitions).await?;
            }
            next = next_page(next.as_ref(), page.next_token)?;
            if next.is_none() {
                break;
            }
        }
        self.add_revisions(&mut definitions).await?;
        for (arn, users) in definitions {
            let images = self.definition(&arn).await?;
            for (image, (kind, name)) in images.iter().flat_map(|image| users.iter().map(move |user| (image, user))) {
                usage.add(image.clone(), kind.clone(), name.clone(), None);
            }
        }
        Ok(())
    }

    /// The running tasks of a cluster.
    async fn tasks(
        &self,
        cluster: &str,
        usage: &mut Usage,
        definitions: &mut BTreeMap<String, BTreeSet<(UserKind, String)>>,
    ) -> Result<(), CallError> {
        let mut next = None;
        loop {
            let page = self.list_tasks(cluster, next.as_ref()).await?;
            for arns in page.task_arns.chunks(TASKS_PER_CALL) {
                let answer = self.describe_tasks(cluster, arns).await?;
                all_are_mentioned(arns, answer.tasks.iter().map(|task| &task.task_arn), &answer.failures)
                    .map_err(|error| error.about("DescribeTasks"))?;
                for task in answer.tasks {
                    let Some(definition) = add_task(&task, usage)? else { continue };
                    definitions.entry(definition).or_default().insert((UserKind::Task, task.task_arn));
                }
            }
            next = next_page(next.as_ref(), page.next_token)?;
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// The task definitions of a cluster's services.
    async fn services(
        &self,
        cluster: &str,
        definitions: &mut BTreeMap<String, BTreeSet<(UserKind, String)>>,
    ) -> Result<(), CallError> {
        let mut next = None;
        loop {
            let page = self.list_services(cluster, next.as_ref()).await?;
            for arns in page.service_arns.chunks(SERVICES_PER_CALL) {
                let answer = self.describe_services(cluster, arns).await?;
                all_are_mentioned(arns, answer.services.iter().map(|one| &one.service_arn), &answer.failures)
                    .map_err(|error| error.about("DescribeServices"))?;
                for Service { service_arn, task_definition, deployments, task_sets } in answer.services {
                    let others = deployments.into_iter().chain(task_sets).filter_map(|one| one.task_definition);
                    for arn in task_definition.into_iter().chain(others) {
                        definitions.entry(arn).or_default().insert((UserKind::Service, service_arn.clone()));
                    }
                }
            }
            next = next_page(next.as_ref(), page.next_token)?;
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// Adds the newest revisions of the families that services use: those to which one rolls back.
    async fn add_revisions(
        &self,
        definitions: &mut BTreeMap<String, BTreeSet<(UserKind, String)>>,
    ) -> Result<(), CallError> {
        if self.reader.revisions <= 1 {
            return Ok(());
        }
        let mut families: BTreeMap<String, BTreeSet<(UserKind, String)>> = BTreeMap::new();
        for (arn, users) in &*definitions {
            let services = users.iter().filter(|(kind, _)| *kind == UserKind::Service).cloned();
            families.entry(family(arn).to_owned()).or_default().extend(services);
        }
        for (family, users) in families.into_iter().filter(|(_, users)| !users.is_empty()) {
            for arn in self.list_task_definitions(&family).await?.task_definition_arns {
                definitions.entry(arn).or_default().extend(users.clone());
            }
        }
        Ok(())
    }

    /// The images of a task definition, which never change.
    async fn definition(&self, arn: &str) -> Result<Arc<[UsedImage]>, CallError> {
        if let Some(known) = self.reader.known(arn) {
            return Ok(known);
        }
        let Described { task_definition } = self.describe_task_definition(arn).await?;
        let mut found = Vec::new();
        for container in task_definition.container_definitions {
            found.extend(images(&container.image.unwrap_or_default())?);
        }
        let found = found.into();
        self.reader.keep(arn, &found);
        Ok(found)
    }

    async fn list_clusters(&self, next: Option<&String>) -> Result<Clusters, CallError> {
        self.call("ListClusters", json!({"maxResults": RESULTS_PER_PAGE, "nextToken": next})).await
    }

    /// The tasks that run, or are to run.
    async fn list_tasks(&self, cluster: &str, next: Option<&String>) -> Result<TaskArns, CallError> {
        let body =
            json!({"cluster": cluster, "desiredStatus": "RUNNING", "maxResults": RESULTS_PER_PAGE, "nextToken": next});
        self.call("ListTasks", body).await
    }

    async fn describe_tasks(&self, cluster: &str, tasks: &[String]) -> Result<Tasks, CallError> {
        self.call("DescribeTasks", json!({"cluster": cluster, "tasks": tasks})).await
    }

    async fn list_services(&self, cluster: &str, next: Option<&String>) -> Result<ServiceArns, CallError> {
        let body = json!({"cluster": cluster, "maxResults": RESULTS_PER_PAGE, "nextToken": next});
        self.call("ListServices", body).await
    }

    async fn describe_services(&self, cluster: &str, services: &[String]) -> Result<Services, CallError> {
        self.call("DescribeServices", json!({"cluster": cluster, "services": services})).await
    }

    async fn describe_task_definition(&self, arn: &str) -> Result<Described, CallError> {
        self.call("DescribeTaskDefinition", json!({"taskDefinition": arn})).await
    }

    /// The newest revisions of a family: one page has as many as are wanted.
    async fn list_task_definitions(&self, family: &str) -> Result<Revisions, CallError> {
        let most = self.reader.revisions;
        let body = json!({"familyPrefix": family, "status": "ACTIVE", "sort": "DESC", "maxResults": most});
        self.call("ListTaskDefinitions", body).await
    }

    async fn call<T: DeserializeOwned>(&self, operation: &str, mut body: Value) -> Result<T, CallError> {
        if let Some(fields) = body.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        let target = format!("AmazonEC2ContainerServiceV20141113.{operation}");
        let answer = self.caller.call("ecs", &Ask::Json(&target, body)).await;
        answer.map_err(|error: CallError| error.about(operation))
    }
}

/// Adds the images of a task. Returns its task definition if the answer does not have them: a task that is about to
/// start.
fn add_task(task: &Task, usage: &mut Usage) -> Result<Option<String>, CallError> {
    for Container { image, image_digest } in &task.containers {
        let image = image.as_deref().unwrap_or_default();
        if image.is_empty() {
            return Err(CallError::unclear(format!("a container of {} is without an image", task.task_arn)));
        }
        let mut found: BTreeSet<_> = images(image)?.into_iter().collect();
        let digests = found
            .iter()
            .zip(image_digest)
            .map(|(used, digest)| UsedImage { id: ImageOrTag::Image(digest.clone()), ..used.clone() });
        found.extend(digests.collect::<Vec<_>>());
        for used in found {
            usage.add(used, UserKind::Task, &*task.task_arn, None);
        }
    }
    if !task.containers.is_empty() {
        return Ok(None);
    }
    let unclear = || CallError::unclear(format!("{} is without containers and task definition", task.task_arn));
    task.task_definition_arn.clone().map(Some).ok_or_else(unclear)
}

/// Fails unless the answer describes each of the things, or says that it ended.
fn all_are_mentioned<'a>(
    asked: &[String],
    described: impl Iterator<Item = &'a String>,
    failures: &[Refused],
) -> Result<(), CallError> {
    let mut open: BTreeSet<&String> = asked.iter().collect();
    described.for_each(|arn| _ = open.remove(arn));
    for Refused { arn, reason } in failures {
        let reason = reason.as_deref().unwrap_or("without a reason");
        if reason != MISSING {
            return Err(CallError::refused(reason, arn.as_deref().unwrap_or("unnamed")));
        }
        arn.iter().for_each(|arn| _ = open.remove(arn));
    }
    match open.first() {
        Some(arn) => Err(CallError::unclear(format!("the answer does not mention {arn}"))),
        None => Ok(()),
    }
}

/// The family in the ARN of a task definition: `arn:aws:ecs:…:task-definition/family:7`.
fn family(arn: &str) -> &str {
    let name = arn.rsplit('/').next().unwrap_or(arn);
    name.rsplit_once(':').map_or(name, |(family, _)| family)
}

#[cfg(test)]
mod tests {
    use retry::chain;

    use super::*;

    #[test]
    fn the_error_of_a_digest_is_not_lost() {
        assert!(serde_json::from_value::<Container>(json!({"image": "a", "imageDigest": "b"})).is_err());
        let error = serde_json::from_value::<Tasks>(json!({})).err().map(|error| chain(&error));
        assert_eq!(error.as_deref(), Some("missing field `tasks`"));
    }

    #[test]
    fn a_family_is_the_name_of_a_task_definition_without_its_revision() {
        assert_eq!(family("arn:aws:ecs:eu-west-1:111122223333:task-definition/web:12"), "web");
        assert_eq!(family("web"), "web");
    }

    #[test]
    fn what_an_answer_leaves_out_is_no_absence() {
        let asked = ["a", "b"].map(str::to_owned);
        let refused = |arn: &str, reason: &str| Refused { arn: Some(arn.to_owned()), reason: Some(reason.to_owned()) };
        let check = |described: &[String], failures: &[Refused]| {
            all_are_mentioned(&asked, described.iter(), failures).map_err(|error| error.to_string())
        };
        assert_eq!(check(&asked, &[]), Ok(()));
        assert_eq!(check(&asked[..1], &[refused("b", MISSING)]), Ok(()));
        assert_eq!(check(&asked[..1], &[]), Err("the answer does not mention b".to_owned()));
        assert_eq!(check(&asked[..1], &[refused("b", "BUSY")]), Err("BUSY: b".to_owned()));
    }
}
