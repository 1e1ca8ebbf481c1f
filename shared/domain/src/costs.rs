//! What images cost: sums of the sizes that listings saw, times list prices.

mod prices;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use prices::{PriceOrigin, PriceTable};

use crate::{
    image::{Digest, Registry, RepositoryName, RepositoryPattern},
    inventory::{Inventory, InventoryEntry, Origin},
    named::named,
    policy::ManifestKind,
};

/// Bytes in a GB. If AWS counts 2^30, the true cost is 7 % lower: the sums are an upper bound in any case.
const GIGABYTE: f64 = 1e9;

named! {
    /// Why a copy of an image is in a registry. A copy counts under the first that applies.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum CopyKind {
        /// A replica whose source no longer has the image.
        Orphan = "orphan",
        /// It has no tag. The images of an index have none either: ECR does not say which images an index refers to.
        Untagged = "untagged",
        /// A replica.
        Replica = "replica",
        /// It was pushed here, or brought by the pull through cache.
        Source = "source",
        /// Neither a push nor a replication is recorded.
        Unknown = "unknown",
    }
}

/// What the last listing of a registry saw.
#[derive(Debug, Clone, Default)]
pub struct RegistryListing {
    /// When the last complete listing began; `None` if there was none.
    pub listed_at: Option<Timestamp>,
    /// What was seen, by repository.
    pub repositories: BTreeMap<RepositoryName, Inventory>,
}

/// Which copies count.
#[derive(Debug, Clone)]
pub struct CostScope<'a> {
    /// Only copies in this registry.
    pub registry: Option<&'a Registry>,
    /// Only copies in these repositories.
    pub repositories: Option<&'a RepositoryPattern>,
    /// Only copies that arrived before this time, and of which ECR recorded no pull since. Transfers all count.
    pub unpulled_since: Option<Timestamp>,
    /// Only transfers of replicas that arrived since this time.
    pub transferred_since: Timestamp,
}

/// What some copies are, and cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Amount {
    /// The number of copies.
    pub copies: u64,
    /// The sum of their sizes. An index has no size of its own, because its images are counted.
    pub bytes: u64,
    /// What those cost in a month, or once, whose price is known.
    pub usd: f64,
    /// The sum of the sizes of those whose price is unknown.
    #[serde(skip_serializing_if = "is_zero")]
    pub unpriced_bytes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Amount {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 9 petabytes")]
    fn add(&mut self, bytes: u64, price: Option<f64>) {
        self.copies += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        match price {
            Some(price) => self.usd += bytes as f64 / GIGABYTE * price,
            None => self.unpriced_bytes = self.unpriced_bytes.saturating_add(bytes),
        }
    }

    /// Rounded to a hundredth of a cent: sums of fractions are not exact.
    fn rounded(self) -> Self {
        Self { usd: (self.usd * 1e4).round() / 1e4, ..self }
    }
}

/// The copies of one kind in one storage class.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KindCost {
    /// Why the copies are there.
    pub kind: CopyKind,
    /// Whether they are in the archive storage class.
    pub archived: bool,
    /// What they are, and cost in a month.
    #[serde(flatten)]
    pub amount: Amount,
}

/// The copies in one registry.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegistryCost {
    /// The registry.
    pub registry: Registry,
    /// What they are, and cost in a month.
    #[serde(flatten)]
    pub amount: Amount,
    /// The same by kind and storage class.
    pub kinds: Vec<KindCost>,
}

/// The copies in the repositories of one name.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RepositoryCost {
    /// The repository, in every registry that counts.
    pub repository: RepositoryName,
    /// What they are, and cost in a month.
    #[serde(flatten)]
    pub amount: Amount,
    /// The same by kind and storage class.
    pub kinds: Vec<KindCost>,
}

/// The replicas that arrived at a destination from a source.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Transfer {
    /// The source registry. A replica with several sources counts for the first.
    pub source: Registry,
    /// The destination registry.
    pub destination: Registry,
    /// What arrived and is still there, and what its transfer cost.
    #[serde(flatten)]
    pub amount: Amount,
}

/// What images cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Costs {
    /// All copies that count, and their cost in a month.
    pub total: Amount,
    /// The same by kind and storage class.
    pub kinds: Vec<KindCost>,
    /// The same by registry.
    pub registries: Vec<RegistryCost>,
    /// The same by repository, the most expensive first.
    pub repositories: Vec<RepositoryCost>,
    /// What replication transferred, by destination and source.
    pub transfers: Vec<Transfer>,
    /// Registries to which that applies whose region has an unknown price, by name.
    pub unpriced_regions: BTreeSet<String>,
}

