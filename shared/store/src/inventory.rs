//! What listings saw of the images of repositories.
//!
//! The images of a repository in a registry are lines of text in a few items, and not items or attributes of their own:
//! if the pull time of every image changed, the listing writes one unit for about ten images, and a whole registry is
//! read with one Query for about ten thousand. A repository with more images has more parts, by the first digits of the
//! digests. Nothing is deleted: a part that is no longer used is emptied.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use domain::{
    image::{Digest, Image, Registry, RepositoryName},
    inventory::{Inventory, InventoryEntry, Origin},
    policy::ManifestKind,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Error, Table,
    item::{self, Item, ItemError, take},
};

/// The number of images in a repository from which its inventory is divided by one more digit into 16 times the parts:
/// a part then is about 27 kB, seven read units for the lineage of an image in it.
const IMAGES_PER_PART: usize = 250;

/// The most digits. A repository has 100,000 images by default, 43 kB in each of 256 parts, and ten times as many could
/// have parts of DynamoDB's 400 kB.
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html>
const MOST_DIGITS: usize = 2;

/// One part of the inventory of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    /// The number of first digits by which the inventory is divided; only in the first part, whose key has none. With 0,
    /// the first part has all images.
    #[serde(default, skip_serializing_if = "is_zero")]
    digits: usize,
    /// The sources of replicas, to which the lines refer by number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sources: Vec<Registry>,
    /// The images, one on each line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    images: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Table {
    /// Stores what a listing saw of a repository. Only parts that changed are written.
    ///
    /// # Errors
    /// When it cannot be read or written. The next listing then repeats it.
    pub async fn put_inventory(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        inventory: &Inventory,
    ) -> Result<(), Error> {
        let stored = self.inventory_parts(registry, &format!("{repository}#")).await?;
        let mut stored: BTreeMap<String, Part> = stored.into_iter().map(|(_, digits, part)| (digits, part)).collect();
        let mut parts = divided(inventory);
        if parts.values().all(|part| part.images.is_empty()) && stored.is_empty() {
            return Ok(());
        }
        // The first part comes last: until then it says how the old parts are divided.
        let first = parts.remove("").unwrap_or_default();
        let was_first = stored.remove("");
        for (digits, part) in parts {
            if stored.remove(&digits).as_ref() != Some(&part) {
                self.put_inventory_part(registry, repository, &digits, &part).await?;
            }
        }
        if was_first.as_ref() != Some(&first) {
            self.put_inventory_part(registry, repository, "", &first).await?;
        }
        for (digits, _) in stored.into_iter().filter(|(_, part)| *part != Part::default()) {
            self.put_inventory_part(registry, repository, &digits, &Part::default()).await?;
        }
        Ok(())
    }

    async fn put_inventory_part(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        digits: &str,
        part: &Part,
    ) -> Result<(), Error> {
        let key = item::key_of_inventory(registry, repository, digits);
        let item = serde_dynamo::to_item(part).map_err(|error| self.decode_error(&key.1, error.into()))?;
        self.put_always(item::with_key(item, key)).await.map(drop)
    }

    /// What the last listing of a registry saw, by repository: of the repositories whose names begin with a text.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn inventories(
        &self,
        registry: &Registry,
        prefix: &str,
    ) -> Result<BTreeMap<RepositoryName, Inventory>, Error> {
        let (mut inventories, mut divided) = (BTreeMap::<_, Inventory>::new(), None);
        // The first part of a repository comes first.
        for (repository, digits, part) in self.inventory_parts(registry, prefix).await? {
            if digits.is_empty() {
                divided = Some((repository.clone(), part.digits));
            }
            if divided.as_ref().is_none_or(|(of, length)| *of != repository || *length != digits.len()) {
                continue;
            }
            let entries = part.entries().map_err(|source| self.decode_error(repository.as_str(), source))?;
            inventories.entry(repository).or_default().extend(entries);
        }
        Ok(inventories)
    }

    /// What the last listings saw of some images in some registries: those that they saw.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn inventory_of(
        &self,
        wanted: &BTreeSet<(Registry, Image)>,
    ) -> Result<BTreeMap<(Registry, Image), InventoryEntry>, Error> {
        let first = |(registry, image): &(Registry, Image)| item::key_of_inventory(registry, &image.repository, "");
        let mut parts = BTreeMap::new();
        self.read_parts(wanted.iter().map(first).collect(), &mut parts).await?;
        let part_of = |wanted: &(Registry, Image), parts: &BTreeMap<(String, String), Part>| {
            let digits = parts.get(&first(wanted))?.digits;
            let (registry, image) = wanted;
            Some(item::key_of_inventory(registry, &image.repository, &digits_of(&image.digest, digits)))
        };
        let others = wanted.iter().filter_map(|wanted| part_of(wanted, &parts)).filter(|key| !parts.contains_key(key));
        self.read_parts(others.collect(), &mut parts).await?;
        let mut entries = BTreeMap::new();
        let mut by_part: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for wanted in wanted {
            by_part.entry(part_of(wanted, &parts)).or_default().push(wanted);
        }
        for (key, wanted) in by_part {
            let Some((part, key)) = key.as_ref().and_then(|key| Some((parts.get(key)?, key))) else { continue };
            let digests = wanted.iter().map(|(_, image)| image.digest.as_str()).collect();
            let known: Inventory = part.some(&digests).map_err(|source| self.decode_error(&key.1, source))?;
            let entry = |wanted: &(Registry, Image)| Some((wanted.clone(), known.get(&wanted.1.digest)?.clone()));
            entries.extend(wanted.into_iter().filter_map(entry));
        }
        Ok(entries)
    }

    async fn read_parts(
        &self,
        keys: BTreeSet<(String, String)>,
        parts: &mut BTreeMap<(String, String), Part>,
    ) -> Result<(), Error> {
        for item in self.get_all(keys.into_iter().collect()).await? {
            if let Some(key) = item::key_of(&item) {
                parts.insert(key, self.decode(item, decode_part)?.2);
            }
        }
        Ok(())
    }

    /// The parts of the inventories of a registry whose keys begin with a text; for each repository the first part first.
    async fn inventory_parts(
        &self,
        registry: &Registry,
        prefix: &str,
    ) -> Result<Vec<(RepositoryName, String, Part)>, Error> {
        let pk = item::pk_of_inventory(registry);
        let from = if prefix.is_empty() { item::EVERYTHING.0 } else { prefix };
        let items = self.all(&pk, self.between(&pk, (from, &format!("{prefix}~")))).await?;
        items.into_iter().map(|item| self.decode(item, decode_part)).collect()
    }
}

