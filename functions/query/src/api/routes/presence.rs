//! Whether an image is where it should be, and until it is.

use std::{sync::Arc, time::Duration};

use answers::{
    error::Error,
    presence::{self, Outcome, Place, Presence},
    time,
};
use axum::extract::{Query as Parameters, State};
use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use tokio::time::{Instant, sleep};
use utoipa::{IntoParams, ToSchema};

use super::{
    Answer, ApiResult,
    parameters::{ImageReference, several},
};
use crate::api::{Query, problem::Problem};

/// The longest wait: the answer itself needs time, too, and must be there after 25 seconds.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_secs(20);

/// The time between two reads of the table.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PresenceParameters {
    /// `REPO@sha256:…` (the digest may be shortened), `REPO:TAG`, or either with the registry's host name.
    #[param(value_type = String, example = "team/app:v1")]
    image: ImageReference,
    /// Registries (`111122223333/eu-west-1`) and regions (`ap-northeast-1`), separated by commas. Default: every destination
    /// of the replication rules of the registry to which the image was pushed.
    #[serde(default, rename = "in", deserialize_with = "several")]
    #[param(value_type = Option<String>, example = "ap-northeast-1")]
    places: Vec<Place>,
    /// Answer when the image has arrived or failed, or after this duration: at most `20s`. Default: at once.
    #[param(value_type = Option<String>, example = "1s")]
    wait: Option<Wait>,
}

#[derive(Debug, Clone, Copy)]
struct Wait(Duration);

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wait = time::back(&String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        if wait > LONGEST_WAIT {
            return Err(D::Error::custom("expected `20s` at most: ask again while `outcome` is `waiting`"));
        }
        Ok(Self(wait.unsigned_abs()))
    }
}

/// Whether an image is where it should be, and whether to wait for it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AskedPresence {
    /// Whether it arrived everywhere, will not arrive somewhere, or may still arrive.
    outcome: Outcome,
    /// The registries, and what is known about each.
    #[serde(flatten)]
    presence: Presence,
}

/// Whether an image is where it should be
///
/// With `wait` the answer comes when `outcome` is `arrived` or `failed`, or else after that time with `waiting`. An image
/// that is not known yet is waited for, too, and is 404 in the end.
#[utoipa::path(get, path = "/v1/presence", tag = "images", params(PresenceParameters), responses((status = 200, body = AskedPresence), Problem))]
pub(super) async fn presence(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<PresenceParameters>,
) -> ApiResult<AskedPresence> {
    let ends = Instant::now() + asked.wait.map_or(Duration::ZERO, |Wait(wait)| wait);
    loop {
        let ImageReference(image) = &asked.image;
        let found = presence::presence(&query.table, image, &asked.places, (query.clock)()).await;
        let may_change = match &found {
            Ok(found) => found.outcome() == Outcome::Waiting,
            Err(error) => {
                matches!(error, Error::UnknownTag { .. } | Error::UnknownImage { .. } | Error::PastTag { .. })
            }
        };
        let now = Instant::now();
        if !may_change || now >= ends {
            let presence = found?;
            return Ok(Answer(AskedPresence { outcome: presence.outcome(), presence }));
        }
        sleep(PAUSE.min(ends - now)).await;
    }
}
