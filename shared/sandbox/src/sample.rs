//! `local --sample`: thirty repositories on four registries with a little trouble, for looking around.

use std::time::Duration;

use domain::image::Registry;
use jiff::{SignedDuration, Timestamp};
use policy::Policy;
use serde_json::{Value, json};
use simulator::{ApiCaller, settings::Settings, trouble::Trouble};

use crate::{
    Error,
    demo::{manifests, stage::parsed},
    local::Local,
};

/// The time that the sample covers; it ends when the system starts.
pub const SAMPLE_TIME: SignedDuration = SignedDuration::from_hours(72);

const TEAMS: [&str; 10] = ["base", "data", "ml", "ops", "pay", "search", "shop", "tools", "video", "web"];
const PARTS: [&str; 3] = ["api", "jobs", "ui"];

/// The source, its two destinations, and one in another account, which receives what the shop has.
const IRELAND: &str = "111122223333/eu-west-1";
const VIRGINIA: &str = "111122223333/us-east-1";
const SYDNEY: &str = "111122223333/ap-southeast-2";
const TOKYO: &str = "444455556666/ap-northeast-1";

/// The policy of the sample: replicas follow after a day, except for base images.
const POLICY: &str = r#"
@id("follow-the-source") @grace("24h")
permit (principal, action in [Action::"delete", Action::"untag"], resource);

@id("never-a-base-image")
forbid (principal, action, resource) when { resource.repository like "base/*" };
"#;

/// The registries while they are filled.
struct Sample<'a> {
    local: &'a Local,
    ireland: Registry,
    tokyo: Registry,
    /// What is changed for the sample is restored at its end.
    trouble: Trouble,
}

/// Fills the registries, and moves the clock forward by [`SAMPLE_TIME`], up to `end`. The same settings give the same
/// content. Without a policy of the user's, that of the sample applies.
///
/// # Errors
/// When a call fails, or the table cannot be read.
pub async fn fill(local: &mut Local, end: Timestamp, own_policy: bool) -> Result<(), Error> {
    if !own_policy {
        local.mirror.policy = Policy::load("sample.cedar", POLICY);
    }
    let mut trouble = Trouble::default();
    local.simulator.set(|settings| std::mem::swap(&mut settings.trouble, &mut trouble));
    let sample = Sample { local, ireland: parsed(IRELAND)?, tokyo: parsed(TOKYO)?, trouble };
    sample.configure()?;
    sample.push_releases().await?;
    sample.fail_to_copy(end).await?;
    sample.delete(end).await?;
    sample.copy_late(end).await?;
    sample.wait_until(end).await;
    // The answers do not say that nothing was ever listed.
    _ = local.reconcile_now().await;
    let Sample { local, trouble, .. } = sample;
    local.simulator.set(|settings| settings.trouble = trouble);
    Ok(())
}

/// The repositories, in the order of their names.
fn repositories() -> impl Iterator<Item = String> {
    TEAMS.iter().flat_map(|team| PARTS.iter().map(move |part| format!("{team}/{part}")))
}

