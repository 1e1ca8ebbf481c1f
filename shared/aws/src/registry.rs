//! Registries: what they replicate, what they hold, and the three calls that change them.
//!
//! A look must never mistake an image for gone. It always asks for every storage class (`imageStatus=ANY`: by default ECR
//! shows only what is active), and what ECR neither shows nor denies is an error, not an absence.

mod backfill;

pub use backfill::{Backfill, Copied};

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use aws_config::{Region, SdkConfig, sts::AssumeRoleProvider};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_ecr::{
    Client,
    config::retry::RetryConfig,
    error::SdkError,
    operation::{
        describe_image_replication_status::DescribeImageReplicationStatusError as CopiesError,
        describe_images::{DescribeImagesError, builders::DescribeImagesFluentBuilder},
        describe_repositories::DescribeRepositoriesError as NoRepository,
        get_lifecycle_policy::GetLifecyclePolicyError as NoLifecycle,
        get_repository_policy::GetRepositoryPolicyError as NoPolicy,
    },
    primitives::DateTime,
    types::{
        DescribeImagesFilter, ImageDetail, ImageIdentifier, ImageReplicationStatus,
        ImageScanningConfiguration as Scanning, ImageStatus, ImageStatusFilter, ReplicationStatus, Repository,
        TargetStorageClass,
    },
};
use domain::{
    image::{Digest, Image, MalformedError, Registry, RepositoryName, Tag},
    observation::{Observation, ObservedImage},
    policy::ManifestKind,
    replication::{CopyStatus, ReplicationRules},
};
use jiff::Timestamp;
use tokio::{
    sync::Mutex,
    time::{Duration, Instant},
};

use retry::CallError;

use crate::capture::Capture;

/// As many ids as one call may have.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchDeleteImage.html>
pub const IDS_PER_CALL: usize = 100;

/// As many images as one page of a list may have.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html>
const IMAGES_PER_PAGE: i32 = 1_000;

/// As many repositories as one page of a list may have.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeRepositories.html>
const REPOSITORIES_PER_PAGE: i32 = 1_000;

/// So many images are asked for one by one; more of them by a list of the whole repository, because ECR answers a call
/// about several images with an error as soon as one of them is missing.
const FEW: usize = 3;

/// How registries are entered.
#[derive(Debug, Clone, Default)]
pub struct Roles {
    /// The name of the role that reads, in the account of each registry; without it the caller's own credentials.
    pub read: Option<String>,
    /// The name of the role that deletes and archives.
    pub delete: Option<String>,
    /// What these roles want to be told by whoever assumes them.
    pub external_id: Option<String>,
}

/// What a client is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Purpose {
    Read,
    Change,
}

/// Every registry, through clients that are made when they are first needed and kept with their credentials. A clone shares
/// clients, pace and the number of calls.
#[derive(Clone)]
pub struct Registries {
    sdk: SdkConfig,
    roles: Roles,
    clients: Arc<Mutex<BTreeMap<(Registry, Purpose), Client>>>,
    calls: Arc<AtomicU64>,
    rate_limiter: Option<Arc<RateLimiter>>,
}

/// How fast registries are read.
#[derive(Debug)]
struct RateLimiter {
    /// Calls a second to each registry, and to some of them another number.
    per_second: u32,
    exceptions: BTreeMap<Registry, u32>,
    /// When each may be called again.
    next: Mutex<BTreeMap<Registry, Instant>>,
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registries").field("roles", &self.roles).finish_non_exhaustive()
    }
}

/// What a repository holds of some images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DescribedImages {
    /// Whether the repository is there.
    pub repository: bool,
    /// Those that are there.
    pub images: BTreeMap<Digest, ObservedImage>,
    /// Images that the repository has at least; all of them if it was listed to its end. `None` if it was not listed.
    pub listed: Option<u32>,
}