/// A sum by kind and storage class.
#[derive(Default)]
struct Sum {
    total: Amount,
    kinds: BTreeMap<(CopyKind, bool), Amount>,
}

impl Sum {
    fn add(&mut self, kind: (CopyKind, bool), bytes: u64, price: Option<f64>) {
        self.total.add(bytes, price);
        self.kinds.entry(kind).or_default().add(bytes, price);
    }

    fn kinds(self) -> Vec<KindCost> {
        let kind = |((kind, archived), amount): (_, Amount)| KindCost { kind, archived, amount: amount.rounded() };
        self.kinds.into_iter().map(kind).collect()
    }
}

/// One copy of an image.
struct CopyOf<'a> {
    registry: &'a Registry,
    repository: &'a RepositoryName,
    digest: &'a Digest,
    entry: &'a InventoryEntry,
}

/// The sums of everything that counts.
#[derive(Default)]
struct Sums<'a> {
    all: Sum,
    registries: BTreeMap<&'a Registry, Sum>,
    repositories: BTreeMap<&'a RepositoryName, Sum>,
    /// By destination and source.
    transfers: BTreeMap<(&'a Registry, &'a Registry), Amount>,
    unpriced_regions: BTreeSet<String>,
}

impl<'a> Sums<'a> {
    fn add_stored(&mut self, copy: &CopyOf<'a>, kind: CopyKind, prices: &PriceTable) {
        let CopyOf { registry, repository, entry, .. } = copy;
        let price = self.priced(registry, prices.storage(registry.region(), entry.archived));
        let of_registry = self.registries.entry(registry).or_default();
        let of_repository = self.repositories.entry(repository).or_default();
        for sum in [&mut self.all, of_registry, of_repository] {
            sum.add((kind, entry.archived), copy.bytes(), price);
        }
    }

    fn add_transferred(&mut self, copy: &CopyOf<'a>, source: &'a Registry, prices: &PriceTable) {
        let price = self.priced(source, prices.transfer(source.region(), copy.registry.region()));
        self.transfers.entry((copy.registry, source)).or_default().add(copy.bytes(), price);
    }

    /// Notes the region if a price is unknown.
    fn priced(&mut self, registry: &Registry, price: Option<f64>) -> Option<f64> {
        if price.is_none() {
            self.unpriced_regions.insert(registry.region().to_owned());
        }
        price
    }

    fn costs(self) -> Costs {
        let registries = self.registries.into_iter().map(|(registry, sum)| RegistryCost {
            registry: registry.clone(),
            amount: sum.total.rounded(),
            kinds: sum.kinds(),
        });
        let repositories = self.repositories.into_iter().map(|(repository, sum)| RepositoryCost {
            repository: repository.clone(),
            amount: sum.total.rounded(),
            kinds: sum.kinds(),
        });
        let transfers = self.transfers.into_iter().map(|((destination, source), amount)| Transfer {
            source: source.clone(),
            destination: destination.clone(),
            amount: amount.rounded(),
        });
        let mut repositories: Vec<_> = repositories.collect();
        let cheaper = |a: &Amount, b: &Amount| a.usd.total_cmp(&b.usd).then_with(|| a.bytes.cmp(&b.bytes));
        repositories.sort_by(|a, b| cheaper(&b.amount, &a.amount));
        Costs {
            total: self.all.total.rounded(),
            kinds: self.all.kinds(),
            registries: registries.collect(),
            repositories,
            transfers: transfers.collect(),
            unpriced_regions: self.unpriced_regions,
        }
    }
}

impl Costs {
    /// Sums up what listings saw.
    #[must_use]
    pub fn of(listings: &BTreeMap<Registry, RegistryListing>, scope: &CostScope<'_>, prices: &PriceTable) -> Self {
        let mut sums = Sums::default();
        let counts = |registry: &Registry| scope.registry.is_none_or(|only| only == registry);
        let chosen = |repository: &RepositoryName| scope.repositories.is_none_or(|pattern| pattern.covers(repository));
        for (registry, listing) in listings.iter().filter(|(registry, _)| counts(registry)) {
            for (repository, inventory) in listing.repositories.iter().filter(|(repository, _)| chosen(repository)) {
                for (digest, entry) in inventory {
                    let copy = CopyOf { registry, repository, digest, entry };
                    if let Some(source) = transferred_from(entry, scope.transferred_since) {
                        sums.add_transferred(&copy, source, prices);
                    }
                    if scope.unpulled_since.is_none_or(|since| entry.is_unpulled_since(since)) {
                        sums.add_stored(&copy, copy.kind(listings), prices);
                    }
                }
            }
        }
        sums.costs()
    }
}

