//! Simulated faults, with reproducible randomness: the same seed and the same calls give the same faults.

use std::{fmt, str::FromStr};

use jiff::SignedDuration;
use sha2::{Digest as _, Sha256};

/// The probability of each fault, between 0 and 1.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trouble {
    /// Events that never arrive.
    pub lost: f64,
    /// Events that arrive twice, up to a minute apart.
    pub repeated: f64,
    /// Events that arrive up to 15 minutes late.
    pub delayed: f64,
    /// Events that arrive up to 10 seconds late, and so in another order.
    pub reordered: f64,
    /// Events that arrive in another envelope, with an id of its own and a time up to an hour later: what a second path
    /// does to them. The envelope is SNS's: on this route no event bus forwards to another region (E6).
    pub hop: f64,
    /// Copies that take 30 minutes to 3 hours longer.
    pub slow: f64,
    /// Copies that stay `IN_PROGRESS` forever.
    pub stuck: f64,
    /// Copies that end as `FAILED`.
    pub failed: f64,
    /// Copies that never start, and of which ECR has no status.
    pub missing: f64,
    /// Calls that are refused with `ThrottlingException` and have no effect.
    pub throttled: f64,
    /// Calls that get no response and have no effect.
    pub request_lost: f64,
    /// Calls that take effect and get no response.
    pub response_lost: f64,
}

/// A kind of fault: its name on the command line, and its field.
type FaultKind = (&'static str, fn(&mut Trouble) -> &mut f64);

const KINDS: [FaultKind; 12] = [
    ("lost", |trouble| &mut trouble.lost),
    ("repeated", |trouble| &mut trouble.repeated),
    ("delayed", |trouble| &mut trouble.delayed),
    ("reordered", |trouble| &mut trouble.reordered),
    ("hop", |trouble| &mut trouble.hop),
    ("slow", |trouble| &mut trouble.slow),
    ("stuck", |trouble| &mut trouble.stuck),
    ("failed", |trouble| &mut trouble.failed),
    ("missing", |trouble| &mut trouble.missing),
    ("throttled", |trouble| &mut trouble.throttled),
    ("request-lost", |trouble| &mut trouble.request_lost),
    ("response-lost", |trouble| &mut trouble.response_lost),
];

/// The probability of a kind without a number, in percent.
const SOME: f64 = 5.0;

/// The error of a text that is not a list of faults.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{part}` is not trouble: write KIND or KIND=PERCENT, with KIND one of {}", KINDS.map(|(name, _)| name).join(", "))]
pub struct TroubleError {
    part: String,
}

impl FromStr for Trouble {
    type Err = TroubleError;

    /// Parses `lost=2,delayed=10,stuck`: percentages; 5 without a number.
    fn from_str(text: &str) -> Result<Self, TroubleError> {
        let mut trouble = Self::default();
        for part in text.split(',').map(str::trim) {
            let trouble_error = || TroubleError { part: part.to_owned() };
            let (name, percent) = match part.split_once('=') {
                Some((name, number)) => (name, number.trim_end_matches('%').parse().map_err(|_| trouble_error())?),
                None => (part, SOME),
            };
            if !(0.0..=100.0).contains(&percent) {
                return Err(trouble_error());
            }
            let (_, share) = KINDS.iter().find(|(kind, _)| *kind == name).ok_or_else(trouble_error)?;
            *share(&mut trouble) = percent / 100.0;
        }
        Ok(trouble)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut copy = self.clone();
        let shares: Vec<_> = KINDS
            .iter()
            .map(|(name, share)| (name, *share(&mut copy)))
            .filter(|(_, share)| *share > 0.0)
            .map(|(name, share)| {
                format!("{name} {:.4}", share * 100.0).trim_end_matches('0').trim_end_matches('.').to_owned() + " %"
            })
            .collect();
        f.write_str(&shares.join(", "))
    }
}

/// The outcome of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallFate {
    Answered,
    Throttled,
    RequestLost,
    ResponseLost,
}

/// The outcome of one copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopyFate {
    /// The copy arrives after the usual lag and this additional delay.
    Arrives(SignedDuration),
    Stuck,
    Fails,
    NeverBegins,
}

impl Trouble {
    /// The delays of an event's deliveries: one, two, or none.
    pub(crate) fn of_event(&self, chance: &mut Chance) -> Vec<SignedDuration> {
        let (lost, repeated) = (chance.happens(self.lost), chance.happens(self.repeated));
        let (delayed, reordered) = (chance.happens(self.delayed), chance.happens(self.reordered));
        if lost {
            return Vec::new();
        }
        let longest = match (delayed, reordered) {
            (true, _) => 900_000,
            (_, true) => 10_000,
            _ => 0,
        };
        let first = chance.up_to(longest);
        let mut delays = vec![first];
        if repeated {
            delays.push(later(first, chance.up_to(60_000)));
        }
        delays
    }

