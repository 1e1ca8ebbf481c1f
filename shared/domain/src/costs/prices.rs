//! List prices by region, in one table with its date and sources.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// Prices by region. What is not in the table is unknown, and never estimated.
#[derive(Debug, Clone, PartialEq)]
pub struct PriceTable {
    /// The tables that it was made of: first this program's, then the caller's.
    pub origins: Vec<PriceOrigin>,
    regions: BTreeMap<String, RegionPrices>,
}

/// Where prices are from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PriceOrigin {
    /// When the prices were read.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Date))]
    pub date: Date,
    /// The pages that they were read from, in the order of the table.
    pub sources: Vec<String>,
}

/// The file of a table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceFile {
    date: Date,
    sources: Vec<String>,
    regions: BTreeMap<String, RegionPrices>,
}

/// The prices of one region, in USD.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegionPrices {
    /// A GB-month of standard storage.
    standard: Option<f64>,
    /// A GB-month of archive storage. From 150 TB on it is cheaper; this is the price up to there.
    archive: Option<f64>,
    /// A GB to another region. AWS charges transfer to the region that it comes from.
    /// <https://aws.amazon.com/about-aws/global-infrastructure/global-network/faqs/>
    transfer: Option<f64>,
    /// A GB to regions with another price.
    #[serde(default)]
    transfer_to: BTreeMap<String, f64>,
}

impl PriceTable {
    /// AWS's list prices, as far as they are known.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test reads the same text")]
    pub fn of_aws() -> Self {
        Self::read(include_str!("prices.json")).expect("the table in this program is valid")
    }

    /// Reads a table.
    ///
    /// # Errors
    /// When the text is not a table, or a price is negative.
    pub fn read(text: &str) -> Result<Self, String> {
        let PriceFile { date, sources, regions } = serde_json::from_str(text).map_err(|error| error.to_string())?;
        for (region, prices) in &regions {
            let RegionPrices { standard, archive, transfer, transfer_to } = prices;
            let all = [standard, archive, transfer].into_iter().flatten().chain(transfer_to.values());
            if let Some(wrong) = all.into_iter().find(|price| **price < 0.0) {
                return Err(format!("a price of {region} is {wrong}"));
            }
        }
        Ok(Self { origins: vec![PriceOrigin { date, sources }], regions })
    }

    /// The table with the regions of another one in place of its own.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.origins.extend(other.origins);
        self.regions.extend(other.regions);
        self
    }

    /// The price of a GB-month in a region; `None` if it is unknown.
    #[must_use]
    pub fn storage(&self, region: &str, archived: bool) -> Option<f64> {
        let prices = self.regions.get(region)?;
        if archived { prices.archive } else { prices.standard }
    }

    /// The price of a GB from a region to another; `None` if it is unknown. Transfer within a region is free.
    /// <https://aws.amazon.com/ecr/pricing/>
    #[must_use]
    pub fn transfer(&self, from: &str, to: &str) -> Option<f64> {
        if from == to {
            return Some(0.0);
        }
        let prices = self.regions.get(from)?;
        prices.transfer_to.get(to).copied().or(prices.transfer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_the_table_is_unknown() {
        let prices = PriceTable::of_aws();
        assert_eq!(prices.storage("eu-west-1", false), Some(0.10));
        assert_eq!(prices.storage("eu-west-1", true), None);
        assert_eq!(prices.storage("eu-central-1", false), None);
        assert_eq!(prices.transfer("us-east-1", "eu-west-1"), Some(0.02));
        assert_eq!(prices.transfer("us-east-1", "us-east-2"), Some(0.01));
        assert_eq!(prices.transfer("eu-central-1", "eu-west-1"), None);
        assert_eq!(prices.transfer("eu-central-1", "eu-central-1"), Some(0.0));
    }

    #[test]
    fn another_table_replaces_whole_regions() {
        let mine = r#"{"date": "2026-11-30", "sources": ["contract"], "regions": {"eu-west-1": {"standard": 0.08}}}"#;
        let prices = PriceTable::of_aws().with(PriceTable::read(mine).unwrap());
        assert_eq!(prices.storage("eu-west-1", false), Some(0.08));
        assert_eq!(prices.transfer("eu-west-1", "us-east-1"), None);
        assert_eq!(prices.storage("us-east-1", false), Some(0.10));
        assert_eq!(prices.origins.len(), 2);
        for wrong in ["{}", &mine.replace("0.08", "-1"), &mine.replace("standard", "normal")] {
            assert!(PriceTable::read(wrong).is_err(), "{wrong}");
        }
    }
}
