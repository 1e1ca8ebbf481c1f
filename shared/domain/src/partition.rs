//! AWS's partitions: which regions they have, and what ARNs and host names look like in them.
//!
//! Names, regions and suffixes: `partitions.json` of
//! [botocore](https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json). The hosts of registries:
//! [ECR endpoints](https://docs.aws.amazon.com/general/latest/gr/ecr.html), and for the other partitions
//! [AWS's credential helper](https://github.com/awslabs/amazon-ecr-credential-helper/blob/main/ecr-login/api/client.go).

use crate::image::Registry;

/// A partition: a group of regions with accounts, ARNs and host names of their own. Nothing crosses its border: no
/// replication, no role, no event.
#[derive(Debug, PartialEq, Eq)]
pub struct Partition {
    /// The name, as in ARNs.
    pub name: &'static str,
    /// The suffix of host names.
    pub dns_suffix: &'static str,
    /// The suffix of the dual-stack hosts of registries, where there are any.
    dual_stack_suffix: Option<&'static str>,
    /// How the names of its regions begin.
    regions: &'static str,
}

/// The partition of all regions that no other partition has.
const STANDARD: Partition = partition("aws", "amazonaws.com", Some("on.aws"), "");

const OTHERS: [Partition; 7] = [
    partition("aws-cn", "amazonaws.com.cn", Some("on.amazonwebservices.com.cn"), "cn-"),
    partition("aws-us-gov", "amazonaws.com", Some("on.aws"), "us-gov-"),
    partition("aws-eusc", "amazonaws.eu", Some("on.amazonwebservices.eu"), "eusc-"),
    partition("aws-iso", "c2s.ic.gov", None, "us-iso-"),
    partition("aws-iso-b", "sc2s.sgov.gov", None, "us-isob-"),
    partition("aws-iso-e", "cloud.adc-e.uk", None, "eu-isoe-"),
    partition("aws-iso-f", "csp.hci.ic.gov", None, "us-isof-"),
];

const fn partition(
    name: &'static str,
    dns_suffix: &'static str,
    dual_stack_suffix: Option<&'static str>,
    regions: &'static str,
) -> Partition {
    Partition { name, dns_suffix, dual_stack_suffix, regions }
}

impl Partition {
    /// The partition of a region.
    #[must_use]
    pub fn of(region: &str) -> &'static Self {
        OTHERS.iter().find(|partition| region.starts_with(partition.regions)).unwrap_or(&STANDARD)
    }

    /// The ARN of something of IAM in an account, such as `role/reader`. IAM has no regions.
    #[must_use]
    pub fn iam_arn(&self, account: &str, resource: &str) -> String {
        format!("arn:{}:iam::{account}:{resource}", self.name)
    }
}

impl Registry {
    /// The partition of the registry's region.
    #[must_use]
    pub fn partition(&self) -> &'static Partition {
        Partition::of(self.region())
    }

    /// The ARN of something in the registry's account and region, such as `repository/team/app` of `ecr`.
    #[must_use]
    pub fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:{}:{service}:{}:{}:{resource}", self.partition().name, self.region(), self.account())
    }

    /// The host name of the registry, as in the URIs of its repositories.
    /// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html>
    #[must_use]
    pub fn host(&self) -> String {
        format!("{}.dkr.ecr.{}.{}", self.account(), self.region(), self.partition().dns_suffix)
    }

    /// The registry that has this host name: the usual one, dual-stack, FIPS or both, with or without a port.
    #[must_use]
    pub fn from_host(host: &str) -> Option<Self> {
        let host = host.to_ascii_lowercase();
        let host = host.split_once(':').map_or(&*host, |(host, _)| host);
        let (account, rest) = host.split_once('.')?;
        let (rest, dual_stack) = match rest.strip_prefix("dkr.") {
            Some(rest) => (rest, false),
            None => (rest.strip_prefix("dkr-")?, true),
        };
        let (_, rest) = rest.split_once('.').filter(|(service, _)| ["ecr", "ecr-fips"].contains(service))?;
        let (region, suffix) = rest.split_once('.')?;
        let registry = Self::new(account, region).ok()?;
        let partition = registry.partition();
        let expected = if dual_stack { partition.dual_stack_suffix } else { Some(partition.dns_suffix) };
        (Some(suffix) == expected).then_some(registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_decides_the_partition_and_its_names() {
        for (region, partition, host) in [
            ("eu-west-1", "aws", "111122223333.dkr.ecr.eu-west-1.amazonaws.com"),
            ("eu-central-1", "aws", "111122223333.dkr.ecr.eu-central-1.amazonaws.com"),
            ("us-isolated-1", "aws", "111122223333.dkr.ecr.us-isolated-1.amazonaws.com"),
            ("cn-north-1", "aws-cn", "111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn"),
            ("us-gov-west-1", "aws-us-gov", "111122223333.dkr.ecr.us-gov-west-1.amazonaws.com"),
            ("eusc-de-east-1", "aws-eusc", "111122223333.dkr.ecr.eusc-de-east-1.amazonaws.eu"),
            ("us-iso-east-1", "aws-iso", "111122223333.dkr.ecr.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", "aws-iso-b", "111122223333.dkr.ecr.us-isob-east-1.sc2s.sgov.gov"),
            ("eu-isoe-west-1", "aws-iso-e", "111122223333.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk"),
            ("us-isof-south-1", "aws-iso-f", "111122223333.dkr.ecr.us-isof-south-1.csp.hci.ic.gov"),
        ] {
            let registry = Registry::new("111122223333", region).unwrap();
            assert_eq!((registry.partition().name, &*registry.host()), (partition, host));
            assert_eq!(
                registry.arn("ecr", "repository/team/app"),
                format!("arn:{partition}:ecr:{region}:111122223333:repository/team/app")
            );
            assert_eq!(
                registry.partition().iam_arn("111122223333", "root"),
                format!("arn:{partition}:iam::111122223333:root")
            );
            assert_eq!(Registry::from_host(host), Some(registry.clone()));
            assert_eq!(Registry::from_host(&format!("{host}:443")), Some(registry));
        }
    }

    #[test]
    fn every_host_of_a_registry_is_read_and_no_other() {
        for (host, registry) in [
            ("111122223333.dkr-ecr.eu-west-1.on.aws", "111122223333/eu-west-1"),
            ("111122223333.dkr.ecr-fips.us-east-1.amazonaws.com", "111122223333/us-east-1"),
            ("111122223333.dkr-ecr-fips.us-gov-east-1.on.aws", "111122223333/us-gov-east-1"),
            ("111122223333.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn", "111122223333/cn-north-1"),
            ("111122223333.dkr-ecr.eusc-de-east-1.on.amazonwebservices.eu:443", "111122223333/eusc-de-east-1"),
            ("111122223333.DKR.ECR.eu-west-1.amazonaws.com", "111122223333/eu-west-1"),
        ] {
            assert_eq!(Registry::from_host(host), Some(registry.parse().unwrap()), "{host}");
        }
        for host in [
            "111122223333.dkr.ecr.eu-west-1.amazonaws.com.cn",
            "111122223333.dkr.ecr.cn-north-1.amazonaws.com",
            "111122223333.dkr.ecr.eu-west-1.amazonaws.com.example.org",
            "111122223333.dkr.ecr.eu-west-1.on.aws",
            "111122223333.dkr.s3.eu-west-1.amazonaws.com",
            "1.dkr.ecr.eu-west-1.amazonaws.com",
            "public.ecr.aws",
            "localhost:4567",
        ] {
            assert_eq!(Registry::from_host(host), None, "{host}");
        }
    }
}
