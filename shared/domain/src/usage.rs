//! What uses images: what the services of an account run, as they answer, and what lists of people name.
//!
//! A reference by digest is that image. A reference by tag is whichever image has the tag now: the service pulls that
//! one when it starts the next task. What could not be read is part of the result, because it keeps every image.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    deletion::ImageOrTag,
    image::{Digest, Image, MalformedError, Registry, RepositoryName, Tag},
    named::named,
};

/// The users of one image that are kept by name, of each kind. All are counted.
const NAMED_USERS: usize = 10;

/// When a deletion of an image in use is evaluated again.
pub const USED_AGAIN_AFTER: SignedDuration = SignedDuration::from_hours(24);

named! {
    /// A service that says which images it runs.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum UsageService {
        /// Amazon ECS: tasks, services and their task definitions.
        Ecs = "ECS",
        /// AWS Lambda: functions and published versions.
        Lambda = "LAMBDA",
        /// Amazon Inspector: images that tasks of ECS or pods of EKS run.
        Inspector = "INSPECTOR",
    }
}

impl fmt::Display for UsageService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An image reference: an image or a tag in a repository of one registry, as in
/// `111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/app:v1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UsedImage {
    /// The registry.
    pub registry: Registry,
    /// The repository.
    pub repository: RepositoryName,
    /// The digest, or else the tag.
    pub id: ImageOrTag,
}

impl UsedImage {
    /// An image by its digest.
    #[must_use]
    pub fn digest(registry: &Registry, image: &Image) -> Self {
        let Image { repository, digest } = image.clone();
        Self { registry: registry.clone(), repository, id: ImageOrTag::Image(digest) }
    }

    /// The images that a reference in a container's definition names: none if it is not in ECR; two if it has both a
    /// tag and a digest.
    ///
    /// # Errors
    /// When the host is ECR's, or looks like it, and the reference cannot be read: it may be an image of this registry.
    pub fn all_in(text: &str) -> Result<Vec<Self>, MalformedError> {
        let text = text.split_once("://").map_or(text, |(_, rest)| rest);
        let Some((host, rest)) = text.split_once('/') else { return Ok(Vec::new()) };
        let Some(registry) = Registry::from_host(host) else {
            return if ["dkr.ecr", "dkr-ecr"].iter().any(|part| host.to_ascii_lowercase().contains(part)) {
                Err(MalformedError::new(host, "the host of a registry", "expected a host of ECR in a known partition"))
            } else {
                Ok(Vec::new())
            };
        };
        let (name, digest) = match rest.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse::<Digest>()?)),
            None => (rest, None),
        };
        let (repository, tag) = match name.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag.parse::<Tag>()?)),
            None => (name, None),
        };
        let repository: RepositoryName = repository.parse()?;
        let tag = match (tag, &digest) {
            (None, None) => Some("latest".parse::<Tag>()?),
            (tag, _) => tag,
        };
        let ids = digest.map(ImageOrTag::Image).into_iter().chain(tag.map(ImageOrTag::Tag));
        let used = |id| Self { registry: registry.clone(), repository: repository.clone(), id };
        Ok(ids.map(used).collect())
    }
}

impl fmt::Display for UsedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, repository) = (self.registry.host(), &self.repository);
        match &self.id {
            ImageOrTag::Image(digest) => write!(f, "{host}/{repository}@{digest}"),
            ImageOrTag::Tag(tag) => write!(f, "{host}/{repository}:{tag}"),
        }
    }
}

impl FromStr for UsedImage {
    type Err = MalformedError;

    fn from_str(text: &str) -> Result<Self, MalformedError> {
        let rule = "expected the host of an ECR registry, a repository, and `@` with a digest or `:` with a tag";
        Self::all_in(text)?.into_iter().next().ok_or_else(|| MalformedError::new(text, "an image of ECR", rule))
    }
}

impl TryFrom<String> for UsedImage {
    type Error = MalformedError;

    fn try_from(text: String) -> Result<Self, MalformedError> {
        text.parse()
    }
}

impl From<UsedImage> for String {
    fn from(image: UsedImage) -> String {
        image.to_string()
    }
}

/// What kind of user an image has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserKind {
    /// A task of ECS.
    Task,
    /// A service of ECS, by a task definition that it deploys or deployed.
    Service,
    /// A function or a published version of Lambda.
    Function,
    /// A task of ECS or a pod of EKS, as Inspector counts them.
    TaskOrPod,
    /// A list with this name.
    List(String),
}

