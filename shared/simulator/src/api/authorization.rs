//! `GetAuthorizationToken`, and what its tokens say.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html>

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use domain::image::Registry;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;

use super::{ApiCaller, ApiResult, between, read, time};
use crate::{clock::later, world::World};

/// "The authorization token is valid for 12 hours."
const VALID: SignedDuration = SignedDuration::from_hours(12);

/// The name of the user in every token.
const USER: &str = "AWS";

/// The most registries in a call. <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html>
const MAX_REGISTRIES: usize = 10;

pub(super) fn get_authorization_token(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        registry_ids: Option<Vec<String>>,
    }
    let Request { registry_ids } = read(body)?;
    let accounts = registry_ids.unwrap_or_else(|| vec![caller.account.clone()]);
    between("registryIds", &accounts, MAX_REGISTRIES)?;
    let expires = later(world.now(), VALID);
    let token = BASE64_STANDARD.encode(format!("{USER}:{}", password(caller, expires)));
    let mut data = Vec::new();
    for account in accounts {
        let registry = world.registry_of(caller, Some(&account))?;
        let proxy = format!("https://{}", registry.host());
        data.push(json!({"authorizationToken": token, "expiresAt": time(expires), "proxyEndpoint": proxy}));
    }
    Ok(json!({"authorizationData": data}))
}

/// A password that names the caller and its region (B4). It is no secret: the simulator checks no signatures either.
fn password(caller: &ApiCaller, expires: Timestamp) -> String {
    let ApiCaller { account, region, arn } = caller;
    BASE64_URL_SAFE_NO_PAD.encode(format!("{account}/{region}/{}/{arn}", expires.as_second()))
}

/// The caller whom the credentials of `Basic` authentication name, and when they expire.
pub(crate) fn caller_of_token(credentials: &str) -> Option<(ApiCaller, Timestamp)> {
    let decoded = |text: String| String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok();
    let credentials = String::from_utf8(BASE64_STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (user, password) = credentials.split_once(':')?;
    let said = decoded(password.to_owned()).filter(|_| user == USER)?;
    let mut parts = said.splitn(4, '/');
    let (account, region, expires, arn) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Registry::new(account, region).ok()?;
    let expires = Timestamp::from_second(expires.parse().ok()?).ok()?;
    Some((ApiCaller { account: account.to_owned(), region: region.to_owned(), arn: arn.to_owned() }, expires))
}