    /// For each delivery of an event, how much later than the event its envelope is, if it is another one.
    pub(crate) fn hops(&self, chance: &mut Chance, deliveries: usize) -> Vec<Option<SignedDuration>> {
        (0..deliveries).map(|_| chance.happens(self.hop).then(|| chance.up_to(3_600_000))).collect()
    }

    pub(crate) fn of_copy(&self, chance: &mut Chance) -> CopyFate {
        let (stuck, fails, slow) = (chance.happens(self.stuck), chance.happens(self.failed), chance.happens(self.slow));
        // Drawn only if this kind is used, so that other faults stay the same without it.
        if self.missing > 0.0 && chance.happens(self.missing) {
            CopyFate::NeverBegins
        } else if stuck {
            CopyFate::Stuck
        } else if fails {
            CopyFate::Fails
        } else if slow {
            CopyFate::Arrives(later(SignedDuration::from_mins(30), chance.up_to(9_000_000)))
        } else {
            CopyFate::Arrives(SignedDuration::ZERO)
        }
    }

    pub(crate) fn of_call(&self, chance: &mut Chance) -> CallFate {
        if chance.happens(self.throttled) {
            CallFate::Throttled
        } else if chance.happens(self.request_lost) {
            CallFate::RequestLost
        } else if chance.happens(self.response_lost) {
            CallFate::ResponseLost
        } else {
            CallFate::Answered
        }
    }
}

fn later(one: SignedDuration, other: SignedDuration) -> SignedDuration {
    one.saturating_add(other)
}

/// Reproducible randomness. The generator's seed includes a purpose and a counter, so that faults of calls do not
/// change faults of events.
pub(crate) struct Chance(fastrand::Rng);

impl Chance {
    pub(crate) fn of(seed: u64, purpose: &str, number: u64) -> Self {
        let hash = Sha256::digest(format!("{seed} {purpose} {number}"));
        let start = hash.first_chunk().copied().map_or(seed, u64::from_le_bytes);
        Self(fastrand::Rng::with_seed(start))
    }

    /// Randomness that no seed determines: for ids that say nothing about what happens, such as those of requests.
    pub(crate) fn unpredictable() -> Self {
        Self(fastrand::Rng::new())
    }

    fn happens(&mut self, share: f64) -> bool {
        self.0.f64() < share
    }

    /// A random duration, up to a number of milliseconds.
    pub(crate) fn up_to(&mut self, milliseconds: u64) -> SignedDuration {
        let milliseconds = self.0.u64(0..=milliseconds);
        SignedDuration::from_millis(i64::try_from(milliseconds).unwrap_or(i64::MAX))
    }

    /// An id in the form of a UUID.
    pub(crate) fn id(&mut self) -> String {
        let bits = self.0.u128(..);
        let part = |shift: u32, mask: u128| bits >> shift & mask;
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            part(96, 0xffff_ffff),
            part(80, 0xffff),
            part(64, 0x0fff) | 0x4000,
            part(48, 0x3fff) | 0x8000,
            part(0, 0xffff_ffff_ffff)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_given_in_percent() {
        let trouble: Trouble = "lost=2.5, delayed=10%,stuck".parse().unwrap();
        assert_eq!(trouble, Trouble { lost: 0.025, delayed: 0.1, stuck: 0.05, ..Trouble::default() });
        assert_eq!(trouble.to_string(), "lost 2.5 %, delayed 10 %, stuck 5 %");
        for bad in ["", "lots", "lost=", "lost=101", "lost=-1", "lost=NaN"] {
            assert!(bad.parse::<Trouble>().is_err(), "{bad}");
        }
        assert!("lots".parse::<Trouble>().unwrap_err().to_string().starts_with("`lots` is not trouble: write KIND"));
    }

    #[test]
    fn the_seed_determines_the_trouble() {
        let trouble = Trouble { lost: 0.3, repeated: 0.3, delayed: 0.3, reordered: 0.3, ..Trouble::default() };
        let fates = |seed| -> Vec<_> {
            (0..100).map(|number| trouble.of_event(&mut Chance::of(seed, "event", number))).collect()
        };
        assert_eq!(fates(7), fates(7));
        assert_ne!(fates(7), fates(8));
        let lost = fates(7).iter().filter(|delays| delays.is_empty()).count();
        assert!((15..45).contains(&lost), "{lost}");
        assert!(fates(7).iter().any(|delays| delays.len() == 2));
    }

    #[test]
    fn without_trouble_everything_arrives_once_and_at_once() {
        let mut chance = Chance::of(1, "event", 1);
        assert_eq!(Trouble::default().of_event(&mut chance), [SignedDuration::ZERO]);
        assert_eq!(Trouble::default().of_copy(&mut chance), CopyFate::Arrives(SignedDuration::ZERO));
        assert_eq!(Trouble::default().of_call(&mut chance), CallFate::Answered);
    }
}