impl UserKind {
    /// A number of users, as in `14 ECS tasks`.
    fn counted(&self, count: u64) -> String {
        let (one, many, of) = match self {
            Self::Task => ("ECS task", "ECS tasks", String::new()),
            Self::Service => ("ECS service", "ECS services", String::new()),
            Self::Function => ("Lambda function", "Lambda functions", String::new()),
            Self::TaskOrPod => ("ECS task or EKS pod", "ECS tasks or EKS pods", " (Inspector)".to_owned()),
            Self::List(name) => ("entry", "entries", format!(" of the list {name}")),
        };
        format!("{count} {}{of}", if count == 1 { one } else { many })
    }
}

/// The users of one kind that an image has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Users {
    /// The number of users.
    pub count: u64,
    /// Some users: their ARNs, or what a list calls them.
    pub named: BTreeSet<String>,
    /// When the image was last in use, if the service says so.
    pub last_used_at: Option<Timestamp>,
}

impl Users {
    fn add(&mut self, count: u64, name: String, at: Option<Timestamp>) {
        self.count = self.count.saturating_add(count);
        if self.named.len() < NAMED_USERS {
            self.named.insert(name);
        }
        self.last_used_at = self.last_used_at.max(at);
    }

    fn merge(&mut self, more: &Self) {
        self.count = self.count.saturating_add(more.count);
        let room = NAMED_USERS.saturating_sub(self.named.len());
        self.named.extend(more.named.iter().take(room).cloned());
        self.last_used_at = self.last_used_at.max(more.last_used_at);
    }
}

/// The users of an image, by kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageUsers(pub BTreeMap<UserKind, Users>);

impl ImageUsers {
    /// Whether anything uses the image.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The named users: the policies' `resource.usedBy`.
    #[must_use]
    pub fn named(&self) -> BTreeSet<String> {
        self.0.values().flat_map(|users| users.named.iter().cloned()).collect()
    }

    /// When the image was last in use, if a service says so.
    #[must_use]
    pub fn last_used_at(&self) -> Option<Timestamp> {
        self.0.values().filter_map(|users| users.last_used_at).max()
    }

    /// The users in one line, as in `14 ECS tasks, such as arn:…`.
    #[must_use]
    pub fn summary(&self) -> String {
        let kinds = self.0.iter().map(|(kind, users)| {
            let name = users.named.first().map(|name| format!(", such as {name}")).unwrap_or_default();
            format!("{}{name}", kind.counted(users.count))
        });
        kinds.collect::<Vec<_>>().join("; ")
    }
}

/// What was read of the use of images: by one account in one region, or by lists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    uses: BTreeMap<UsedImage, ImageUsers>,
    /// What could not be read, a service or a list, and why.
    pub unreadable: BTreeMap<String, String>,
}

impl Usage {
    /// Adds one user of an image.
    pub fn add(&mut self, image: UsedImage, kind: UserKind, name: impl Into<String>, at: Option<Timestamp>) {
        self.add_many(image, kind, 1, name, at);
    }

    /// Adds a number of users of which one thing is named.
    pub fn add_many(
        &mut self,
        image: UsedImage,
        kind: UserKind,
        count: u64,
        name: impl Into<String>,
        at: Option<Timestamp>,
    ) {
        let users = self.uses.entry(image).or_default();
        users.0.entry(kind).or_default().add(count, name.into(), at);
    }

    /// Adds what another read showed.
    pub fn merge(&mut self, more: &Self) {
        for (image, users) in &more.uses {
            let known = self.uses.entry(image.clone()).or_default();
            for (kind, users) in &users.0 {
                known.0.entry(kind.clone()).or_default().merge(users);
            }
        }
        self.unreadable.extend(more.unreadable.clone());
    }

    /// The references, and their users.
    pub fn uses(&self) -> impl Iterator<Item = (&UsedImage, &ImageUsers)> {
        self.uses.iter()
    }

    /// Adds the users of an image with these tags to those that are known. Without a digest, those of the tags alone.
    fn users(&self, found: &mut ImageUsers, place: (&Registry, &RepositoryName), ids: &BTreeSet<ImageOrTag>) {
        let (registry, repository) = place;
        for id in ids {
            let image = UsedImage { registry: registry.clone(), repository: repository.clone(), id: id.clone() };
            for (kind, users) in self.uses.get(&image).into_iter().flat_map(|users| &users.0) {
                found.0.entry(kind.clone()).or_default().merge(users);
            }
        }
    }
}

