//! Settings of the simulator: replication lag, behaviour that AWS does not document, and faults.

use std::collections::BTreeMap;

use domain::image::Registry;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::trouble::Trouble;

/// Settings of the simulated registries.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The replication lag to every destination that is not in `lags`.
    pub lag: Lag,
    /// The replication lag, by destination.
    pub lags: BTreeMap<Registry, Lag>,
    /// Behaviour that AWS does not document.
    pub unconfirmed: Unconfirmed,
    /// The simulated faults.
    pub trouble: Trouble,
    /// Whether `PutImage` requires that the layers were uploaded, as ECR does. Without it, a manifest alone makes an
    /// image, which is enough for events and replication. A push through `/v2/` always requires them.
    pub put_image_requires_layers: bool,
    /// The random seed: the same seed and the same calls give the same faults, lags and ids.
    pub seed: u64,
    /// Gives every change a whole second of its own, ahead of the clock if necessary. ECR's events have times in whole
    /// seconds, so the order of two opposite changes in one second is unknown. Real registries do not guarantee this:
    /// it is for tests that compare the events with the registries' content.
    pub seconds_apart: bool,
}

/// A range of replication lags; the lag of each copy is a random value between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// The shortest lag.
    pub from: SignedDuration,
    /// The longest lag.
    pub to: SignedDuration,
}

impl Default for Lag {
    /// 5 to 30 seconds: "The majority of images replicate in less than 30 minutes" (R9); small images take far less.
    fn default() -> Self {
        Self { from: SignedDuration::from_secs(5), to: SignedDuration::from_secs(30) }
    }
}

impl Lag {
    /// A lag without variation.
    #[must_use]
    pub fn exactly(lag: SignedDuration) -> Self {
        Self { from: lag, to: lag }
    }
}

/// Behaviour that AWS does not document, with both answers. `FACTS.md` lists what is known of each; the default is the
/// likelier answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is one question with two answers")]
pub struct Unconfirmed {
    /// U1. Whether the removal of one of several tags emits DELETE with that tag.
    pub tag_removal_emits_delete: bool,
    /// U2. Whether the deletion of a digest emits one DELETE per tag, or one without a tag.
    pub delete_per_tag: bool,
    /// U3. Whether an event about an untagged image has `"image-tag": ""`, or no such field.
    pub empty_tag_in_events: bool,
    /// U4. Whether images that a lifecycle policy expires emit DELETE.
    pub lifecycle_emits_delete: bool,
    /// U5. Whether the forced deletion of a repository emits DELETE for its images.
    pub repository_deletion_emits_delete: bool,
    /// U6. Whether `BatchDeleteImage` with tag and digest removes the tag, or deletes the image with all its tags.
    pub tag_with_digest_removes_tag: bool,
    /// U7. Whether the default of ACTIVE images applies where `DescribeImages` is given ids.
    pub active_default_applies_to_ids: bool,
    /// U8. Whether the children of a replicated index emit their own REPLICATE.
    pub children_emit_replicate: bool,
    /// U9. Whether a replica also emits PUSH in its registry.
    pub replica_emits_push: bool,
    /// U10. Whether a deletion that ECR itself replicates emits DELETE in the destination.
    pub replicated_delete_emits_delete: bool,
    /// U11. Whether pushes and deletions of referrers are `ECR Referrer Action`, or `ECR Image Action`.
    pub referrer_actions: bool,
    /// U12. Whether replication across accounts emits its event in the destination's account, or in the source's.
    pub replicate_in_destination_account: bool,
    /// U13. Whether PUSH and DELETE events carry the media types.
    pub media_types_in_events: bool,
    /// U14. Whether a request for an archived image fails with `ImageInaccessible`, or with `ImageNotFound`.
    pub archived_is_inaccessible: bool,
    /// U15. Whether a copy that lacks permission emits FAILED, or nothing.
    pub denied_replication_emits_failed: bool,
    /// U16. Whether a copy in progress arrives although its source was deleted meanwhile.
    pub replication_survives_deletion: bool,
    /// U17. Whether the event of a replica that did not get its tag contains that tag.
    pub untagged_replica_event_has_tag: bool,
    /// U18. Whether a late copy takes its tag, although the tag moved to another image at the source.
    pub late_replica_takes_tag: bool,
    /// U19. Whether the record of a move to the archive by a lifecycle policy says `transition`, or `archive`.
    pub transition_in_policy_record: bool,
    /// U20. Whether automatic clean-up of referrers emits DELETE.
    pub referrer_cleanup_emits_delete: bool,
    /// U22. Whether a filter is a prefix of the name as text (`prod` also matches `production`), or as a path.
    pub filters_are_text_prefixes: bool,
    /// U23. Whether the event of a failed copy contains its failure code.
    pub failed_replication_has_code: bool,
    /// U24. Whether a new tag for an existing image replicates like a push.
    pub new_tag_replicates: bool,
}

impl Default for Unconfirmed {
    fn default() -> Self {
        Self {
            tag_removal_emits_delete: true,
            delete_per_tag: true,
            empty_tag_in_events: true,
            lifecycle_emits_delete: true,
            repository_deletion_emits_delete: false,
            tag_with_digest_removes_tag: true,
            active_default_applies_to_ids: true,
            children_emit_replicate: true,
            replica_emits_push: false,
            replicated_delete_emits_delete: true,
            referrer_actions: false,
            replicate_in_destination_account: true,
            media_types_in_events: true,
            archived_is_inaccessible: true,
            denied_replication_emits_failed: true,
            replication_survives_deletion: true,
            untagged_replica_event_has_tag: true,
            late_replica_takes_tag: true,
            transition_in_policy_record: true,
            referrer_cleanup_emits_delete: true,
            filters_are_text_prefixes: true,
            failed_replication_has_code: false,
            new_tag_replicates: true,
        }
    }
}