impl Sample<'_> {
    fn call(&self, registry: &Registry, operation: &str, request: Value) -> Result<(), Error> {
        let account = registry.account();
        let caller = ApiCaller {
            account: account.to_owned(),
            region: registry.region().to_owned(),
            arn: format!("arn:aws:sts::{account}:assumed-role/release/pipeline"),
        };
        match self.local.simulator.call(&caller, operation, request.to_string().as_bytes()) {
            Some(Err(error)) => Err(Error::Demo(format!("{operation}: {}: {}", error.code, error.message).into())),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    fn configure(&self) -> Result<(), Error> {
        let action = ["ecr:ReplicateImage", "ecr:CreateRepository"];
        let source = self.tokyo.partition().iam_arn(self.ireland.account(), "root");
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Sid": "replication", "Effect": "Allow", "Principal": {"AWS": source}, "Action": action,
            "Resource": self.tokyo.arn("ecr", "repository/*"),
        }]});
        self.call(&self.tokyo, "PutRegistryPolicy", json!({"policyText": policy.to_string()}))?;
        let destination = |text: &str| {
            let registry: Registry = parsed(text)?;
            Ok::<_, Error>(json!({"region": registry.region(), "registryId": registry.account()}))
        };
        let rules = json!([
            {"destinations": [destination(VIRGINIA)?, destination(SYDNEY)?]},
            {
                "destinations": [destination(TOKYO)?],
                "repositoryFilters": [{"filter": "shop/", "filterType": "PREFIX_MATCH"}],
            },
        ]);
        let configuration = json!({"replicationConfiguration": {"rules": rules}});
        self.call(&self.ireland, "PutReplicationConfiguration", configuration)?;
        repositories()
            .try_for_each(|name| self.call(&self.ireland, "CreateRepository", json!({"repositoryName": name})))
    }

    fn push(&self, repository: &str, tag: Option<&str>, manifest: &str) -> Result<(), Error> {
        let request = json!({"repositoryName": repository, "imageManifest": manifest, "imageTag": tag});
        self.call(&self.ireland, "PutImage", request)
    }

    fn push_release(&self, repository: &str, version: &str) -> Result<(), Error> {
        self.push(repository, Some(version), &manifests::image(&format!("{repository} {version}"), "amd64"))
    }

    /// Three releases of each repository; those of the shop are indexes with a signature.
    async fn push_releases(&self) -> Result<(), Error> {
        for version in ["v1.0.0", "v1.1.0", "v1.2.0"] {
            for repository in repositories() {
                if repository.starts_with("shop/") {
                    let of = format!("{repository} {version}");
                    let (amd64, arm64) = (manifests::image(&of, "amd64"), manifests::image(&of, "arm64"));
                    let index = manifests::index(&[&amd64, &arm64]);
                    self.push(&repository, None, &amd64)?;
                    self.push(&repository, None, &arm64)?;
                    self.push(&repository, Some(version), &index)?;
                    self.push(&repository, None, &manifests::signature(&index))?;
                } else {
                    self.push_release(&repository, version)?;
                }
                self.wait(SignedDuration::from_mins(2)).await;
            }
            self.wait(SignedDuration::from_hours(12)).await;
        }
        Ok(())
    }

    fn set(&self, change: impl FnOnce(&mut Settings)) {
        self.local.simulator.set(change);
    }

    /// A copy that fails in every destination, and one that never begins.
    async fn fail_to_copy(&self, end: Timestamp) -> Result<(), Error> {
        self.wait_until(before(end, 6)).await;
        self.set(|settings| settings.trouble.failed = 1.0);
        self.push_release("pay/api", "v1.3.0")?;
        self.set(|settings| (settings.trouble.failed, settings.trouble.missing) = (0.0, 1.0));
        self.push_release("search/ui", "v1.3.0")?;
        self.set(|settings| settings.trouble.missing = 0.0);
        self.wait(SignedDuration::from_hours(1)).await;
        Ok(())
    }

    /// Deletions that the replicas follow tomorrow, and one that they never follow.
    async fn delete(&self, end: Timestamp) -> Result<(), Error> {
        self.wait_until(before(end, 3)).await;
        for (repository, tag) in [("data/api", "v1.0.0"), ("shop/jobs", "v1.0.0"), ("base/ui", "v1.1.0")] {
            let ids = json!([{"imageTag": tag}]);
            self.call(&self.ireland, "BatchDeleteImage", json!({"repositoryName": repository, "imageIds": ids}))?;
            self.wait(SignedDuration::from_mins(5)).await;
        }
        Ok(())
    }

    /// A copy that is under way for so long that an alert is raised.
    async fn copy_late(&self, end: Timestamp) -> Result<(), Error> {
        self.wait_until(before(end, 1)).await;
        self.set(|settings| settings.trouble.stuck = 1.0);
        self.push_release("web/ui", "v1.3.0")?;
        self.set(|settings| settings.trouble.stuck = 0.0);
        Ok(())
    }

    async fn wait_until(&self, time: Timestamp) {
        self.wait(time.duration_since(self.local.simulator.clock().now()).max(SignedDuration::ZERO)).await;
    }

    /// Moves the clock forward and processes everything that happens until then. The clock may run meanwhile, so that a
    /// little less than an hour is left of the last one.
    async fn wait(&self, time: SignedDuration) {
        self.local.simulator.step(Duration::try_from(time).unwrap_or_default());
        if time < SignedDuration::from_mins(30) {
            return self.local.deliver_now().await;
        }
        self.local.simulator.send_heartbeats();
        self.local.deliver_now().await;
        // A failed run shows in the answers.
        _ = self.local.watch_now().await;
        _ = self.local.mirror_now().await;
    }
}

fn before(end: Timestamp, hours: i64) -> Timestamp {
    end.saturating_sub(SignedDuration::from_hours(hours)).unwrap_or(end)
}
