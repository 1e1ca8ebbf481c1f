//! Lists that go through one registry after the other, part by part.

use std::collections::{BTreeSet, btree_set};

use domain::image::{Image, Registry, RepositoryName};
use serde::{Deserialize, Serialize};
use store::{Part, Walked};

/// Where a walk goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    registry: Registry,
    /// After this image; from its first if there is none.
    after: Option<Image>,
}

/// How far a walk goes.
#[derive(Debug, Clone)]
pub struct Stretch<'a> {
    /// Only this registry.
    pub registry: Option<&'a Registry>,
    /// Only this repository.
    pub repository: Option<&'a RepositoryName>,
    /// From here on.
    pub from: Option<Place>,
    /// How many images are looked at, at least one.
    pub most: usize,
}

impl<'a> Stretch<'a> {
    /// All of one registry or of every one, of one repository or of every one.
    #[must_use]
    pub fn all_of(registry: Option<&'a Registry>, repository: Option<&'a RepositoryName>) -> Self {
        Self { registry, repository, from: None, most: usize::MAX }
    }

    /// A walk through these of some registries, in their order.
    #[must_use]
    pub fn through(&self, mut registries: BTreeSet<Registry>) -> Walk<'a> {
        registries.retain(|registry| self.registry.is_none_or(|only| only == registry));
        if let Some(place) = &self.from {
            registries.retain(|registry| *registry >= place.registry);
        }
        Walk {
            repository: self.repository,
            registries: registries.into_iter(),
            from: self.from.clone(),
            left: self.most,
        }
    }
}

/// A walk, and how far it came.
#[derive(Debug)]
pub struct Walk<'a> {
    repository: Option<&'a RepositoryName>,
    registries: btree_set::IntoIter<Registry>,
    from: Option<Place>,
    left: usize,
}

/// The next part of a walk.
#[derive(Debug)]
pub struct Step<'a> {
    /// The registry.
    pub registry: Registry,
    repository: Option<&'a RepositoryName>,
    after: Option<Image>,
    most: usize,
}

impl Step<'_> {
    /// The part of its list.
    #[must_use]
    pub fn part(&self) -> Part<'_> {
        Part { repository: self.repository, after: self.after.as_ref(), most: self.most }
    }
}

impl<'a> Walk<'a> {
    /// The next part; nothing at the end, or when enough images were looked at.
    pub fn step(&mut self) -> Option<Step<'a>> {
        let registry = self.registries.next()?;
        let after = self.from.take().filter(|place| place.registry == registry).and_then(|place| place.after);
        if self.left == 0 {
            self.stop(registry, after);
            return None;
        }
        Some(Step { registry, repository: self.repository, after, most: self.left })
    }

    /// Takes note of how far a part was read.
    pub fn walked(&mut self, step: Step<'_>, walked: Walked) {
        self.left = self.left.saturating_sub(walked.images);
        if walked.next.is_some() {
            self.stop(step.registry, walked.next);
        }
    }

    fn stop(&mut self, registry: Registry, after: Option<Image>) {
        self.registries = BTreeSet::new().into_iter();
        self.from = Some(Place { registry, after });
    }

    /// Where it goes on; nothing if it came to its end.
    #[must_use]
    pub fn place(self) -> Option<Place> {
        self.from
    }
}
