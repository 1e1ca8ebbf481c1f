//! Everything in the partition of one image.

use std::collections::BTreeSet;

use domain::{deletion::Deletion, expectation::ReplicationExpectation, fact::WorkItem, image::Image, lineage::Lineage};

use super::{
    Error, Table,
    deletion::decode_deletion,
    evidence::decode_evidence,
    expectation::decode_expectation,
    fact::decode_fact,
    item::{self, ImageItemKind},
    queue::decode_work_item,
};

/// Everything in the partition of one image.
#[derive(Debug, Clone)]
pub struct ImageRecord {
    /// What is recorded about the image.
    pub lineage: Lineage,
    /// The deletions of its replicas, whether they have ended or not.
    pub deletions: Vec<Deletion>,
    /// The work items that were ever enqueued for the image, including completed ones.
    pub work_items: BTreeSet<WorkItem>,
    /// The copies that its pushes should cause.
    pub expectations: Vec<ReplicationExpectation>,
}

impl Table {
    /// Everything about one image: one Query of its partition, and one BatchGetItem for deletions of its whole
    /// repository.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn image_record(&self, image: &Image) -> Result<ImageRecord, Error> {
        self.image_record_from(image, item::EVERYTHING).await
    }

    /// What is recorded about one image.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn lineage(&self, image: &Image) -> Result<Lineage, Error> {
        Ok(self.image_record(image).await?.lineage)
    }

    /// The placements of one image: its lineage without the facts, whose number is not bounded.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn placements(&self, image: &Image) -> Result<Lineage, Error> {
        Ok(self.image_record_from(image, item::PLACEMENTS).await?.lineage)
    }

    /// The expectations and the placements of one image, without its facts, whose number is not bounded.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn expectations(&self, image: &Image) -> Result<ImageRecord, Error> {
        let (expected, placed) = futures::try_join!(
            self.image_record_from(image, item::EXPECTATIONS),
            self.image_record_from(image, item::PLACEMENTS)
        )?;
        Ok(ImageRecord { expectations: expected.expectations, ..placed })
    }

    async fn image_record_from(&self, image: &Image, range: (&str, &str)) -> Result<ImageRecord, Error> {
        let pk = item::pk_of_image(image);
        let (mut evidence, mut facts, mut deletions) = (Vec::new(), Vec::new(), Vec::new());
        let (mut work_items, mut expectations) = (BTreeSet::new(), Vec::new());
        for item in self.all(&pk, self.between(&pk, range)).await? {
            match item::image_item_kind(&item) {
                Some(ImageItemKind::Fact) => facts.push(self.decode(item, decode_fact)?),
                Some(ImageItemKind::Deletion) => deletions.push(self.decode(item, decode_deletion)?),
                Some(ImageItemKind::WorkItem) => _ = work_items.insert(self.decode(item, decode_work_item)?),
                Some(ImageItemKind::Expectation) => expectations.push(self.decode(item, decode_expectation)?),
                Some(ImageItemKind::Evidence) | None => evidence.push(self.decode(item, decode_evidence)?),
            }
        }
        let registries: BTreeSet<_> = evidence.iter().map(|(name, _)| name.registry.clone()).collect();
        let gone = self.repository_deletions(&image.repository, &registries).await?;
        let lineage = Lineage::new(image.clone(), evidence, facts, gone);
        Ok(ImageRecord { lineage, deletions, work_items, expectations })
    }
}
