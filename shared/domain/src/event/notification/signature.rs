//! What SNS signs of a message, and where its certificates are.
//! <https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message-verify-message-signature.html>

use std::{fmt, str::FromStr};

use serde_json::Value;

use super::{Envelope, Kind};
use crate::{
    event::{EventError, text},
    image::MalformedError,
    partition::Partition,
};

/// The signed part of a message, and what proves that SNS signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The text that is signed.
    pub text: String,
    /// The signature: Base64.
    pub signature: String,
    /// Where the certificate is.
    pub certificate: CertificateUrl,
}

/// Why a message cannot have a signature that proves it.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// A field that is signed, or that says how, is missing or malformed.
    #[error("SNS did not sign it")]
    Field(#[from] EventError),
    /// The signature is not of the version that the hub accepts.
    #[error(
        "its signature has version `{version}`, and only version 2 (SHA-256) is accepted: deploy infra/registry.yaml \
         again, or set the topic's attribute SignatureVersion to 2"
    )]
    Version {
        /// SNS's name of the version; 1 is SHA-1.
        version: String,
    },
}

impl Envelope {
    /// The signed part of the message.
    ///
    /// The text names fields and values line by line, and values may contain line ends. `TopicArn` and `Type` are
    /// certain nevertheless: they are its last two fields, and neither can contain a line end.
    ///
    /// # Errors
    /// When a field is missing, or the signature is not of version 2.
    pub fn signed(&self) -> Result<Signed, SignatureError> {
        let message = &self.message;
        let version = text(message, "SignatureVersion")?;
        if version != "2" {
            return Err(SignatureError::Version { version: version.to_owned() });
        }
        let fields: &[_] = match self.kind {
            Kind::Notification => &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
            Kind::SubscriptionConfirmation | Kind::UnsubscribeConfirmation => {
                &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
            }
        };
        let mut signed = String::new();
        for field in fields {
            let value = match message.get(field) {
                Some(Value::String(value)) => value,
                // The only field that SNS may leave out.
                None | Some(Value::Null) if *field == "Subject" => continue,
                _ => text(message, field)?,
            };
            signed.extend([field, "\n", value, "\n"]);
        }
        let certificate = text(message, "SigningCertURL")?.parse();
        let certificate = certificate.map_err(|source| EventError::Field { field: "SigningCertURL", source })?;
        Ok(Signed { text: signed, signature: text(message, "Signature")?.to_owned(), certificate })
    }
}

/// The URL of a certificate of SNS: `https://sns.REGION.amazonaws.com/SimpleNotificationService-HEX.pem`.
///
/// The author of what this URL answers can sign any message. So it has nothing but the parts of SNS's own URLs, and
/// the region looks like one: `sns.s3-us-west-2.amazonaws.com` is a bucket that is named `sns`
/// (<https://spaceraccoon.dev/exploiting-improper-validation-amazon-simple-notification-service/>).
///
/// The region may be another one than the topic's. AWS does not say which region signs a delivery into another region,
/// and it does not matter: SNS signs in no region a `TopicArn` that is not the sender's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateUrl(String);

const URL_RULE: &str = "expected `https://sns.REGION.amazonaws.com/SimpleNotificationService-HEX.pem`";

impl CertificateUrl {
    /// The URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CertificateUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CertificateUrl {
    type Err = MalformedError;

    fn from_str(url: &str) -> Result<Self, MalformedError> {
        let is_of_sns = url.strip_prefix("https://sns.").and_then(|rest| rest.split_once('/')).is_some_and(|parts| {
            let (place, file) = parts;
            let of_sns = |(region, suffix)| is_region(region) && suffix == Partition::of(region).dns_suffix;
            let hash = file.strip_prefix("SimpleNotificationService-").and_then(|name| name.strip_suffix(".pem"));
            place.split_once('.').is_some_and(of_sns) && hash.is_some_and(is_hash)
        });
        match is_of_sns {
            true => Ok(Self(url.to_owned())),
            false => Err(MalformedError::new(url, "the URL of a certificate of SNS", URL_RULE)),
        }
    }
}

