//! AWS STS, as far as clients of several accounts need it: `GetCallerIdentity` and `AssumeRole`.
//!
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>. Trust policies are not evaluated: every
//! caller can assume every role.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use domain::partition::Partition;
use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{ApiCaller, ApiError},
    clock::later,
};

/// The prefix of temporary access key ids; the account follows.
pub(crate) const TEMPORARY: &str = "ASIA";

/// The longest ARN of a role. <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
const MAX_ROLE_ARN: usize = 2_048;

/// The default duration of a session, in seconds.
const SESSION: i64 = 3_600;

/// Handles a form of the query protocol.
pub(crate) fn call(caller: &ApiCaller, form: &[u8], now: Timestamp, request_id: &str) -> Result<String, ApiError> {
    let form: BTreeMap<_, _> = form_urlencoded::parse(form).into_owned().collect();
    let field = |name: &str| form.get(name).map(String::as_str);
    let (name, result) = match field("Action") {
        Some("GetCallerIdentity") => {
            let ApiCaller { account, arn, .. } = caller;
            let user = arn
                .rsplit('/')
                .next()
                .filter(|_| arn.contains("assumed-role"))
                .map(|session| format!("AROA{account}:{session}"));
            let user = escaped(user.as_deref().unwrap_or(account));
            let arn = escaped(arn);
            ("GetCallerIdentity", format!("<Arn>{arn}</Arn><UserId>{user}</UserId><Account>{account}</Account>"))
        }
        Some("AssumeRole") => ("AssumeRole", assume_role(field, now)?),
        other => {
            let version = field("Version").unwrap_or("2011-06-15");
            let message = format!("Could not find operation {} for version {version}", other.unwrap_or("null"));
            return Err(ApiError::new("InvalidAction", message));
        }
    };
    Ok(format!(
        "<{name}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{name}Result>{result}</{name}Result>\
         <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{name}Response>"
    ))
}

fn assume_role<'a>(field: impl Fn(&str) -> Option<&'a str>, now: Timestamp) -> Result<String, ApiError> {
    let invalid = |what: &str| ApiError::new("ValidationError", format!("1 validation error detected: {what}"));
    let role = field("RoleArn").unwrap_or_default();
    let session = field("RoleSessionName").unwrap_or_default();
    // arn:aws:iam::111122223333:role/path/name
    let mut parts = role.splitn(6, ':');
    let (_, partition, service) = (parts.next(), parts.next().unwrap_or_default(), parts.next());
    let (_, account, resource) = (parts.next(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Some(path) = resource.strip_prefix("role/").filter(|_| service == Some("iam") && is_account(account)) else {
        return Err(invalid(&format!("Value '{role}' at 'roleArn' is not the ARN of a role")));
    };
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    if !(20..=MAX_ROLE_ARN).contains(&role.len()) {
        return Err(invalid(&format!("Value at 'roleArn' must have length between 20 and {MAX_ROLE_ARN}")));
    }
    if !(2..=64).contains(&session.len()) || !session.bytes().all(valid) {
        return Err(invalid(&format!("Value '{session}' at 'roleSessionName' must have 2 to 64 of [\\w+=,.@-]")));
    }
    let seconds = field("DurationSeconds").map_or(Ok(SESSION), str::parse).unwrap_or_default();
    if !(900..=43_200).contains(&seconds) {
        return Err(invalid("Value at 'durationSeconds' must be between 900 and 43200"));
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    let arn = format!("arn:{partition}:sts::{account}:assumed-role/{name}/{session}");
    let expiration = later(now, SignedDuration::from_secs(seconds)).strftime("%Y-%m-%dT%H:%M:%SZ");
    let (token, arn) = (BASE64_URL_SAFE_NO_PAD.encode(&arn), escaped(&arn));
    Ok(format!(
        "<Credentials><AccessKeyId>{TEMPORARY}{account}</AccessKeyId><SecretAccessKey>simulated</SecretAccessKey>\
         <SessionToken>{token}</SessionToken><Expiration>{expiration}</Expiration></Credentials>\
         <AssumedRoleUser><AssumedRoleId>AROA{account}:{session}</AssumedRoleId><Arn>{arn}</Arn></AssumedRoleUser>"
    ))
}

/// The account of every access key that names none, such as `test`: that of other local AWS tools (A4).
const OTHERS: &str = "000000000000";

/// The caller of some credentials. The access key id is the 12-digit account, or [`TEMPORARY`] and the account; any other
/// belongs to account 000000000000. The session token contains the role.
pub(crate) fn caller(access_key: &str, region: &str, token: Option<&str>) -> ApiCaller {
    let account = access_key.strip_prefix(TEMPORARY).unwrap_or(access_key);
    let account = if is_account(account) { account } else { OTHERS };
    let role = token.and_then(|token| BASE64_URL_SAFE_NO_PAD.decode(token).ok());
    let role = role.and_then(|role| String::from_utf8(role).ok()).filter(|role| role.starts_with("arn:"));
    let arn = role.unwrap_or_else(|| Partition::of(region).iam_arn(account, "root"));
    ApiCaller { account: account.to_owned(), region: region.to_owned(), arn }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Escapes a text for XML.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assumed_role_belongs_to_the_account_of_the_role() {
        let me = caller("111122223333", "eu-west-1", None);
        assert_eq!(me.arn, "arn:aws:iam::111122223333:root");
        let form =
            b"Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A444455556666%3Arole%2Fops%2Fmirror&RoleSessionName=dana";
        let answer = call(&me, form, Timestamp::UNIX_EPOCH, "id").unwrap();
        let between =
            |start: &str, end: &str| answer.split(start).nth(1).unwrap().split(end).next().unwrap().to_owned();
        let key = between("<AccessKeyId>", "<");
        let token = between("<SessionToken>", "<");
        let role = caller(&key, "eu-west-1", Some(&token));
        assert_eq!(role.account, "444455556666");
        assert_eq!(role.arn, "arn:aws:sts::444455556666:assumed-role/mirror/dana");
        assert_eq!(between("<Expiration>", "<"), "1970-01-01T01:00:00Z");
    }

    #[test]
    fn an_access_key_that_is_no_account_belongs_to_account_zero() {
        for key in ["", "test", "AKIAIOSFODNN7EXAMPLE", "11112222333", "ASIA11112222333x"] {
            assert_eq!(caller(key, "eu-west-1", None).arn, "arn:aws:iam::000000000000:root", "{key}");
        }
    }

    #[test]
    fn an_invalid_role_or_session_name_is_refused() {
        let me = caller("111122223333", "eu-west-1", None);
        for form in [
            "Action=AssumeRole&RoleArn=x&RoleSessionName=dana",
            "Action=AssumeRole&RoleArn=arn:aws:iam::444455556666:role/x&RoleSessionName=d",
        ] {
            assert_eq!(call(&me, form.as_bytes(), Timestamp::UNIX_EPOCH, "id").unwrap_err().code, "ValidationError");
        }
        assert_eq!(
            call(&me, b"Action=GetFederationToken", Timestamp::UNIX_EPOCH, "id").unwrap_err().code,
            "InvalidAction"
        );
    }
}
