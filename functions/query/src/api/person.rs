//! The person who signed in to the page, from the token that API Gateway verified.
//!
//! API Gateway verifies the token of the header `Authorization`: its signature, issuer, audience and times.
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html>
//!
//! The event has the claims of that token as texts. A list of groups is one text, `[a b]`: nothing tells the groups `a`
//! and `b` from the one group `a b`. So the claims decide who the person is, and a group counts if the claim contains
//! it and the same token lists exactly it.
//! <https://github.com/awsdocs/amazon-api-gateway-developer-guide/issues/158>

use std::collections::HashMap;

use axum::http::{HeaderMap, header};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use lambda_http::request::RequestContext;
use serde_json::{Map, Value};

use super::problem::{Problem, ProblemCode};
use crate::sign_in::SignIn;

/// A person who signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    /// The e-mail address, if the issuer verified it, and what identifies the person at the issuer.
    pub(super) name: String,
    /// Whether the person may change anything.
    pub(super) is_operator: bool,
}

/// The longest `sub`. <https://openid.net/specs/openid-connect-core-1_0.html#IDToken>
const LONGEST_SUBJECT_BYTES: usize = 255;

/// The longest e-mail address. <https://www.rfc-editor.org/errata/eid1690>
const LONGEST_EMAIL_BYTES: usize = 254;

impl Person {
    /// The person whose token API Gateway verified. Whatever is in doubt is refused.
    pub(super) fn of(sign_in: &SignIn, context: Option<&RequestContext>, headers: &HeaderMap) -> Result<Self, Problem> {
        let unknown = |detail: &str| Problem::new(ProblemCode::NotSignedIn, detail).remediation("sign in again");
        let claims = claims(context).ok_or_else(|| unknown("API Gateway verified no token of this request"))?;
        let token = payload(headers).ok_or_else(|| unknown("the header `Authorization` has no token"))?;
        let is = |name: &str, value: &str| {
            claims.get(name).is_some_and(|claim| claim == value) && token.get(name).is_some_and(|claim| claim == value)
        };
        if !is("iss", &sign_in.issuer) || !is_for(&token, &sign_in.client_id) {
            return Err(unknown("the token is of another issuer, or for another client"));
        }
        let subject =
            claims.get("sub").filter(|subject| is("sub", subject) && is_plain(subject, LONGEST_SUBJECT_BYTES));
        let subject = subject.ok_or_else(|| unknown("the token does not say who the person is"))?;
        let name = name(claims, subject, &sign_in.issuer);
        let groups = groups(claims, &token, &sign_in.groups_claim);
        let SignIn { groups_claim, reader_group, operator_group, .. } = sign_in;
        let is_operator = groups.contains(&operator_group.as_str());
        if !is_operator && !groups.contains(&reader_group.as_str()) {
            let detail = format!("{name} is in neither of the groups `{reader_group}` and `{operator_group}`");
            let remediation =
                format!("ask the issuer's administrator; the claim `{groups_claim}` of a token has the groups");
            return Err(Problem::new(ProblemCode::NoGroup, detail).remediation(remediation));
        }
        Ok(Self { name, is_operator })
    }
}

/// The claims of the token that API Gateway verified.
fn claims(context: Option<&RequestContext>) -> Option<&HashMap<String, String>> {
    let Some(RequestContext::ApiGatewayV2(context)) = context else { return None };
    Some(&context.authorizer.as_ref()?.jwt.as_ref()?.claims)
}

/// The payload of the request's only token.
fn payload(headers: &HeaderMap) -> Option<Map<String, Value>> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(header), None) = (all.next(), all.next()) else { return None };
    let header = header.to_str().ok()?;
    let mut parts = header.strip_prefix("Bearer ").unwrap_or(header).split('.');
    let (_, Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

/// Whether a token is for this client. API Gateway takes `client_id` if there is no `aud`.
fn is_for(token: &Map<String, Value>, client: &str) -> bool {
    match token.get("aud").or_else(|| token.get("client_id")) {
        Some(Value::Array(all)) => all.iter().any(|one| one == client),
        Some(one) => one == client,
        None => false,
    }
}

/// The groups that a token lists and that the verified claim contains.
fn groups<'a>(claims: &HashMap<String, String>, token: &'a Map<String, Value>, claim: &str) -> Vec<&'a str> {
    let verified = claims.get(claim).map(String::as_str).unwrap_or_default();
    let listed = match token.get(claim) {
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => vec![one.as_str()],
        _ => Vec::new(),
    };
    listed.into_iter().filter(|group| !group.is_empty() && verified.contains(group)).collect()
}

/// What is recorded about the person. An address that the issuer did not verify could be anybody's.
fn name(claims: &HashMap<String, String>, subject: &str, issuer: &str) -> String {
    let identity = format!("sub {subject} at {issuer}");
    let is_verified = claims.get("email_verified").is_some_and(|verified| verified == "true");
    let email =
        claims.get("email").filter(|email| is_verified && email.contains('@') && is_plain(email, LONGEST_EMAIL_BYTES));
    email.map_or_else(|| identity.clone(), |email| format!("{email} ({identity})"))
}

/// Whether a text has only visible ASCII characters, and no parentheses, which would make a name ambiguous.
fn is_plain(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"()".contains(&byte))
}
