//! Which repository has which layer. The content of layers is in files: see [`crate::layers`].

use domain::image::Digest;

use super::{Key, PendingTask, RepositoryId, World};
use crate::manifest::Manifest;

/// A layer whose content is stored, once for all repositories.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Content {
    size_bytes: u64,
    /// The number of repositories that have the layer.
    repositories: usize,
}

impl World {
    /// The size of a layer whose content is stored.
    pub(crate) fn content_size(&self, layer: &Digest) -> Option<u64> {
        self.contents.get(layer).map(|content| content.size_bytes)
    }

    /// The size of a layer, if the repository has it.
    pub(crate) fn layer_size(&self, place: &RepositoryId, layer: &Digest) -> Option<u64> {
        let has = self.repository(place).is_some_and(|repository| repository.layers().contains(layer));
        self.content_size(layer).filter(|_| has)
    }

    /// Gives a layer to a repository: its content was stored just now, or is there.
    pub(crate) fn add_layer(&mut self, place: &RepositoryId, layer: &Digest, size_bytes: u64) {
        if !self.repositories.get_mut(place).is_some_and(|repository| repository.add_layer(layer)) {
            return;
        }
        self.changed.insert(Key::Layer(place.clone(), layer.clone()));
        let content = self.contents.entry(layer.clone()).or_insert_with(|| {
            self.changed.insert(Key::Content(layer.clone()));
            Content { size_bytes, repositories: 0 }
        });
        content.repositories += 1;
        self.unneeded_contents.remove(layer);
    }

    /// Gives the layers of an image to the repository of its copy, as far as they are stored (B2).
    pub(crate) fn copy_layers(&mut self, place: &RepositoryId, manifest: &Manifest) {
        for layer in &manifest.layers {
            if let Some(size_bytes) = self.content_size(layer) {
                self.add_layer(place, layer, size_bytes);
            }
        }
    }

    /// Counts a layer that was removed from a repository.
    pub(super) fn count_removed_layer(&mut self, place: &RepositoryId, layer: &Digest) {
        self.changed.insert(Key::Layer(place.clone(), layer.clone()));
        if let Some(content) = self.contents.get_mut(layer) {
            content.repositories = content.repositories.saturating_sub(1);
            if content.repositories == 0 {
                self.unneeded_contents.insert(layer.clone());
            }
        }
    }

    /// Forgets the layers that no repository has any more, and that no copy in progress needs. Returns them.
    pub(crate) fn forget_contents(&mut self) -> Vec<Digest> {
        if self.unneeded_contents.is_empty() {
            return Vec::new();
        }
        let under_way = self.tasks.values().filter_map(|(_, task)| match task {
            PendingTask::Copy(copy) => Some(&copy.digest),
            _ => None,
        });
        let under_way: Vec<_> = under_way.collect();
        let needed = |layer: &Digest| under_way.iter().any(|digest| self.manifest_names(digest, layer));
        let forgotten: Vec<_> = self.unneeded_contents.iter().filter(|layer| !needed(layer)).cloned().collect();
        for layer in &forgotten {
            self.unneeded_contents.remove(layer);
            self.contents.remove(layer);
            self.changed.insert(Key::Content(layer.clone()));
        }
        forgotten
    }

    /// Whether a manifest, or one of its children, names a layer.
    fn manifest_names(&self, digest: &Digest, layer: &Digest) -> bool {
        self.manifests.get(digest).is_some_and(|manifest| {
            manifest.layers.contains(layer) || manifest.children.iter().any(|child| self.manifest_names(child, layer))
        })
    }

    pub(super) fn restore_content(&mut self, layer: Digest, size_bytes: u64) {
        self.unneeded_contents.insert(layer.clone());
        self.contents.insert(layer, Content { size_bytes, repositories: 0 });
    }

    pub(super) fn restore_layer(&mut self, place: &RepositoryId, layer: &Digest) {
        let added = self.repositories.get_mut(place).is_some_and(|repository| repository.add_layer(layer));
        if let Some(content) = self.contents.get_mut(layer).filter(|_| added) {
            content.repositories += 1;
            self.unneeded_contents.remove(layer);
        }
    }
}
