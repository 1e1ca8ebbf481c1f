//! Inspector: the images that tasks of ECS or pods of EKS run, where enhanced scanning is enabled.
//! <https://docs.aws.amazon.com/inspector/v2/APIReference/API_ListCoverage.html>

use domain::{
    image::{Image, Registry},
    usage::{Usage, UsedImage, UserKind},
};
use jiff::Timestamp;
use retry::{CallError, chain};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::call::{Ask, Caller, next_page};

/// Images on one page.
const RESULTS_PER_PAGE: u32 = 200;

/// Reads the coverage of an account in a region.
pub(super) struct Inspector<'a> {
    caller: &'a Caller,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statuses {
    accounts: Vec<AccountStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccountStatus {
    account_id: String,
    resource_state: ResourceState,
}

#[derive(Deserialize)]
struct ResourceState {
    ecr: State,
}

#[derive(Deserialize)]
struct State {
    status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Coverage {
    covered_resources: Vec<Covered>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Covered {
    resource_id: String,
    resource_metadata: Option<Metadata>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    ecr_image: Option<CoveredImage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CoveredImage {
    in_use_count: Option<u64>,
    /// Seconds since 1970.
    last_in_use_at: Option<f64>,
}

impl<'a> Inspector<'a> {
    pub(super) fn new(caller: &'a Caller) -> Self {
        Self { caller }
    }

    /// Reads the images that are in use. Where Inspector does not scan images, it knows of none: that is an error.
    pub(super) async fn read(&self, usage: &mut Usage) -> Result<(), CallError> {
        let account = self.caller.registry.account();
        let statuses = self.batch_get_account_status(account).await?;
        let status = statuses.accounts.iter().find(|status| status.account_id == account);
        let status = status.map_or("unknown", |status| &status.resource_state.ecr.status);
        if status != "ENABLED" {
            return Err(CallError::unclear(format!("its scanning of ECR is not enabled, but {status}")));
        }
        let mut next = None;
        loop {
            let page = self.list_coverage(next.as_ref()).await?;
            for covered in &page.covered_resources {
                add(covered, usage)?;
            }
            next = next_page(next.as_ref(), page.next_token)?;
            if next.is_none() {
                return Ok(());
            }
        }
    }

    async fn batch_get_account_status(&self, account: &str) -> Result<Statuses, CallError> {
        let ask = Ask::Post("/status/batch/get", json!({"accountIds": [account]}));
        let answer = self.caller.call("inspector2", &ask).await;
        answer.map_err(|error: CallError| error.about("BatchGetAccountStatus"))
    }

    async fn list_coverage(&self, next: Option<&String>) -> Result<Coverage, CallError> {
        let mut body = Map::new();
        let criteria = json!({
            "resourceType": [{"comparison": "EQUALS", "value": "AWS_ECR_CONTAINER_IMAGE"}],
            "ecrImageInUseCount": [{"lowerInclusive": 1}],
        });
        body.insert("filterCriteria".to_owned(), criteria);
        body.insert("maxResults".to_owned(), RESULTS_PER_PAGE.into());
        body.extend(next.map(|next| ("nextToken".to_owned(), Value::from(next.as_str()))));
        let answer = self.caller.call("inspector2", &Ask::Post("/coverage/list", body.into())).await;
        answer.map_err(|error: CallError| error.about("ListCoverage"))
    }
}

/// Adds an image by its ARN: `arn:aws:ecr:REGION:ACCOUNT:repository/NAME/sha256:…`.
fn add(covered: &Covered, usage: &mut Usage) -> Result<(), CallError> {
    let unclear =
        |why: String| CallError::unclear(format!("`{}` is not the ARN of an image{why}", covered.resource_id));
    let mut parts = covered.resource_id.splitn(6, ':').skip(3);
    let (Some(region), Some(account), Some(resource)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(unclear(String::new()));
    };
    let path = resource.strip_prefix("repository/").and_then(|path| path.rsplit_once('/'));
    let (repository, digest) = path.ok_or_else(|| unclear(String::new()))?;
    let malformed = |error| unclear(format!(": {}", chain(&error)));
    let registry = Registry::new(account, region).map_err(malformed)?;
    let repository = repository.parse().map_err(malformed)?;
    let digest = digest.parse().map_err(malformed)?;
    let image = covered.resource_metadata.as_ref().and_then(|metadata| metadata.ecr_image.as_ref());
    // The list has only images with a count; one that is left out of the answer is not none.
    let count = image.and_then(|image| image.in_use_count).unwrap_or(1);
    let at = image.and_then(|image| image.last_in_use_at);
    #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970")]
    let at = at.and_then(|seconds| Timestamp::from_second(seconds as i64).ok());
    if count > 0 {
        let used = UsedImage::digest(&registry, &Image { repository, digest });
        usage.add_many(used, UserKind::TaskOrPod, count, &*covered.resource_id, at);
    }
    Ok(())
}
