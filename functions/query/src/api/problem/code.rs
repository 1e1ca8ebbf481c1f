//! The kinds of problems.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// Declares the kinds of problems: the code, the HTTP status and the title of each.
macro_rules! codes {
    ($($variant:ident = $code:tt $status:ident $title:literal,)+) => {
        /// The kind of a problem, for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
        pub enum ProblemCode {
            $(#[doc = $title] #[serde(rename = $code)] $variant,)+
        }

        impl ProblemCode {
            /// Every kind, by status.
            pub const ALL: [Self; [$($code),+].len()] = [$(Self::$variant),+];

            /// The code.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The HTTP status.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }

            /// The kind in words.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }
        }
    };
}

codes! {
    InvalidParameter = "invalid_parameter" BAD_REQUEST "A parameter cannot be read, or is missing",
    UnknownParameter = "unknown_parameter" BAD_REQUEST "The operation has no such parameter",
    MalformedBody = "malformed_body" BAD_REQUEST "The body is not JSON",
    KeyMissing = "key_missing" UNAUTHORIZED "The key of the link is missing",
    NotSignedIn = "not_signed_in" UNAUTHORIZED "The person is not signed in",
    ReadOnly = "read_only" FORBIDDEN "This endpoint changes nothing",
    NotAuthenticated = "not_authenticated" FORBIDDEN "The caller is not authenticated",
    NoGroup = "no_group" FORBIDDEN "The person is in no group that may read",
    NotOperator = "not_operator" FORBIDDEN "The person is in no group that may change anything",
    OtherOrigin = "other_origin" FORBIDDEN "A page of another site asks for a change",
    NoSuchPath = "no_such_path" NOT_FOUND "The path does not exist",
    UnknownImage = "unknown_image" NOT_FOUND "The image is not known",
    UnknownRepository = "unknown_repository" NOT_FOUND "The repository is not known",
    UnknownTag = "unknown_tag" NOT_FOUND "The tag was never seen",
    PastTag = "past_tag" NOT_FOUND "The tag means no image now",
    UnknownRegistry = "unknown_registry" NOT_FOUND "The registry is not known",
    UnknownRegion = "unknown_region" NOT_FOUND "No registry in the region is known",
    UnknownDeletion = "unknown_deletion" NOT_FOUND "There is no such deletion",
    UnknownHold = "unknown_hold" NOT_FOUND "There is no such hold",
    UnknownIncident = "unknown_incident" NOT_FOUND "No such incident is open",
    UnknownReplica = "unknown_replica" NOT_FOUND "The image is not a replica in the registry",
    NoMirror = "no_mirror" NOT_FOUND "`mirror` has not run with this table",
    MethodNotAllowed = "method_not_allowed" METHOD_NOT_ALLOWED "The path has no such method",
    AmbiguousDigest = "ambiguous_digest" CONFLICT "The digest is the beginning of several",
    Changed = "changed" CONFLICT "It changed since it was read",
    InvalidTransition = "invalid_transition" CONFLICT "The status does not allow the action",
    HoldOfOther = "hold_of_other" CONFLICT "The hold is another operator's",
    NotPaused = "not_paused" CONFLICT "There is no such pause",
    MirrorPolicyInvalid = "mirror_policy_invalid" CONFLICT "The policy of `mirror` is invalid",
    BodyTooLarge = "body_too_large" PAYLOAD_TOO_LARGE "The body is larger than 256 KiB",
    UnsupportedBody = "unsupported_body" UNSUPPORTED_MEDIA_TYPE "The content type is not `application/json`",
    WrongHost = "wrong_host" MISDIRECTED_REQUEST "The request names another host",
    InvalidBody = "invalid_body" UNPROCESSABLE_ENTITY "A field of the body cannot be read, is missing or unknown",
    InvalidPolicy = "invalid_policy" UNPROCESSABLE_ENTITY "The policy cannot be used",
    NoReason = "no_reason" UNPROCESSABLE_ENTITY "A reason is missing",
    EndIsOver = "end_is_over" UNPROCESSABLE_ENTITY "The end is not in the future",
    ActNotRecorded = "act_not_recorded" INTERNAL_SERVER_ERROR "It took effect, and is missing in the list of activity",
    Internal = "internal" INTERNAL_SERVER_ERROR "An error of this program; its log says more",
    SignInUnusable = "sign_in_unusable" INTERNAL_SERVER_ERROR "The sign-in is not configured correctly",
    TableUnusable = "table_unusable" INTERNAL_SERVER_ERROR "The table cannot be used",
    TableUnavailable = "table_unavailable" SERVICE_UNAVAILABLE "The table does not answer",
    TimedOut = "timed_out" GATEWAY_TIMEOUT "The answer took more than 25 seconds",
}

impl ProblemCode {
    /// The kind as a URI: `GET /v1/problems` lists them.
    #[must_use]
    pub fn uri(self) -> String {
        format!("/v1/problems#{}", self.as_str())
    }
}
