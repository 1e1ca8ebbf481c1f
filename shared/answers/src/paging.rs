//! Pages of lists that span several registries, one registry after the other.

use std::collections::{BTreeSet, btree_set};

use domain::image::{Image, Registry, RepositoryName, RepositoryPattern};
use serde::{Deserialize, Serialize};
use store::{PageBounds, PageEnd};

/// The position at which the next page starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageToken {
    registry: Registry,
    /// The last image of the previous page; without one, start from the registry's first image.
    after: Option<Image>,
}

/// The bounds of a page request.
#[derive(Debug, Clone)]
pub struct PageRequest<'a> {
    /// Only this registry.
    pub registry: Option<&'a Registry>,
    /// Only these repositories.
    pub repositories: Option<&'a RepositoryPattern>,
    /// Start at this position; without one, at the first registry.
    pub from: Option<PageToken>,
    /// The largest number of images to read, at least 1.
    pub most: usize,
}

impl<'a> PageRequest<'a> {
    /// Everything: of one registry or of all, of some repositories or of all.
    #[must_use]
    pub fn all_of(registry: Option<&'a Registry>, repositories: Option<&'a RepositoryPattern>) -> Self {
        Self { registry, repositories, from: None, most: usize::MAX }
    }

    /// The repository, if only one is requested: its images are read, and no others.
    #[must_use]
    pub fn repository(&self) -> Option<RepositoryName> {
        self.repositories.and_then(RepositoryPattern::name)
    }

    /// Whether the images of a repository are requested.
    #[must_use]
    pub fn covers(&self, repository: &RepositoryName) -> bool {
        self.repositories.is_none_or(|pattern| pattern.covers(repository))
    }

    /// A pager through the requested ones of these registries, in their order.
    #[must_use]
    pub fn through(&self, mut registries: BTreeSet<Registry>) -> RegistryPager {
        registries.retain(|registry| self.registry.is_none_or(|only| only == registry));
        if let Some(place) = &self.from {
            registries.retain(|registry| *registry >= place.registry);
        }
        RegistryPager {
            repository: self.repository(),
            registries: registries.into_iter(),
            from: self.from.clone(),
            left: self.most,
        }
    }
}

/// Iterates over registries until enough images were read.
#[derive(Debug)]
pub struct RegistryPager {
    repository: Option<RepositoryName>,
    registries: btree_set::IntoIter<Registry>,
    from: Option<PageToken>,
    left: usize,
}

/// The next registry to read, with bounds.
#[derive(Debug)]
pub struct Page {
    /// The registry to read.
    pub registry: Registry,
    repository: Option<RepositoryName>,
    after: Option<Image>,
    most: usize,
}

impl Page {
    /// The bounds within the registry's list.
    #[must_use]
    pub fn bounds(&self) -> PageBounds<'_> {
        PageBounds { repository: self.repository.as_ref(), after: self.after.as_ref(), most: self.most }
    }
}

impl RegistryPager {
    /// The next registry to read; nothing at the end, or when enough images were read.
    pub fn next_page(&mut self) -> Option<Page> {
        let registry = self.registries.next()?;
        let after = self.from.take().filter(|place| place.registry == registry).and_then(|place| place.after);
        if self.left == 0 {
            self.stop(registry, after);
            return None;
        }
        Some(Page { registry, repository: self.repository.clone(), after, most: self.left })
    }

    /// Records how far a page was read.
    pub fn end_page(&mut self, page: Page, page_end: PageEnd) {
        self.left = self.left.saturating_sub(page_end.images);
        if page_end.next.is_some() {
            self.stop(page.registry, page_end.next);
        }
    }

    fn stop(&mut self, registry: Registry, after: Option<Image>) {
        self.registries = BTreeSet::new().into_iter();
        self.from = Some(PageToken { registry, after });
    }

    /// The position of the next page; nothing if the list is complete.
    #[must_use]
    pub fn token(self) -> Option<PageToken> {
        self.from
    }
}
