//! Reads of images: of some images of a repository, or of all.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use aws_sdk_ecr::{
    Client,
    error::SdkError,
    operation::describe_images::{DescribeImagesError, builders::DescribeImagesFluentBuilder},
    primitives::DateTime,
    types::{DescribeImagesFilter, ImageDetail, ImageIdentifier, ImageStatus, ImageStatusFilter},
};
use domain::{
    image::{Digest, Image, Registry, RepositoryName},
    observation::{Observation, ObservedImage, ObservedRepository},
    plan::IDS_PER_CALL,
    policy::ManifestKind,
};
use jiff::Timestamp;

use super::{Registries, parsed};
use retry::CallError;

/// The maximum number of images in one page of a list.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html>
const IMAGES_PER_PAGE: i32 = 1_000;

/// Up to this number, images are read one by one; for more, the whole repository is listed, because ECR answers a call
/// about several images with an error as soon as one of them is missing.
const FEW: usize = 3;

/// Whether most of the images are expected to exist. It only saves calls; it does not affect the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedPresence {
    /// Most images exist.
    Present,
    /// Most images do not exist.
    Absent,
}

impl Registries {
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
    ) -> Result<ObservedRepository, CallError> {
        let (mut found, mut listed) = (BTreeMap::new(), None);
        let mut open: Vec<&Digest> = digests.iter().collect();
        if expect == ExpectedPresence::Present && at_least.is_none() && open.len() > 1 {
            let mut left = Vec::new();
            for some in open.chunks(IDS_PER_CALL) {
                match self.by_digest(registry, repository, some).await? {
                    FoundImages::All(images) => found.extend(images),
                    FoundImages::SomeMissing => left.extend(some),
                    FoundImages::NoRepository => return Ok(no_repository(digests)),
                }
            }
            open = left;
        }
        if open.len() > FEW || at_least.is_some() {
            let pages = open.len().max(at_least.unwrap_or(0) as usize / IMAGES_PER_PAGE as usize + 1);
            let Some((images, complete)) = self.list(registry, repository, pages).await? else {
                return Ok(no_repository(digests));
            };
            listed = u32::try_from(images.len()).ok();
            found.extend(images.into_iter().filter(|(digest, _)| digests.contains(digest)));
            open.retain(|digest| !complete && !found.contains_key(digest));
        }
        for digest in open {
            match self.by_digest(registry, repository, &[digest]).await? {
                FoundImages::All(images) => found.extend(images),
                FoundImages::SomeMissing => {}
                FoundImages::NoRepository => return Ok(no_repository(digests)),
            }
        }
        let mut described = ObservedRepository { listed, ..ObservedRepository::all(digests, &Observation::Missing) };
        described.images.extend(found.into_iter().map(|(digest, seen)| (digest, Observation::Present(seen))));
        Ok(described)
    }

    /// Reads one image.
    ///
    /// # Errors
    /// When ECR neither returned the image nor reported it as missing.
    pub async fn observe(&self, registry: &Registry, image: &Image) -> Result<Observation, CallError> {
        let digests = [image.digest.clone()].into();
        let mut found = self.describe(registry, &image.repository, &digests, ExpectedPresence::Present, None).await?;
        Ok(found.images.remove(&image.digest).unwrap_or_default())
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
}

fn no_repository(digests: &BTreeSet<Digest>) -> ObservedRepository {
    ObservedRepository::all(digests, &Observation::NoRepository)
}

pub(super) fn describe_images(
    client: &Client,
    registry: &Registry,
    repository: &RepositoryName,
) -> DescribeImagesFluentBuilder {
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