/// What somebody may have set for a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RepositorySetting {
    /// A policy that says who may use it.
    Policy,
    /// A lifecycle policy.
    Lifecycle,
    /// What is pushed is scanned.
    Scanning,
}

impl fmt::Display for RepositorySetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Policy => "repository policy",
            Self::Lifecycle => "lifecycle policy",
            Self::Scanning => "scan on push",
        })
    }
}

/// What is expected of the images in question: it saves calls, and decides nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedPresence {
    /// Most are there.
    Present,
    /// Most are gone.
    Absent,
}

/// What is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageOrTag {
    /// An image with all its tags.
    Image(Digest),
    /// A tag, wherever it points.
    Tag(Tag),
}

/// What became of one id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeleteResult {
    /// It is gone. A tag was on this image.
    Gone(Option<Digest>),
    /// ECR refused.
    Refused {
        /// Its code, such as `ImageReferencedByManifestList`.
        code: String,
        /// Its reason.
        reason: String,
    },
    /// The answer does not mention it.
    Unmentioned,
}

impl Registries {
    /// Registries that are entered with these roles, from the credentials and the endpoint of a configuration.
    #[must_use]
    pub fn new(sdk: SdkConfig, roles: Roles) -> Self {
        Self { sdk, roles, clients: Arc::default(), calls: Arc::default(), rate_limiter: None }
    }

    /// The same registries, with a rate limit of calls per second for each; some with a limit of their own. ECR publishes
    /// no rates for what is read.
    #[must_use]
    pub fn with_rate_limit(self, per_second: u32, exceptions: BTreeMap<Registry, u32>) -> Self {
        Self { rate_limiter: Some(Arc::new(RateLimiter { per_second, exceptions, next: Mutex::default() })), ..self }
    }

