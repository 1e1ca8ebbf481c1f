//! Registries: their replication rules, their images, and the three calls that change them.
//!
//! A read must never report an existing image as missing. Every read therefore includes all storage classes
//! (`imageStatus=ANY`; by default ECR returns only active images), and an image that a response neither contains nor
//! reports as missing is an error, not an absence.

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

/// The maximum number of ids in one call.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchDeleteImage.html>
pub const IDS_PER_CALL: usize = 100;

/// The maximum number of images in one page of a list.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html>
const IMAGES_PER_PAGE: i32 = 1_000;

/// The maximum number of repositories in one page of a list.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeRepositories.html>
const REPOSITORIES_PER_PAGE: i32 = 1_000;

/// Up to this number, images are read one by one; for more, the whole repository is listed, because ECR answers a call
/// about several images with an error as soon as one of them is missing.
const FEW: usize = 3;

/// The roles through which registries are accessed.
#[derive(Debug, Clone, Default)]
pub struct Roles {
    /// The name of the role that reads, in the account of each registry. Without it, the caller's own credentials are
    /// used.
    pub read: Option<String>,
    /// The name of the role that deletes and archives.
    pub delete: Option<String>,
    /// STS external ID that the roles' trust policies require.
    pub external_id: Option<String>,
}

/// The purpose of a client, which decides its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Purpose {
    Read,
    Change,
}

/// Access to every registry. Clients are created on first use and kept with their credentials. Clones share the
/// clients, the rate limit and the call counter.
#[derive(Clone)]
pub struct Registries {
    sdk: SdkConfig,
    roles: Roles,
    clients: Arc<Mutex<BTreeMap<(Registry, Purpose), Client>>>,
    calls: Arc<AtomicU64>,
    rate_limiter: Option<Arc<RateLimiter>>,
}

/// Limits the rate of reads.
#[derive(Debug)]
struct RateLimiter {
    /// The limit in calls per second to each registry; `exceptions` have limits of their own.
    per_second: u32,
    exceptions: BTreeMap<Registry, u32>,
    /// When each registry may be called again.
    next: Mutex<BTreeMap<Registry, Instant>>,
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registries").field("roles", &self.roles).finish_non_exhaustive()
    }
}

/// The result of reading some images of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DescribedImages {
    /// Whether the repository exists.
    pub repository: bool,
    /// The images that exist.
    pub images: BTreeMap<Digest, ObservedImage>,
    /// A lower bound of the number of images in the repository; the exact number if the list was complete. `None` if
    /// the repository was not listed.
    pub listed: Option<u32>,
}

/// A setting that a repository may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RepositorySetting {
    /// A repository policy, which grants access.
    Policy,
    /// A lifecycle policy.
    Lifecycle,
    /// Scan on push.
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

/// Whether most of the images are expected to exist. It only saves calls; it does not affect the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedPresence {
    /// Most images exist.
    Present,
    /// Most images do not exist.
    Absent,
}

/// What is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageOrTag {
    /// An image with all its tags.
    Image(Digest),
    /// A tag, whichever image has it.
    Tag(Tag),
}

/// The result for one id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeleteResult {
    /// It was deleted. For a tag, the digest is that of the image that had it.
    Gone(Option<Digest>),
    /// ECR refused.
    Refused {
        /// ECR's failure code, such as `ImageReferencedByManifestList`.
        code: String,
        /// ECR's reason.
        reason: String,
    },
    /// The response does not mention the id.
    Unmentioned,
}

impl Registries {
    /// Registries that are accessed through these roles, with the credentials and the endpoint of a configuration.
    #[must_use]
    pub fn new(sdk: SdkConfig, roles: Roles) -> Self {
        Self { sdk, roles, clients: Arc::default(), calls: Arc::default(), rate_limiter: None }
    }

    /// The same registries, with a limit of calls per second to each; `exceptions` have limits of their own. ECR
    /// publishes no quotas for these reads.
    #[must_use]
    pub fn with_rate_limit(self, per_second: u32, exceptions: BTreeMap<Registry, u32>) -> Self {
        Self { rate_limiter: Some(Arc::new(RateLimiter { per_second, exceptions, next: Mutex::default() })), ..self }
    }

    /// The number of calls to ECR so far, without the SDK's retries.
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

    /// The SDK configuration for other reads in the account and region of a registry.
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

    /// The replication rules of a registry, from the response as ECR wrote it: the SDK's types lack the field
    /// `deleteReplication`.
    ///
    /// # Errors
    /// When the rules cannot be read or parsed.
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

    /// The replication status of an image by destination; `None` if the source does not have the image.
    ///
    /// # Errors
    /// When the status cannot be read.
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

    /// Reads some images of a repository. With `at_least`, it also determines whether the repository has at least this
    /// number of images.
    ///
    /// # Errors
    /// When ECR neither returned one of the images nor reported it as missing.
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

    /// Reads one image.
    ///
    /// # Errors
    /// When ECR neither returned the image nor reported it as missing.
    pub async fn observe(&self, registry: &Registry, image: &Image) -> Result<Observation, CallError> {
        let digests = [image.digest.clone()].into();
        let mut found = self.describe(registry, &image.repository, &digests, ExpectedPresence::Present, None).await?;
        Ok(match found.images.remove(&image.digest) {
            Some(seen) => Observation::Present(seen),
            None if found.repository => Observation::Missing,
            None => Observation::NoRepository,
        })
    }

    /// Reads images by digest in one call: all of them, unless any is missing.
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

    /// The images of a repository, up to a number of pages, and whether the list is complete; `None` if the repository
    /// does not exist.
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

    /// All images of a repository; `None` if the repository does not exist.
    ///
    /// # Errors
    /// When the list cannot be read.
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
    /// When the list cannot be read.
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

    /// The settings of a repository; `None` if the repository does not exist.
    ///
    /// # Errors
    /// When a setting cannot be read.
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

    /// Whether an existing repository has a lifecycle policy.
    ///
    /// # Errors
    /// When the call to ECR fails.
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

    // Changing. The SDK does not retry these calls: the caller reads again before another attempt.

    /// Deletes up to [`IDS_PER_CALL`] images or tags. Results are in the order of the ids.
    ///
    /// # Errors
    /// When ECR refuses the whole call or does not answer. Any of the ids may have been deleted then.
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
    /// When ECR refuses or does not answer. The image may have been moved nevertheless.
    pub async fn archive(&self, registry: &Registry, image: &Image) -> Result<(), CallError> {
        let client = self.write_client(registry).await;
        self.update(client, registry, image, TargetStorageClass::Archive).await
    }

    /// Starts to restore an image from the archive storage class. It uses the role that changes registries, or the
    /// caller's own credentials if there is none.
    ///
    /// # Errors
    /// When ECR refuses or does not answer. The restore may be running nevertheless.
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
    /// Waits until the registry may be called.
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

/// The result of reading images by digest.
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

/// The error for a name in a response that cannot be parsed.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` wants it")]
fn parsed(error: MalformedError) -> CallError {
    CallError::unclear(retry::chain(&error))
}

/// An image as ECR describes it. Any storage class but the standard one counts as archived.
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