/// The references that one list may have: an item of the table has at most 400 KB.
pub const MAX_LISTED: usize = 2_000;

/// A list of images in use, by an operator who knows what no service says: what a cluster of Kubernetes or Nomad runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageList {
    /// The name: 1 to 64 of `a-z 0-9 . _ -`.
    pub name: String,
    /// The images and tags.
    pub images: BTreeSet<UsedImage>,
    /// Who imported it.
    pub by: String,
    /// When it was imported.
    pub at: Timestamp,
    /// When it ends; without it, it holds until it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl UsageList {
    /// Whether a text can be the name of a list.
    #[must_use]
    pub fn is_name(text: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        (1..=64).contains(&text.len()) && text.bytes().all(allowed)
    }

    /// Whether the list has ended: then it no longer says what is in use.
    #[must_use]
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Adds the list to what was read. A list that has ended still names its images, and cannot be read any more: it
    /// keeps everything until it is imported again or removed.
    pub fn add_to(&self, usage: &mut Usage, now: Timestamp) {
        for image in &self.images {
            usage.add(image.clone(), UserKind::List(self.name.clone()), format!("list {}", self.name), None);
        }
        if let Some(until) = self.until.filter(|_| self.has_ended(now)) {
            let why = format!("it ended {until}; import it again, or remove it");
            usage.unreadable.insert(format!("the list {}", self.name), why);
        }
    }
}

/// Everything that was read of the use of images.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageObservations {
    /// What the services of each account and region run.
    pub services: BTreeMap<Registry, Arc<Usage>>,
    /// What lists of people name.
    pub lists: Arc<Usage>,
    /// The manifests of the indexes that are in use or are to be deleted, where anything in their repository is in use;
    /// or why they could not be read.
    pub children: BTreeMap<(Registry, Image), Result<BTreeSet<Digest>, String>>,
    /// The repositories with images in use that could not be listed, and why: their indexes are not known.
    pub unlisted: BTreeMap<(Registry, RepositoryName), String>,
}

impl UsageObservations {
    /// Who uses an image, or one of its tags. An index in use keeps its children, and a child in use keeps its index
    /// with the other children. `tags` returns the tags that an image has in the registry.
    #[must_use]
    pub fn in_use(&self, registry: &Registry, image: &Image, tags: &dyn Fn(&Digest) -> BTreeSet<Tag>) -> ImageUsers {
        let here = self
            .children
            .iter()
            .filter(|((place, index), _)| place == registry && index.repository == image.repository);
        let families: Vec<BTreeSet<&Digest>> = here
            .filter_map(|((_, index), children)| Some(children.as_ref().ok()?.iter().chain([&index.digest]).collect()))
            .collect();
        let mut digests = BTreeSet::from([&image.digest]);
        // An index may have indexes as children: what is kept with one of them is kept with all.
        loop {
            let known = digests.len();
            for family in &families {
                if !family.is_disjoint(&digests) {
                    digests.extend(family);
                }
            }
            if digests.len() == known {
                break;
            }
        }
        let ids = digests.into_iter().flat_map(|digest| {
            let tags = tags(digest).into_iter().map(ImageOrTag::Tag);
            tags.chain([ImageOrTag::Image(digest.clone())])
        });
        self.users(registry, &image.repository, &ids.collect())
    }

    /// The images and tags of a repository that are in use.
    #[must_use]
    pub fn used_in(&self, registry: &Registry, repository: &RepositoryName) -> BTreeSet<&ImageOrTag> {
        let uses = self.services.values().chain([&self.lists]).flat_map(|usage| usage.uses.keys());
        let here = uses.filter(|used| used.registry == *registry && used.repository == *repository);
        here.map(|used| &used.id).collect()
    }

    /// Who uses a tag, whichever image has it.
    #[must_use]
    pub fn tag_in_use(&self, registry: &Registry, repository: &RepositoryName, tag: &Tag) -> ImageUsers {
        self.users(registry, repository, &[ImageOrTag::Tag(tag.clone())].into())
    }

    fn users(&self, registry: &Registry, repository: &RepositoryName, ids: &BTreeSet<ImageOrTag>) -> ImageUsers {
        let mut found = ImageUsers::default();
        for usage in self.services.values().chain([&self.lists]) {
            usage.users(&mut found, (registry, repository), ids);
        }
        found
    }