fn decode_part(mut item: Item) -> Result<(RepositoryName, String, Part), ItemError> {
    let sk = take(&mut item, "sk")?;
    let (repository, digits) = item::inventory_of(&sk)?;
    item.remove("pk");
    Ok((repository, digits.to_owned(), serde_dynamo::from_item(item)?))
}

/// The parts of an inventory, by the first digits of the digests in them; always with the first part.
fn divided(inventory: &Inventory) -> BTreeMap<String, Part> {
    let (mut digits, mut most) = (0, IMAGES_PER_PART);
    while inventory.len() > most && digits < MOST_DIGITS {
        (digits, most) = (digits + 1, most * 16);
    }
    let mut parts = BTreeMap::from([(String::new(), Part { digits, ..Part::default() })]);
    for (digest, entry) in inventory {
        parts.entry(digits_of(digest, digits)).or_default().add(digest, entry);
    }
    parts
}

fn digits_of(digest: &Digest, digits: usize) -> String {
    digest.encoded().chars().take(digits).collect()
}

/// The letters of a line, in this order: kind of the manifest, storage class, tagged or not, origin.
const KINDS: [(ManifestKind, char); 3] =
    [(ManifestKind::Image, 'i'), (ManifestKind::Index, 'x'), (ManifestKind::Referrer, 'r')];