/// Whether a name looks like a region, such as `us-east-1`, `us-gov-west-1` or `eusc-de-east-1`.
fn is_region(name: &str) -> bool {
    let parts: Vec<_> = name.split('-').collect();
    let [area, directions @ .., number] = &*parts else { return false };
    let letters = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    letters(area)
        && (2..=4).contains(&area.len())
        && (1..=2).contains(&directions.len())
        && directions.iter().all(|part| letters(part))
        && number.len() == 1
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_hash(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const URL: &str = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem";

    fn message(kind: &str) -> Value {
        json!({
            "Type": kind, "MessageId": "m", "TopicArn": "arn:aws:sns:us-east-1:111122223333:events",
            "Message": "Grüße 🦀\nMessageId\nx", "Timestamp": "2026-11-16T12:00:07.335Z", "Token": "t",
            "SubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=t",
            "SignatureVersion": "2", "Signature": "c2lnbmVk", "SigningCertURL": URL,
        })
    }

    fn signed(message: &Value) -> Result<Signed, SignatureError> {
        Envelope::read(message.to_string().as_bytes()).unwrap().signed()
    }

    #[test]
    fn the_signed_text_has_the_fields_of_the_type_in_their_order() {
        let notification = "Message\nGrüße 🦀\nMessageId\nx\nMessageId\nm\nTimestamp\n2026-11-16T12:00:07.335Z\nTopicArn\n\
                            arn:aws:sns:us-east-1:111122223333:events\nType\nNotification\n";
        let of = signed(&message("Notification")).unwrap();
        assert_eq!((of.text.as_str(), of.signature.as_str()), (notification, "c2lnbmVk"));
        assert_eq!(of.certificate.as_str(), URL);
        // A subject is signed even if it is empty.
        for subject in ["My subject", ""] {
            let mut with = message("Notification");
            with["Subject"] = subject.into();
            let expected = notification.replace("Timestamp\n", &format!("Subject\n{subject}\nTimestamp\n"));
            assert_eq!(signed(&with).unwrap().text, expected);
        }
        let mut without = message("Notification");
        without["Subject"] = Value::Null;
        assert_eq!(signed(&without).unwrap().text, notification);
        // AWS's validator for JavaScript leaves the token out of the second type, and so refuses what SNS signed.
        for kind in ["SubscriptionConfirmation", "UnsubscribeConfirmation"] {
            let url = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=t";
            let expected = notification
                .replace("Timestamp\n", &format!("SubscribeURL\n{url}\nTimestamp\n"))
                .replace("TopicArn\n", "Token\nt\nTopicArn\n")
                .replace("Notification\n", &format!("{kind}\n"));
            assert_eq!(signed(&message(kind)).unwrap().text, expected);
        }
    }

    #[test]
    fn each_signed_field_is_required_and_version_1_is_refused() {
        let error = |kind: &str, field: &str, value: Value| {
            let mut changed = message(kind);
            changed[field] = value;
            let error = signed(&changed).unwrap_err();
            match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            }
        };
        for field in ["Message", "MessageId", "Signature", "SigningCertURL", "SignatureVersion"] {
            let missing = format!("SNS did not sign it: field `{field}` is missing");
            assert_eq!(error("Notification", field, Value::Null), missing);
        }
        for kind in ["SubscriptionConfirmation", "UnsubscribeConfirmation"] {
            for field in ["SubscribeURL", "Token"] {
                let missing = format!("SNS did not sign it: field `{field}` is missing");
                assert_eq!(error(kind, field, Value::Null), missing);
            }
        }
        assert!(error("Notification", "Subject", json!(5)).contains("`Subject`"));
        for version in ["1", "3", "02"] {
            let said = error("Notification", "SignatureVersion", version.into());
            assert!(said.starts_with(&format!("its signature has version `{version}`, and only version 2")), "{said}");
        }
    }

    #[test]
    fn only_sns_serves_certificates() {
        let file = "SimpleNotificationService-3250158c6506d40be628c21ed8dbcba1.pem";
        for place in [
            "us-east-1.amazonaws.com",
            "ap-southeast-7.amazonaws.com",
            "us-gov-west-1.amazonaws.com",
            "cn-north-1.amazonaws.com.cn",
            "eusc-de-east-1.amazonaws.eu",
            "us-isob-east-1.sc2s.sgov.gov",
        ] {
            let url = format!("https://sns.{place}/{file}");
            assert_eq!(url.parse::<CertificateUrl>().unwrap().as_str(), url);
        }
        for host in [
            "sns.s3-us-west-2.amazonaws.com",
            "sns.s3-website-us-west-2.amazonaws.com",
            "sns.s3.amazonaws.com",
            "sns.s3.us-west-2.amazonaws.com",
            "sns.us-east-1.s3.amazonaws.com",
            "sns.compute-1.amazonaws.com",
            "sns.amazonaws.com",
            "sns.us-east-1.amazonaws.com.evil.example",
            "sns.us-east-1.amazonaws.com.cn.evil.example",
            "sns.us-east-1.amazonaws.com.cn",
            "sns.us-east-1.amazonaws.org",
            "sns.us-east-1amazonaws.com",
            "sns.evil.example#.us-east-1.amazonaws.com",
            "sns.us-east-1.evil.example?.amazonaws.com",
            "evil.sns.us-east-1.amazonaws.com",
            "sns-us-east-1.amazonaws.com",
            "sns.us-east-1.amazonaws.com:443",
            "sns.us-east-1.amazonaws.com:8443",
            "user@sns.us-east-1.amazonaws.com",
            "sns.us-east-1.amazonaws.com@evil.example",
            "SNS.us-east-1.amazonaws.com",
            "sns.US-EAST-1.amazonaws.com",
            "sns.us-east-1.amazonaws.com.",
            "sns.us-east-1\u{0430}.amazonaws.com",
            "localhost",
            "169.254.169.254",
            "",
        ] {
            assert!(format!("https://{host}/{file}").parse::<CertificateUrl>().is_err(), "{host}");
        }
        for url in [
            format!("http://sns.us-east-1.amazonaws.com/{file}"),
            format!("https:/sns.us-east-1.amazonaws.com/{file}"),
            format!(" https://sns.us-east-1.amazonaws.com/{file}"),
            format!("https://sns.us-east-1.amazonaws.com/{file}?Action=GetTopicAttributes"),
            format!("https://sns.us-east-1.amazonaws.com/{file}#x"),
            format!("https://sns.us-east-1.amazonaws.com/{file}\n"),
            format!("https://sns.us-east-1.amazonaws.com//{file}"),
            format!("https://sns.us-east-1.amazonaws.com/x/{file}"),
            format!("https://sns.us-east-1.amazonaws.com/x\\{file}"),
            "https://sns.us-east-1.amazonaws.com/cert.pem".to_owned(),
            "https://sns.us-east-1.amazonaws.com/?x=/SimpleNotificationService-a.pem".to_owned(),
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-.pem".to_owned(),
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-..pem".to_owned(),
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-a/../../b.pem".to_owned(),
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-%61.pem".to_owned(),
            format!("https://sns.us-east-1.amazonaws.com/SimpleNotificationService-{}.pem", "a".repeat(65)),
        ] {
            assert!(url.parse::<CertificateUrl>().is_err(), "{url}");
        }
    }
}
