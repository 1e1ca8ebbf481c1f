//! Configuration from environment variables.

use aws::environment::{ConfigErrors, Environment};
use domain::event::notification::Senders;

/// Configuration of `record`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `TABLE_NAME`: the DynamoDB table to record into.
    pub table: String,
    /// `TOPIC_NAME`, `ACCOUNT_IDS` and `ORGANIZATION_ID`: the topics from which messages are taken.
    pub senders: Senders,
    /// `SNS_SIGNATURES`: whether messages must be signed by SNS.
    pub signatures: Signatures,
}

/// Whether messages must be signed by SNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signatures {
    /// They must.
    Verify,
    /// For emulators alone, which do not sign: any message is believed, whatever topic it names.
    Ignore,
}

impl Config {
    /// Reads the configuration. `variable` returns the value of an environment variable.
    ///
    /// # Errors
    /// When `TABLE_NAME` or `TOPIC_NAME` is not set, or no account may send.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut environment = Environment::new(variable);
        let table = environment.table();
        let senders = Senders {
            topic_name: environment.required("TOPIC_NAME", "the name of the SNS topic in each registry's stack"),
            accounts: environment.list("ACCOUNT_IDS").into_iter().collect(),
            organization: environment.text("ORGANIZATION_ID").is_some(),
        };
        if senders.accounts.is_empty() && !senders.organization {
            environment.invalid("ACCOUNT_IDS", "is not set: the accounts that may send events".to_owned());
        }
        let signatures = match environment.text("SNS_SIGNATURES").as_deref() {
            None | Some("verify") => Signatures::Verify,
            Some("ignore") => Signatures::Ignore,
            Some(other) => {
                environment.invalid("SNS_SIGNATURES", format!("is `{other}`: expected `verify` or `ignore`"));
                Signatures::Verify
            }
        };
        environment.finish(Self { table, senders, signatures })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_the_topic_and_the_accounts_must_be_named() {
        let read = |variables: &[(&str, &str)]| {
            let value =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            Config::read(value)
        };
        let senders = |accounts: &[&str], organization| Senders {
            topic_name: "ecr-lineage-events".to_owned(),
            accounts: accounts.iter().map(|account| (*account).to_owned()).collect(),
            organization,
        };
        let named = [
            ("TABLE_NAME", "lineage"),
            ("TOPIC_NAME", "ecr-lineage-events"),
            ("ACCOUNT_IDS", "111122223333,444455556666"),
        ];
        let config = |senders| Ok(Config { table: "lineage".to_owned(), senders, signatures: Signatures::Verify });
        assert_eq!(read(&named), config(senders(&["111122223333", "444455556666"], false)));
        let named =
            [("TABLE_NAME", "lineage"), ("TOPIC_NAME", "ecr-lineage-events"), ("ORGANIZATION_ID", "o-a1b2c3d4e5")];
        assert_eq!(read(&named), config(senders(&[], true)));
        let signatures = |value| read(&[&named[..], &[("SNS_SIGNATURES", value)]].concat());
        assert_eq!(signatures("").unwrap().signatures, Signatures::Verify);
        assert_eq!(signatures("verify").unwrap().signatures, Signatures::Verify);
        assert_eq!(signatures("ignore").unwrap().signatures, Signatures::Ignore);
        assert!(signatures("off").unwrap_err().to_string().contains("`SNS_SIGNATURES` is `off`: expected `verify`"));
        assert_eq!(
            read(&[]).unwrap_err().to_string(),
            "environment variable `TABLE_NAME` is not set: the DynamoDB table; environment variable `TOPIC_NAME` is not \
             set: the name of the SNS topic in each registry's stack; environment variable `ACCOUNT_IDS` is not set: the \
             accounts that may send events"
        );
    }
}