impl Part {
    /// Adds a line: digest, size, times in seconds, letters, and the numbers of the sources of a replica.
    fn add(&mut self, digest: &Digest, entry: &InventoryEntry) {
        let seconds =
            |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), |time| time.as_second().to_string());
        let kind = KINDS.iter().find(|(kind, _)| *kind == entry.kind).map_or('i', |(_, letter)| *letter);
        let class = if entry.archived { 'a' } else { 's' };
        let tagged = if entry.tagged { 't' } else { 'u' };
        let (origin, sources) = match &entry.origin {
            Origin::Pushed => ('p', Vec::new()),
            Origin::Replicated(sources) => ('c', sources.iter().map(|source| self.number_of(source)).collect()),
            Origin::Unknown => ('n', Vec::new()),
        };
        let InventoryEntry { size_bytes, arrived_at, last_pulled_at, .. } = entry;
        let (arrived, pulled) = (seconds(*arrived_at), seconds(*last_pulled_at));
        _ = write!(self.images, "{digest} {size_bytes} {arrived} {pulled} {kind}{class}{tagged}{origin}");
        for source in sources {
            _ = write!(self.images, " {source}");
        }
        self.images.push('\n');
    }

    fn number_of(&mut self, source: &Registry) -> usize {
        self.sources.iter().position(|known| known == source).unwrap_or_else(|| {
            self.sources.push(source.clone());
            self.sources.len() - 1
        })
    }

    /// Every image.
    fn entries(&self) -> Result<Inventory, ItemError> {
        self.images.lines().map(|line| self.entry(line)).collect()
    }

    /// The images with these digests.
    fn some(&self, digests: &BTreeSet<&str>) -> Result<Inventory, ItemError> {
        let lines = self.images.lines().filter(|line| digests.contains(line.split(' ').next().unwrap_or_default()));
        lines.map(|line| self.entry(line)).collect()
    }

    fn entry(&self, line: &str) -> Result<(Digest, InventoryEntry), ItemError> {
        self.parsed(line).ok_or_else(|| ItemError::Line(line.to_owned()))
    }

    fn parsed(&self, line: &str) -> Option<(Digest, InventoryEntry)> {
        let mut words = line.split(' ');
        let (digest, size_bytes) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let arrived_at = time_of(words.next()?).ok()?;
        let last_pulled_at = time_of(words.next()?).ok()?;
        let mut letters = words.next()?.chars();
        let letter = letters.next()?;
        let kind = KINDS.iter().find(|(_, of)| *of == letter).map(|(kind, _)| *kind)?;
        let archived = either(letters.next()?, 'a', 's')?;
        let tagged = either(letters.next()?, 't', 'u')?;
        let sources = || words.map(|number| self.sources.get(number.parse::<usize>().ok()?).cloned());
        let origin = match letters.next()? {
            'p' => Origin::Pushed,
            'c' => Origin::Replicated(sources().collect::<Option<_>>()?),
            'n' => Origin::Unknown,
            _ => return None,
        };
        Some((digest, InventoryEntry { size_bytes, arrived_at, last_pulled_at, archived, tagged, kind, origin }))
    }
}

/// The time of a word, if it has one.
fn time_of(word: &str) -> Result<Option<Timestamp>, ()> {
    if word == "-" {
        return Ok(None);
    }
    Timestamp::from_second(word.parse().map_err(drop)?).map(Some).map_err(drop)
}

fn either(letter: char, yes: char, no: char) -> Option<bool> {
    [(yes, true), (no, false)].into_iter().find(|(of, _)| *of == letter).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64) -> InventoryEntry {
        let at = |seconds| Timestamp::from_second(seconds).ok();
        let source = |name: &str| name.parse::<Registry>().unwrap();
        let origins = [
            Origin::Pushed,
            Origin::Unknown,
            Origin::Replicated([source("111122223333/eu-west-1")].into()),
            Origin::Replicated([source("111122223333/eu-west-1"), source("444455556666/us-east-1")].into()),
        ];
        InventoryEntry {
            size_bytes: number * 1_000,
            arrived_at: at(1_700_000_000).filter(|_| !number.is_multiple_of(7)),
            last_pulled_at: at(1_750_000_000).filter(|_| !number.is_multiple_of(3)),
            archived: number.is_multiple_of(5),
            tagged: number.is_multiple_of(2),
            kind: ManifestKind::ALL[number as usize % 3],
            origin: origins[number as usize % 4].clone(),
        }
    }

    /// Images whose digests differ in their first digits, as those of real images do.
    fn inventory(images: u64) -> Inventory {
        let digest = |number: u64| {
            let first = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            format!("sha256:{first:016x}{number:048x}").parse().unwrap()
        };
        (0..images).map(|number| (digest(number), entry(number))).collect()
    }

    #[test]
    fn every_image_is_read_as_it_was_written_in_any_number_of_parts() {
        for (images, parts) in [(0, 1), (12, 1), (250, 1), (251, 17), (4_001, 257)] {
            let inventory = inventory(images);
            let divided = divided(&inventory);
            assert!(divided.len() <= parts && divided.len() > parts / 17, "{images}");
            let read: Inventory = divided.values().flat_map(|part| part.entries().unwrap()).collect();
            assert_eq!(read, inventory);
        }
    }

    #[test]
    fn a_line_of_another_form_is_an_error() {
        let line = format!("sha256:{} 7 - - istp", "a".repeat(64));
        let part = |images: &str| Part { images: images.to_owned(), ..Part::default() };
        part(&line).entries().unwrap();
        for wrong in [
            "",
            line.get(..75).unwrap(),
            &line.replace(" 7", " x"),
            &line.replace("istp", "istq"),
            &line.replace("istp", "istc 0"),
        ] {
            assert!(part(&format!("{wrong}\n")).entries().is_err(), "{wrong}");
        }
    }
}
