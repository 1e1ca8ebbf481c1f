//! What must be proven of a message before it is believed: that SNS signed it, and that its topic's account may send.

use std::collections::{BTreeMap, BTreeSet};
#[cfg(feature = "confirm")]
use std::sync::{Mutex, PoisonError};

#[cfg(feature = "confirm")]
use aws::{
    signature::Certificates,
    topic::{MembershipError, Topics},
};
use domain::event::notification::{Envelope, Topic};
#[cfg(feature = "confirm")]
use futures::future::join_all;
#[cfg(feature = "confirm")]
use jiff::SignedDuration;
use jiff::Timestamp;
#[cfg(feature = "confirm")]
use retry::chain;

/// The time for which a proof of membership counts: an account that leaves the organization can send no longer.
#[cfg(feature = "confirm")]
const PROOF_VALID_FOR: SignedDuration = SignedDuration::from_hours(1);

/// Proves messages. What is `None` is not proven, but believed.
#[derive(Debug)]
pub struct Proofs {
    /// SNS's certificates, which prove signatures.
    #[cfg(feature = "confirm")]
    pub certificates: Option<Certificates>,
    /// Proves that accounts are members of the organization.
    #[cfg(feature = "confirm")]
    pub members: Option<Members>,
}

/// Why a message is not believed.
#[derive(Debug, PartialEq, Eq)]
pub enum Unproven {
    /// It is false, or as good as false.
    Refused(String),
    /// It may be proven later.
    Later(String),
}

impl Proofs {
    /// For the simulated registries of this machine, which sign nothing and belong to no organization.
    #[must_use]
    pub fn simulated() -> Self {
        Self {
            #[cfg(feature = "confirm")]
            certificates: None,
            #[cfg(feature = "confirm")]
            members: None,
        }
    }

    /// Proves that SNS signed these messages. Each result belongs to the message at the same index.
    pub(crate) async fn prove_signed<'a>(
        &self,
        messages: impl ExactSizeIterator<Item = &'a Envelope>,
    ) -> Vec<Result<(), Unproven>> {
        #[cfg(feature = "confirm")]
        if let Some(certificates) = &self.certificates {
            let verified = certificates.verify(messages.map(Envelope::signed)).await;
            let unproven = verified.into_iter().map(|verified| {
                verified.map_err(|error| match error.is_temporary() {
                    true => Unproven::Later(chain(&error)),
                    false => Unproven::Refused(chain(&error)),
                })
            });
            return unproven.collect();
        }
        messages.map(|_| Ok(())).collect()
    }

    /// Proves that the accounts of these topics are members of the organization; returns those that are not proven.
    pub(crate) async fn unproven_members(&self, asked: BTreeSet<Topic>, now: Timestamp) -> BTreeMap<Topic, Unproven> {
        #[cfg(feature = "confirm")]
        if let Some(members) = &self.members {
            return members.unproven(asked, now).await;
        }
        _ = (asked, now);
        BTreeMap::new()
    }
}

/// The topics whose accounts were proven to be members of the organization.
#[cfg(feature = "confirm")]
#[derive(Debug)]
pub struct Members {
    topics: Topics,
    proven: Mutex<BTreeMap<Topic, Timestamp>>,
}

#[cfg(feature = "confirm")]
impl Members {
    /// Proves memberships by calls to the topics.
    #[must_use]
    pub fn new(topics: Topics) -> Self {
        Self { topics, proven: Mutex::default() }
    }

    /// Those of the topics whose accounts are not proven to be members now.
    pub async fn unproven(&self, asked: BTreeSet<Topic>, now: Timestamp) -> BTreeMap<Topic, Unproven> {
        let asked = self.without_proven(asked, now).into_iter();
        let proofs = join_all(asked.map(async |topic| {
            let proof = self.topics.prove_membership(&topic).await;
            (topic, proof)
        }));
        let (mut unproven, proofs) = (BTreeMap::new(), proofs.await);
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        for (topic, proof) in proofs {
            match proof {
                Ok(()) => _ = proven.insert(topic, now),
                Err(error @ MembershipError::Denied(_)) => {
                    _ = unproven.insert(topic, Unproven::Refused(chain(&error)));
                }
                Err(error @ MembershipError::Unknown(_)) => {
                    _ = unproven.insert(topic, Unproven::Later(chain(&error)));
                }
            }
        }
        unproven
    }

    /// The topics that have no proof that still counts. A proof from the future is none: the clock was set back.
    fn without_proven(&self, mut asked: BTreeSet<Topic>, now: Timestamp) -> BTreeSet<Topic> {
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        proven.retain(|_, at| (SignedDuration::ZERO..PROOF_VALID_FOR).contains(&now.duration_since(*at)));
        asked.retain(|topic| !proven.contains_key(topic));
        asked
    }
}
