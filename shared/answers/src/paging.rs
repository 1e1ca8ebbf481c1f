//! Lists that go through one registry after the other, part by part.

use std::collections::{BTreeSet, btree_set};

use domain::image::{Image, Registry, RepositoryName};
use serde::{Deserialize, Serialize};
use store::{PageBounds, PageEnd};

/// Where a walk goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageToken {
    registry: Registry,
    /// After this image; from its first if there is none.
    after: Option<Image>,
}

/// How far a walk goes.
#[derive(Debug, Clone)]
pub struct PageRequest<'a> {
    /// Only this registry.
    pub registry: Option<&'a Registry>,
    /// Only this repository.
    pub repository: Option<&'a RepositoryName>,
    /// From here on.
    pub from: Option<PageToken>,
    /// How many images are looked at, at least one.
    pub most: usize,
}

impl<'a> PageRequest<'a> {
    /// All of one registry or of every one, of one repository or of every one.
    #[must_use]
    pub fn all_of(registry: Option<&'a Registry>, repository: Option<&'a RepositoryName>) -> Self {
        Self { registry, repository, from: None, most: usize::MAX }
    }

    /// A walk through these of some registries, in their order.
    #[must_use]
    pub fn through(&self, mut registries: BTreeSet<Registry>) -> RegistryPager<'a> {
        registries.retain(|registry| self.registry.is_none_or(|only| only == registry));
        if let Some(place) = &self.from {
            registries.retain(|registry| *registry >= place.registry);
        }
        RegistryPager {
            repository: self.repository,
            registries: registries.into_iter(),
            from: self.from.clone(),
            left: self.most,
        }
    }
}

/// A walk, and how far it came.
#[derive(Debug)]
pub struct RegistryPager<'a> {
    repository: Option<&'a RepositoryName>,
    registries: btree_set::IntoIter<Registry>,
    from: Option<PageToken>,
    left: usize,
}

/// The next part of a walk.
#[derive(Debug)]
pub struct Page<'a> {
    /// The registry.
    pub registry: Registry,
    repository: Option<&'a RepositoryName>,
    after: Option<Image>,
    most: usize,
}

impl Page<'_> {
    /// The part of its list.
    #[must_use]
    pub fn bounds(&self) -> PageBounds<'_> {
        PageBounds { repository: self.repository, after: self.after.as_ref(), most: self.most }
    }
}

impl<'a> RegistryPager<'a> {
    /// The next part; nothing at the end, or when enough images were looked at.
    pub fn next_page(&mut self) -> Option<Page<'a>> {
        let registry = self.registries.next()?;
        let after = self.from.take().filter(|place| place.registry == registry).and_then(|place| place.after);
        if self.left == 0 {
            self.stop(registry, after);
            return None;
        }
        Some(Page { registry, repository: self.repository, after, most: self.left })
    }

    /// Takes note of how far a part was read.
    pub fn end_page(&mut self, page: Page<'_>, page_end: PageEnd) {
        self.left = self.left.saturating_sub(page_end.images);
        if page_end.next.is_some() {
            self.stop(page.registry, page_end.next);
        }
    }

    fn stop(&mut self, registry: Registry, after: Option<Image>) {
        self.registries = BTreeSet::new().into_iter();
        self.from = Some(PageToken { registry, after });
    }

    /// Where it goes on; nothing if it came to its end.
    #[must_use]
    pub fn token(self) -> Option<PageToken> {
        self.from
    }
}
