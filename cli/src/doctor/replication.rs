//! The checks of a registry's replication rules, and of the repositories at their destinations.

use std::collections::BTreeSet;

use aws::deployment;
use domain::{
    image::{Registry, RepositoryName},
    replication::{ReplicationRule, ReplicationRules},
};

use super::{Finding, registry::CheckedRegistry};

/// The number of repositories per registry that are checked for a lifecycle policy.
const REPOSITORIES: usize = 100;

/// Checks the replication rules, and what they copy to.
pub(super) async fn check_replication_rules(checked: &CheckedRegistry<'_>) -> Vec<Finding> {
    let rules = match checked.registries.rules(&checked.registry).await {
        Ok(rules) => rules,
        Err(failure) => return vec![checked.unknown("the replication rules could not be read", &failure)],
    };
    let mut findings = check_native_deletes(checked, &rules);
    for destination in rules.rules.iter().flat_map(|rule| &rule.destinations).collect::<BTreeSet<_>>() {
        findings.extend(check_lifecycle_policies(checked, &rules, destination).await);
        findings.extend(check_pull_times(checked, destination).await);
    }
    findings
}

/// Checks whether native deletion replication is enabled.
fn check_native_deletes(checked: &CheckedRegistry<'_>, rules: &ReplicationRules) -> Vec<Finding> {
    let native = rules.rules.iter().zip(1..).filter(|(rule, _)| rule.deletes_natively);
    let finding = |(rule, number): (&ReplicationRule, u32)| {
        let to: Vec<_> = rule.destinations.iter().map(ToString::to_string).collect();
        Finding::notice(
            &checked.place,
            format!(
                "native deletion replication is enabled (rule {number}): ECR deletes replicas in {} at once, \
                 whatever the policy says",
                to.join(", ")
            ),
            "disable deleteReplication if a policy decides about replicas; \
             `ecr-lineage audit native-deletes` lists the images at risk",
        )
    };
    native.map(finding).collect()
}

/// Checks whether the repositories that are copied to a destination have lifecycle policies there.
async fn check_lifecycle_policies(
    checked: &CheckedRegistry<'_>,
    rules: &ReplicationRules,
    destination: &Registry,
) -> Vec<Finding> {
    let repositories = match repositories_copied_to(destination, checked, rules).await {
        Ok(repositories) => repositories,
        Err(finding) => return vec![finding],
    };
    let (mut findings, mut read, mut without) = (Vec::new(), 0, Vec::new());
    for repository in repositories {
        read += 1;
        match checked.registries.has_lifecycle_policy(destination, &repository).await {
            Ok(true) => {}
            Ok(false) => without.push(repository),
            Err(failure) => {
                let what = format!("the lifecycle policy of {repository} could not be read");
                findings.push(checked.unknown(what, &failure));
                break;
            }
        }
    }
    if let Some(first) = without.first() {
        let fix = match new_repositories_get(destination, checked, first).await {
            Ok(true) => {
                "add a policy with `aws ecr put-lifecycle-policy`; the creation template of replicas is for new \
                         repositories only"
                    .to_owned()
            }
            Ok(false) => format!(
                "add a policy with `aws ecr put-lifecycle-policy`; for new repositories, in {destination}: aws ecr \
                 create-repository-creation-template --region {} --prefix ROOT --applied-for REPLICATION \
                 --lifecycle-policy file://lifecycle.json",
                destination.region()
            ),
            Err(finding) => {
                findings.push(finding);
                "add a policy with `aws ecr put-lifecycle-policy`".to_owned()
            }
        };
        findings.push(Finding::notice(
            &checked.place,
            format!(
                "{} of {read} replicated repositories in {destination} have no lifecycle policy, such as {first}: \
                 their replicas are never removed",
                without.len()
            ),
            &fix,
        ));
    }
    findings
}

/// Checks whether pulls of scanners are left out of the pull times of replicas; `None` if some principal's are. Which
/// principals scan is not known here.
async fn check_pull_times(checked: &CheckedRegistry<'_>, destination: &Registry) -> Option<Finding> {
    let sdk = checked.registries.config(destination).await;
    match deployment::registry::excludes_pulls(&sdk).await {
        Ok(true) => None,
        Ok(false) => {
            let what = format!(
                "in {destination} every pull counts as use, also that of a scanner: a policy that keeps what was pulled \
                 keeps what is only scanned"
            );
            let fix = format!(
                "none without a scanner that pulls; else, in {destination}: aws ecr register-pull-time-update-exclusion \
                 --region {} --principal-arn ROLE_OF_THE_SCANNER",
                destination.region()
            );
            Some(Finding::notice(&checked.place, what, &fix))
        }
        Err(failure) => {
            let what = format!("the pull-time exclusions of {destination} could not be read");
            Some(checked.unknown(what, &failure))
        }
    }
}

/// Whether a creation template at the destination applies to repositories of this name that replication makes.
async fn new_repositories_get(
    destination: &Registry,
    checked: &CheckedRegistry<'_>,
    repository: &RepositoryName,
) -> Result<bool, Finding> {
    let sdk = checked.registries.config(destination).await;
    let prefixes = deployment::registry::replication_templates(&sdk).await.map_err(|failure| {
        let what = format!("the repository creation templates of {destination} could not be read");
        checked.unknown(what, &failure)
    })?;
    let covers = |prefix: &String| {
        let rest = repository.as_str().strip_prefix(prefix.as_str());
        prefix == "ROOT" || rest.is_some_and(|rest| prefix.ends_with('/') || rest.starts_with('/'))
    };
    Ok(prefixes.iter().any(covers))
}

/// The repositories at a destination that the rules copy, up to the number that is checked.
async fn repositories_copied_to(
    destination: &Registry,
    checked: &CheckedRegistry<'_>,
    rules: &ReplicationRules,
) -> Result<Vec<RepositoryName>, Finding> {
    let all = checked.registries.repositories(destination).await.map_err(|failure| {
        let what = format!("the repositories of {destination} could not be listed");
        checked.unknown(what, &failure)
    })?;
    let copying: Vec<_> = rules.rules.iter().filter(|rule| rule.destinations.contains(destination)).collect();
    let copied = all.into_iter().filter(|repository| copying.iter().any(|rule| rule.covers(repository)));
    Ok(copied.take(REPOSITORIES).collect())
}