    /// What could not be read, although it may use an image of the registry; `None` if everything was read.
    #[must_use]
    pub fn unknown(&self, registry: &Registry, image: &Image) -> Option<String> {
        let Some(services) = self.services.get(registry) else {
            return Some(format!("what runs in {registry} was not read"));
        };
        if let Some((service, why)) = services.unreadable.first_key_value() {
            return Some(format!("{service} in {registry} cannot be read: {why}"));
        }
        if let Some((list, why)) = self.lists.unreadable.first_key_value() {
            return Some(format!("{list} cannot be read: {why}"));
        }
        if let Some(why) = self.unlisted.get(&(registry.clone(), image.repository.clone())) {
            return Some(format!("{} in {registry} cannot be listed: {why}", image.repository));
        }
        self.children.iter().find_map(|((place, index), children)| {
            let why = children.as_ref().err()?;
            let here = place == registry && index.repository == image.repository;
            here.then(|| format!("the manifests of index {} cannot be read: {why}", index.digest.short()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKYO: &str = "444455556666/ap-northeast-1";
    const HOST: &str = "444455556666.dkr.ecr.ap-northeast-1.amazonaws.com";

    fn image(letter: &str) -> Image {
        format!("team/app@sha256:{}", letter.repeat(64)).parse().unwrap()
    }

    fn tokyo() -> Registry {
        TOKYO.parse().unwrap()
    }

    fn observations(usage: Usage) -> UsageObservations {
        UsageObservations { services: [(tokyo(), Arc::new(usage))].into(), ..UsageObservations::default() }
    }

    fn used(text: &str) -> UsedImage {
        text.parse().unwrap()
    }

    fn no_tags(_: &Digest) -> BTreeSet<Tag> {
        BTreeSet::new()
    }

    #[test]
    fn a_reference_names_a_digest_or_a_tag_or_both() {
        let digest = image("a").digest;
        let all = |text: &str| {
            let all = UsedImage::all_in(text).unwrap().into_iter();
            all.map(|used| used.to_string().replace(HOST, "HOST")).collect::<Vec<_>>()
        };
        let by_digest = format!("HOST/team/app@{digest}");
        assert_eq!(all(&format!("{HOST}/team/app:v1")), ["HOST/team/app:v1"]);
        assert_eq!(all(&format!("{HOST}/team/app")), ["HOST/team/app:latest"]);
        assert_eq!(all(&format!("{HOST}/team/app@{digest}")), [by_digest.as_str()]);
        assert_eq!(all(&format!("docker-pullable://{HOST}/team/app@{digest}")), [by_digest.as_str()]);
        assert_eq!(all(&format!("{HOST}/team/app:v1@{digest}")), [&by_digest, "HOST/team/app:v1"]);
        // Images of other registries.
        for other in ["nginx", "nginx:1", "public.ecr.aws/nginx/nginx:1", "ghcr.io/team/app@sha256:abc"] {
            assert_eq!(all(other), [""; 0], "{other}");
        }
        for wrong in ["team/app:", "team/app@sha256", "Team/app:v1", "team/app:v1:v2"] {
            assert!(UsedImage::all_in(&format!("{HOST}/{wrong}")).is_err(), "{wrong}");
        }
        // It may be this registry, by a name that is not known here: no image of it is taken for unused.
        for host in
            ["444455556666.dkr.ecr.ap-northeast-1.amazonaws.example", "vpce-1.dkr.ecr.eu-west-1.vpce.amazonaws.com"]
        {
            assert!(UsedImage::all_in(&format!("{host}/team/app:v1")).is_err(), "{host}");
        }
        assert!("nginx:1".parse::<UsedImage>().is_err());
    }

    #[test]
    fn a_tag_counts_for_the_image_that_has_it_now() {
        let mut usage = Usage::default();
        usage.add(used(&format!("{HOST}/team/app:v1")), UserKind::Service, "arn:service", None);
        let seen = observations(usage);
        let tags = |digest: &Digest| {
            let has = *digest == image("b").digest;
            has.then(|| "v1".parse().unwrap()).into_iter().collect()
        };
        assert!(seen.in_use(&tokyo(), &image("a"), &tags).is_empty());
        assert_eq!(seen.in_use(&tokyo(), &image("b"), &tags).summary(), "1 ECS service, such as arn:service");
        assert!(!seen.tag_in_use(&tokyo(), &image("a").repository, &"v1".parse().unwrap()).is_empty());
        assert!(seen.tag_in_use(&tokyo(), &image("a").repository, &"v2".parse().unwrap()).is_empty());
        // The same repository of another registry is another image.
        let elsewhere = "444455556666/eu-west-1".parse().unwrap();
        assert!(seen.in_use(&elsewhere, &image("b"), &tags).is_empty());
    }

    #[test]
    fn an_index_in_use_keeps_its_children_and_a_child_its_index() {
        for user in ["a", "b"] {
            let mut usage = Usage::default();
            usage.add(UsedImage::digest(&tokyo(), &image(user)), UserKind::Task, "arn:task", None);
            let mut seen = observations(usage);
            // Index a has the manifests b and c.
            let children = [image("b").digest, image("c").digest].into();
            seen.children.insert((tokyo(), image("a")), Ok(children));
            let kept = |letter| !seen.in_use(&tokyo(), &image(letter), &no_tags).is_empty();
            assert!(kept("a") && kept("b"), "{user} is in use");
            assert!(kept("c") && !kept("d"), "the index stays, and needs it");
            // Index e has index a.
            seen.children.insert((tokyo(), image("e")), Ok([image("a").digest].into()));
            let kept = |letter| !seen.in_use(&tokyo(), &image(letter), &no_tags).is_empty();
            assert!(kept("e") && kept("a") && kept("b") && !kept("d"), "{user} is in use");
        }
    }

    #[test]
    fn users_are_all_counted_and_some_are_named() {
        let mut usage = Usage::default();
        for n in 10..40 {
            usage.add(UsedImage::digest(&tokyo(), &image("a")), UserKind::Task, format!("arn:task/{n}"), None);
        }
        let at = Some(Timestamp::UNIX_EPOCH);
        usage.add_many(UsedImage::digest(&tokyo(), &image("a")), UserKind::TaskOrPod, 3, "arn:image", at);
        let users = observations(usage).in_use(&tokyo(), &image("a"), &no_tags);
        let summary = "30 ECS tasks, such as arn:task/10; 3 ECS tasks or EKS pods (Inspector), such as arn:image";
        assert_eq!((users.summary().as_str(), users.named().len(), users.last_used_at()), (summary, 11, at));
    }

    #[test]
    fn what_could_not_be_read_is_unknown() {
        let mut seen = UsageObservations::default();
        let unknown = |seen: &UsageObservations| seen.unknown(&tokyo(), &image("a"));
        assert_eq!(unknown(&seen), Some(format!("what runs in {TOKYO} was not read")));
        seen = observations(Usage::default());
        assert_eq!(unknown(&seen), None);
        seen.children.insert((tokyo(), image("a")), Err("throttled".to_owned()));
        let why = unknown(&seen).unwrap();
        assert_eq!(why, "the manifests of index aaaaaaaaaaaa cannot be read: throttled");
        let mut usage = Usage::default();
        usage.unreadable.insert("ECS".to_owned(), "AccessDeniedException".to_owned());
        assert_eq!(
            unknown(&observations(usage)).unwrap(),
            format!("ECS in {TOKYO} cannot be read: AccessDeniedException")
        );
    }

    #[test]
    fn a_list_that_has_ended_keeps_everything() {
        let until = Timestamp::from_second(100).unwrap();
        let list = UsageList {
            name: "shop".to_owned(),
            images: [UsedImage::digest(&tokyo(), &image("a"))].into(),
            by: "dana".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            until: Some(until),
        };
        let seen = |second| {
            let mut lists = Usage::default();
            list.add_to(&mut lists, Timestamp::from_second(second).unwrap());
            UsageObservations { lists: Arc::new(lists), ..observations(Usage::default()) }
        };
        let used = |second| seen(second).in_use(&tokyo(), &image("a"), &no_tags).summary();
        assert_eq!(used(99), "1 entry of the list shop, such as list shop");
        assert_eq!(used(100), used(99));
        assert_eq!(seen(99).unknown(&tokyo(), &image("b")), None);
        let why = "the list shop cannot be read: it ended 1970-01-01T00:01:40Z; import it again, or remove it";
        assert_eq!(seen(100).unknown(&tokyo(), &image("b")).as_deref(), Some(why));
        assert!(UsageList::is_name("shop.1") && !UsageList::is_name("") && !UsageList::is_name("Shop"));
    }

    #[test]
    fn what_is_used_in_a_repository_is_known() {
        let mut usage = Usage::default();
        usage.add(UsedImage::digest(&tokyo(), &image("a")), UserKind::Task, "arn", None);
        let seen = observations(usage);
        let used = |name: &str| seen.used_in(&tokyo(), &name.parse().unwrap()).len();
        assert_eq!((used("team/app"), used("team/web")), (1, 0));
    }
}