/// The source of a replica that arrived since a time.
fn transferred_from(entry: &InventoryEntry, since: Timestamp) -> Option<&Registry> {
    let Origin::Replicated(sources) = &entry.origin else { return None };
    sources.first().filter(|_| entry.arrived_at >= Some(since))
}

impl CopyOf<'_> {
    /// The size. ECR reports for an index that of its largest image, which is listed itself.
    fn bytes(&self) -> u64 {
        if self.entry.kind == ManifestKind::Index { 0 } else { self.entry.size_bytes }
    }

    fn kind(&self, listings: &BTreeMap<Registry, RegistryListing>) -> CopyKind {
        let entry = self.entry;
        match &entry.origin {
            Origin::Replicated(sources) if self.is_orphan(sources, listings) => CopyKind::Orphan,
            // Signatures and other artifacts are found by their subject, and have no tag.
            _ if !entry.tagged && entry.kind != ManifestKind::Referrer => CopyKind::Untagged,
            Origin::Replicated(_) => CopyKind::Replica,
            Origin::Pushed => CopyKind::Source,
            Origin::Unknown => CopyKind::Unknown,
        }
    }

    /// Whether every source was listed without the image. A source that was listed before the replica arrived may have got
    /// the image after that.
    fn is_orphan(&self, sources: &BTreeSet<Registry>, listings: &BTreeMap<Registry, RegistryListing>) -> bool {
        let Some(arrived_at) = self.entry.arrived_at else { return false };
        let lacks = |listing: &RegistryListing| {
            let inventory = listing.repositories.get(self.repository);
            inventory.is_none_or(|inventory| !inventory.contains_key(self.digest))
        };
        let lost = |source: &Registry| {
            listings.get(source).is_some_and(|listing| listing.listed_at > Some(arrived_at) && lacks(listing))
        };
        !sources.is_empty() && sources.iter().all(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IRELAND: &str = "111122223333/eu-west-1";
    const TOKYO: &str = "111122223333/ap-northeast-1";
    const FRANKFURT: &str = "111122223333/eu-central-1";

    fn registry(name: &str) -> Registry {
        name.parse().unwrap()
    }

    fn at(day: &str) -> Option<Timestamp> {
        Some(format!("2026-{day}T00:00:00Z").parse().unwrap())
    }

    fn entry(gigabytes: u64, arrived: &str, origin: Origin) -> InventoryEntry {
        InventoryEntry {
            size_bytes: gigabytes * 1_000_000_000,
            arrived_at: at(arrived),
            last_pulled_at: None,
            archived: false,
            tagged: true,
            kind: ManifestKind::Image,
            origin,
        }
    }

    fn listing(listed: &str, images: Vec<(char, InventoryEntry)>) -> RegistryListing {
        let digest = |letter: char| format!("sha256:{}", letter.to_string().repeat(64)).parse().unwrap();
        let inventory = images.into_iter().map(|(letter, entry)| (digest(letter), entry)).collect();
        RegistryListing { listed_at: at(listed), repositories: [("team/app".parse().unwrap(), inventory)].into() }
    }

    fn from(sources: &[&str]) -> Origin {
        Origin::Replicated(sources.iter().map(|name| registry(name)).collect())
    }

    fn scope() -> CostScope<'static> {
        let transferred_since = at("11-01").unwrap();
        CostScope { registry: None, repositories: None, unpulled_since: None, transferred_since }
    }

    fn world() -> BTreeMap<Registry, RegistryListing> {
        let ireland = listing(
            "11-30",
            vec![
                ('a', entry(10, "11-10", Origin::Pushed)),
                ('b', InventoryEntry { tagged: false, ..entry(4, "06-01", Origin::Pushed) }),
                ('c', InventoryEntry { kind: ManifestKind::Index, ..entry(7, "11-10", Origin::Pushed) }),
            ],
        );
        let tokyo = listing(
            "11-30",
            vec![
                ('a', InventoryEntry { last_pulled_at: at("11-29"), ..entry(10, "11-10", from(&[IRELAND])) }),
                ('d', entry(5, "06-01", from(&[IRELAND]))),
                ('e', InventoryEntry { archived: true, ..entry(2, "06-01", Origin::Unknown) }),
            ],
        );
        [(registry(IRELAND), ireland), (registry(TOKYO), tokyo)].into()
    }

    fn kinds(costs: &[KindCost]) -> Vec<(&'static str, bool, u64, f64)> {
        costs.iter().map(|cost| (cost.kind.as_str(), cost.archived, cost.amount.copies, cost.amount.usd)).collect()
    }

    #[test]
    fn sizes_become_money_by_registry_and_kind() {
        let costs = Costs::of(&world(), &scope(), &PriceTable::of_aws());
        assert_eq!((costs.total.copies, costs.total.bytes, costs.total.usd), (6, 31_000_000_000, 3.1));
        let [tokyo, ireland] = &costs.registries[..] else { panic!("{costs:?}") };
        assert_eq!(kinds(&ireland.kinds), [("untagged", false, 1, 0.4), ("source", false, 2, 1.0)]);
        assert_eq!(
            kinds(&tokyo.kinds),
            [("orphan", false, 1, 0.5), ("replica", false, 1, 1.0), ("unknown", true, 1, 0.2)]
        );
        let [transfer] = &costs.transfers[..] else { panic!("{costs:?}") };
        assert_eq!((transfer.destination.as_str(), transfer.amount.copies, transfer.amount.usd), (TOKYO, 1, 0.2));
        assert!(costs.unpriced_regions.is_empty());
    }

    #[test]
    fn only_what_was_not_pulled_counts_if_that_is_asked() {
        let unpulled_since = at("09-01");
        let costs = Costs::of(&world(), &CostScope { unpulled_since, ..scope() }, &PriceTable::of_aws());
        assert_eq!((costs.total.copies, costs.total.usd), (3, 1.1));
        let tokyo = registry(TOKYO);
        let of_tokyo = CostScope { unpulled_since, registry: Some(&tokyo), ..scope() };
        assert_eq!(Costs::of(&world(), &of_tokyo, &PriceTable::of_aws()).total.copies, 2);
        let other = "prod/*".parse().unwrap();
        let of_prod = CostScope { repositories: Some(&other), ..scope() };
        assert_eq!(Costs::of(&world(), &of_prod, &PriceTable::of_aws()).total.copies, 0);
    }

    #[test]
    fn a_price_that_is_unknown_is_not_guessed() {
        let frankfurt = listing("11-30", vec![('a', entry(3, "11-10", from(&[IRELAND])))]);
        let listings = [(registry(FRANKFURT), frankfurt)].into();
        let costs = Costs::of(&listings, &scope(), &PriceTable::of_aws());
        assert_eq!((costs.total.usd, costs.total.unpriced_bytes), (0.0, 3_000_000_000));
        assert_eq!(costs.unpriced_regions, ["eu-central-1".to_owned()].into());
        assert_eq!(costs.transfers[0].amount.usd, 0.06);
    }

    #[test]
    fn a_replica_is_an_orphan_only_if_every_source_was_listed_without_it_since() {
        let kind = |origin: Origin, sources: Vec<(&str, RegistryListing)>| {
            let replica = listing("11-30", vec![('a', entry(1, "11-10", origin))]);
            let mut listings: BTreeMap<_, _> =
                sources.into_iter().map(|(name, listing)| (registry(name), listing)).collect();
            listings.insert(registry(TOKYO), replica);
            let tokyo = registry(TOKYO);
            let costs = Costs::of(&listings, &CostScope { registry: Some(&tokyo), ..scope() }, &PriceTable::of_aws());
            costs.kinds[0].kind
        };
        let one = from(&[IRELAND]);
        assert_eq!(kind(one.clone(), vec![(IRELAND, listing("11-29", vec![]))]), CopyKind::Orphan);
        let has = || listing("11-29", vec![('a', entry(1, "11-09", Origin::Pushed))]);
        assert_eq!(kind(one.clone(), vec![(IRELAND, has())]), CopyKind::Replica);
        assert_eq!(kind(one.clone(), vec![(IRELAND, listing("11-09", vec![]))]), CopyKind::Replica);
        assert_eq!(kind(one.clone(), vec![(IRELAND, RegistryListing::default())]), CopyKind::Replica);
        assert_eq!(kind(one, vec![]), CopyKind::Replica);
        let two = from(&[IRELAND, FRANKFURT]);
        assert_eq!(kind(two, vec![(IRELAND, listing("11-29", vec![]))]), CopyKind::Replica);
    }
}