    /// Calls to ECR so far, without those that the SDK repeated.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    async fn client(&self, registry: &Registry, purpose: Purpose) -> Client {
        let mut clients = self.clients.lock().await;
        if let Some(client) = clients.get(&(registry.clone(), purpose)) {
            return client.clone();
        }
        let role = match purpose {
            Purpose::Read => &self.roles.read,
            Purpose::Change => &self.roles.delete,
        };
        let client = Client::new(&self.sdk_config_for(registry, role.as_deref()).await);
        clients.insert((registry.clone(), purpose), client.clone());
        client
    }

    /// The configuration for whatever else is read in the account and region of a registry.
    pub async fn config(&self, registry: &Registry) -> SdkConfig {
        self.sdk_config_for(registry, self.roles.read.as_deref()).await
    }

    async fn sdk_config_for(&self, registry: &Registry, role: Option<&str>) -> SdkConfig {
        let config = self.sdk.to_builder().region(Region::new(registry.region().to_owned()));
        let Some(role) = role else { return config.build() };
        let arn = format!("arn:{}:iam::{}:role/{role}", partition(registry), registry.account());
        let mut provider = AssumeRoleProvider::builder(arn).session_name("ecr-lineage").configure(&self.sdk);
        if let Some(id) = &self.roles.external_id {
            provider = provider.external_id(id);
        }
        config.credentials_provider(SharedCredentialsProvider::new(provider.build().await)).build()
    }

    async fn read_client(&self, registry: &Registry) -> Client {
        self.calls.fetch_add(1, Relaxed);
        if let Some(rate_limiter) = &self.rate_limiter {
            rate_limiter.wait(registry).await;
        }
        self.client(registry, Purpose::Read).await
    }

    async fn write_client(&self, registry: &Registry) -> Client {
        self.calls.fetch_add(1, Relaxed);
        self.client(registry, Purpose::Change).await
    }

    // Reading

    /// The replication rules of a registry, from the answer as ECR wrote it: the SDK's types lack the switch for
    /// deletions.
    ///
    /// # Errors
    /// When they cannot be read, or not be understood.
    pub async fn rules(&self, registry: &Registry) -> Result<ReplicationRules, CallError> {
        let body = Capture::new(|answer| answer.body().bytes().map(<[u8]>::to_vec));
        let call = self.read_client(registry).await.describe_registry().customize().interceptor(body.clone());
        let answer = call.send().await?;
        if answer.registry_id().is_some_and(|account| account != registry.account()) {
            let message = format!("the credentials belong to another account than {registry}");
            return Err(CallError::unclear(message));
        }
        let body = body.take().unwrap_or_default();
        ReplicationRules::read(&body).map_err(|error| CallError::unclear(retry::chain(&error)))
    }

    /// What ECR knows of the copies of an image, by destination; nothing if the source does not have the image.
    ///
    /// # Errors
    /// When it did not say.
    pub async fn copies(
        &self,
        source: &Registry,
        image: &Image,
    ) -> Result<Option<BTreeMap<Registry, CopyStatus>>, CallError> {
        let id = ImageIdentifier::builder().image_digest(image.digest.as_str()).build();
        let call = self.read_client(source).await.describe_image_replication_status();
        let call = call.registry_id(source.account()).repository_name(image.repository.as_str()).image_id(id);
        let answer = match call.send().await {
            Ok(answer) => answer,
            Err(error) => match error.as_service_error() {
                Some(CopiesError::ImageNotFoundException(_) | CopiesError::RepositoryNotFoundException(_)) => {
                    return Ok(None);
                }
                _ => return Err(error.into()),
            },
        };
        let copy = |copy: &ImageReplicationStatus| {
            let destination = Registry::new(copy.registry_id().unwrap_or_default(), copy.region().unwrap_or_default());
            let destination = destination.map_err(parsed)?;
            let status = match copy.status() {
                Some(ReplicationStatus::InProgress) => CopyStatus::InProgress,
                Some(ReplicationStatus::Complete) => CopyStatus::Complete,
                Some(ReplicationStatus::Failed) => CopyStatus::Failed(copy.failure_code().map(str::to_owned)),
                other => return Err(CallError::unclear(format!("unknown replication status {other:?}"))),
            };
            Ok((destination, status))
        };
        Ok(Some(answer.replication_statuses().iter().map(copy).collect::<Result<_, _>>()?))
    }

    /// Looks for some images in a repository; at the same time whether it has at least so many images, if anybody wants
    /// to know.
    ///
    /// # Errors
    /// When any of them was neither shown nor denied.
    pub async fn describe(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        digests: &BTreeSet<Digest>,
        expect: ExpectedPresence,
        at_least: Option<u32>,
    ) -> Result<DescribedImages, CallError> {
        let mut described = DescribedImages { repository: true, ..DescribedImages::default() };
        let mut open: Vec<&Digest> = digests.iter().collect();
        if expect == ExpectedPresence::Present && at_least.is_none() && open.len() > 1 {
            let mut left = Vec::new();
            for some in open.chunks(IDS_PER_CALL) {
                match self.by_digest(registry, repository, some).await? {
                    FoundImages::All(found) => described.images.extend(found),
                    FoundImages::SomeMissing => left.extend(some),
                    FoundImages::NoRepository => return Ok(DescribedImages::default()),
                }
            }
            open = left;
        }
        if open.len() > FEW || at_least.is_some() {
            let pages = open.len().max(at_least.unwrap_or(0) as usize / IMAGES_PER_PAGE as usize + 1);
            let listed = self.list(registry, repository, pages).await?;
            let Some((images, complete)) = listed else { return Ok(DescribedImages::default()) };
            described.listed = u32::try_from(images.len()).ok();
            described.images.extend(images.into_iter().filter(|(digest, _)| digests.contains(digest)));
            open.retain(|digest| !complete && !described.images.contains_key(digest));
        }
        for digest in open {
            match self.by_digest(registry, repository, &[digest]).await? {
                FoundImages::All(found) => described.images.extend(found),
                FoundImages::SomeMissing => {}
                FoundImages::NoRepository => return Ok(DescribedImages::default()),
            }
        }
        Ok(described)
    }

    /// Looks for one image.
    ///
    /// # Errors
    /// When it was neither shown nor denied.
    pub async fn observe(&self, registry: &Registry, image: &Image) -> Result<Observation, CallError> {
        let digests = [image.digest.clone()].into();
        let mut found = self.describe(registry, &image.repository, &digests, ExpectedPresence::Present, None).await?;
        Ok(match found.images.remove(&image.digest) {
            Some(seen) => Observation::Present(seen),
            None if found.repository => Observation::Missing,
            None => Observation::NoRepository,
        })
    }

    /// All of some images, unless any is missing.
    async fn by_digest(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        digests: &[&Digest],
    ) -> Result<FoundImages, CallError> {
        let ids = digests.iter().map(|digest| ImageIdentifier::builder().image_digest(digest.as_str()).build());
        let call = describe_images(&self.read_client(registry).await, registry, repository);
        match call.set_image_ids(Some(ids.collect())).send().await {
            Ok(answer) => {
                let found: BTreeMap<_, _> = answer.image_details().iter().map(seen).collect::<Result<_, _>>()?;
                match digests.iter().find(|digest| !found.contains_key(**digest)) {
                    None => Ok(FoundImages::All(found)),
                    Some(digest) => Err(CallError::unclear(format!("ECR's answer does not mention {digest}"))),
                }
            }
            Err(error) => FoundImages::of(error),
        }
    }

    /// What a repository holds, up to so many pages, and whether that is all; nothing if it is not there.
    async fn list(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        pages: usize,
    ) -> Result<Option<(BTreeMap<Digest, ObservedImage>, bool)>, CallError> {
        let mut images = BTreeMap::new();
        let mut next = None;
        for _ in 0..pages.max(1) {
            let call = describe_images(&self.read_client(registry).await, registry, repository);
            let answer = match call.max_results(IMAGES_PER_PAGE).set_next_token(next).send().await {
                Ok(answer) => answer,
                Err(error) => match FoundImages::of(error)? {
                    FoundImages::NoRepository => return Ok(None),
                    FoundImages::All(_) | FoundImages::SomeMissing => {
                        return Err(CallError::unclear("ECR misses an image in a list of all".to_owned()));
                    }
                },
            };
            for detail in answer.image_details() {
                images.extend([seen(detail)?]);
            }
            next = answer.next_token;
            if next.is_none() {
                return Ok(Some((images, true)));
            }
        }
        Ok(Some((images, false)))
    }

    /// Everything that a repository holds; nothing if it is not there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn contents(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
    ) -> Result<Option<BTreeMap<Digest, ObservedImage>>, CallError> {
        Ok(self.list(registry, repository, usize::MAX).await?.map(|(images, _)| images))
    }

    /// The names of all repositories of a registry.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn repositories(&self, registry: &Registry) -> Result<BTreeSet<RepositoryName>, CallError> {
        let (mut names, mut next) = (BTreeSet::new(), None);
        loop {
            let call = self.read_client(registry).await.describe_repositories().registry_id(registry.account());
            let page = call.max_results(REPOSITORIES_PER_PAGE).set_next_token(next).send().await?;
            for repository in page.repositories() {
                names.insert(repository.repository_name().unwrap_or_default().parse().map_err(parsed)?);
            }
            next = page.next_token;
            if next.is_none() {
                return Ok(names);
            }
        }
    }

    /// What is set for a repository; nothing if it is not there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn repository_settings(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
    ) -> Result<Option<BTreeSet<RepositorySetting>>, CallError> {
        let (account, name) = (registry.account(), repository.as_str());
        let mut repository_settings = BTreeSet::new();
        let call = self.read_client(registry).await.describe_repositories().registry_id(account).repository_names(name);
        match call.send().await {
            Ok(answer) => {
                let scans = |one: &Repository| one.image_scanning_configuration().is_some_and(Scanning::scan_on_push);
                repository_settings
                    .extend(answer.repositories().iter().any(scans).then_some(RepositorySetting::Scanning));
            }
            Err(error) if error.as_service_error().is_some_and(NoRepository::is_repository_not_found_exception) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
        let call = self.read_client(registry).await.get_repository_policy().registry_id(account).repository_name(name);
        match call.send().await {
            Ok(_) => _ = repository_settings.insert(RepositorySetting::Policy),
            Err(error) if error.as_service_error().is_some_and(NoPolicy::is_repository_policy_not_found_exception) => {}
            Err(error) => return Err(error.into()),
        }
        repository_settings
            .extend(self.has_lifecycle_policy(registry, repository).await?.then_some(RepositorySetting::Lifecycle));
        Ok(Some(repository_settings))
    }

    /// Whether a repository, which is there, has a lifecycle policy.
    ///
    /// # Errors
    /// When ECR does not say.
    pub async fn has_lifecycle_policy(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
    ) -> Result<bool, CallError> {
        let call = self.read_client(registry).await.get_lifecycle_policy();
        match call.registry_id(registry.account()).repository_name(repository.as_str()).send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error.as_service_error().is_some_and(NoLifecycle::is_lifecycle_policy_not_found_exception) =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    // Changing. The SDK does not repeat these calls: whoever makes them looks again first.

    /// Deletes up to [`IDS_PER_CALL`] images or tags. What became of each is in the place of its id.
    ///
    /// # Errors
    /// When ECR refused all of it, or did not answer: any of it may be gone then.
    pub async fn delete(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        ids: &[ImageOrTag],
    ) -> Result<Vec<DeleteResult>, CallError> {
        let client = self.write_client(registry).await;
        let call = client.batch_delete_image().registry_id(registry.account()).repository_name(repository.as_str());
        let answer = call.set_image_ids(Some(ids.iter().map(identifier).collect())).customize();
        let answer = answer.config_override(once()).send().await?;
        let outcome = |id: &ImageOrTag| {
            let about = |other: &ImageIdentifier| match id {
                ImageOrTag::Image(digest) => other.image_digest() == Some(digest.as_str()),
                ImageOrTag::Tag(tag) => other.image_tag() == Some(tag.as_str()),
            };
            let failure = answer.failures().iter().find(|failure| failure.image_id().is_some_and(about));
            if let Some(failure) = failure {
                let code = failure.failure_code().map_or("unnamed", |code| code.as_str()).to_owned();
                return DeleteResult::Refused { code, reason: failure.failure_reason().unwrap_or_default().to_owned() };
            }
            match answer.image_ids().iter().find(|id| about(id)) {
                Some(gone) => DeleteResult::Gone(gone.image_digest().and_then(|digest| digest.parse().ok())),
                None => DeleteResult::Unmentioned,
            }
        };
        Ok(ids.iter().map(outcome).collect())
    }

    /// Moves an image to the archive storage class.
    ///
    /// # Errors
    /// When ECR refused or did not answer: it may be moved all the same.
    pub async fn archive(&self, registry: &Registry, image: &Image) -> Result<(), CallError> {
        let client = self.write_client(registry).await;
        self.update(client, registry, image, TargetStorageClass::Archive).await
    }

    /// Starts to bring an image back from the archive storage class, with the caller's own credentials unless there is a
    /// role that changes.
    ///
    /// # Errors
    /// When ECR refused or did not answer: it may be under way all the same.
    pub async fn restore(&self, registry: &Registry, image: &Image) -> Result<(), CallError> {
        let client = self.write_client(registry).await;
        self.update(client, registry, image, TargetStorageClass::Standard).await
    }

    async fn update(
        &self,
        client: Client,
        registry: &Registry,
        image: &Image,
        to: TargetStorageClass,
    ) -> Result<(), CallError> {
        let id = ImageIdentifier::builder().image_digest(image.digest.as_str()).build();
        let call = client.update_image_storage_class().registry_id(registry.account());
        let call = call.repository_name(image.repository.as_str()).image_id(id).target_storage_class(to);
        call.customize().config_override(once()).send().await?;
        Ok(())
    }
}

impl RateLimiter {
    /// Waits for the turn of a call.
    async fn wait(&self, registry: &Registry) {
        let per_second = self.exceptions.get(registry).copied().unwrap_or(self.per_second).max(1);
        let turn = {
            let mut next = self.next.lock().await;
            let turn = next.get(registry).copied().map_or_else(Instant::now, |next| next.max(Instant::now()));
            next.insert(registry.clone(), turn + Duration::from_secs(1) / per_second);
            turn
        };
        tokio::time::sleep_until(turn).await;
    }
}

fn once() -> aws_sdk_ecr::config::Builder {
    aws_sdk_ecr::Config::builder().retry_config(RetryConfig::disabled())
}

/// The partition of a region, as in an ARN.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>
#[must_use]
pub fn partition(registry: &Registry) -> &'static str {
    match registry.region() {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

fn identifier(id: &ImageOrTag) -> ImageIdentifier {
    match id {
        ImageOrTag::Image(digest) => ImageIdentifier::builder().image_digest(digest.as_str()).build(),
        ImageOrTag::Tag(tag) => ImageIdentifier::builder().image_tag(tag.as_str()).build(),
    }
}

fn describe_images(client: &Client, registry: &Registry, repository: &RepositoryName) -> DescribeImagesFluentBuilder {
    let every_class = DescribeImagesFilter::builder().image_status(ImageStatusFilter::Any).build();
    client.describe_images().registry_id(registry.account()).repository_name(repository.as_str()).filter(every_class)
}

/// What ECR knows of images that were asked for by name.
enum FoundImages {
    All(BTreeMap<Digest, ObservedImage>),
    SomeMissing,
    NoRepository,
}

impl FoundImages {
    fn of<R>(error: SdkError<DescribeImagesError, R>) -> Result<Self, CallError>
    where
        R: fmt::Debug + Send + Sync + 'static,
    {
        match error.as_service_error() {
            Some(DescribeImagesError::ImageNotFoundException(_)) => Ok(Self::SomeMissing),
            Some(DescribeImagesError::RepositoryNotFoundException(_)) => Ok(Self::NoRepository),
            _ => Err(error.into()),
        }
    }
}

const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];

/// A name in an answer that is none.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` wants it")]
fn parsed(error: MalformedError) -> CallError {
    CallError::unclear(retry::chain(&error))
}

/// An image as ECR describes it. What is in any storage class but the standard one counts as archived.
fn seen(detail: &ImageDetail) -> Result<(Digest, ObservedImage), CallError> {
    let digest: Digest = detail.image_digest().unwrap_or_default().parse().map_err(parsed)?;
    let subject = detail.subject_manifest_digest().map(str::parse).transpose().map_err(parsed)?;
    let index = detail.image_manifest_media_type().is_some_and(|media_type| INDEXES.contains(&media_type));
    let kind = match (&subject, index) {
        (Some(_), _) => ManifestKind::Referrer,
        (None, true) => ManifestKind::Index,
        (None, false) => ManifestKind::Image,
    };
    let time = |time: Option<&DateTime>| time.and_then(|time| Timestamp::from_second(time.secs()).ok());
    let seen = ObservedImage {
        tags: detail.image_tags().iter().map(|tag| tag.parse()).collect::<Result<_, _>>().map_err(parsed)?,
        archived: detail.image_status().is_some_and(|status| *status != ImageStatus::Active),
        pushed_at: time(detail.image_pushed_at()),
        last_pulled_at: time(detail.last_recorded_pull_time()),
        size_bytes: detail.image_size_in_bytes().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0),
        kind,
        subject,
    };
    Ok((digest, seen))
}
