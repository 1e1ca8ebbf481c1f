//! Enums whose values have one name everywhere: in JSON, in the table, in texts and in the OpenAPI document.

/// Declares an enum, and writes the name of each value once: as what serde and OpenAPI call it, in `as_str` and in
/// `ALL`.
macro_rules! named {
    ($(#[$attribute:meta])* pub enum $name:ident {
        $($(#[$variant_attribute:meta])* $variant:ident = $text:tt,)+
    }) => {
        $(#[$attribute])*
        pub enum $name {
            $($(#[$variant_attribute])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every value, in the order of their declaration.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$variant),+];

            /// The name of the value: the same in JSON, in the table and in texts.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

pub(crate) use named;

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use crate::{
        activity::{ActName, ActivityKind},
        alert::{AlertKind, AlertState, Severity},
        breaker::BreakerClass,
        costs::CopyKind,
        deletion::{CheckName, DeletionStatus, OperatorAction},
        fact::Setting,
        heartbeat::HeartbeatStatus,
        plan::Mode,
        policy::{Action, ManifestKind},
    };

    fn same<T: Serialize + Copy>(all: &[T], as_str: fn(T) -> &'static str) {
        for one in all {
            assert_eq!(serde_json::to_value(one).unwrap(), as_str(*one));
        }
    }

    #[test]
    fn the_names_in_the_code_are_those_in_json() {
        same(&ActivityKind::ALL, ActivityKind::as_str);
        same(&ActName::ALL, ActName::as_str);
        same(&AlertKind::ALL, AlertKind::as_str);
        same(&AlertState::ALL, AlertState::as_str);
        same(&Severity::ALL, Severity::as_str);
        same(&CopyKind::ALL, CopyKind::as_str);
        same(&BreakerClass::ALL, BreakerClass::as_str);
        same(&CheckName::ALL, CheckName::as_str);
        same(&DeletionStatus::ALL, DeletionStatus::as_str);
        same(&OperatorAction::ALL, OperatorAction::as_str);
        same(&HeartbeatStatus::ALL, HeartbeatStatus::as_str);
        same(&Action::ALL, Action::as_str);
        same(&ManifestKind::ALL, ManifestKind::as_str);
        same(&Mode::ALL, Mode::as_str);
        same(&Setting::ALL, Setting::as_str);
    }

    #[cfg(feature = "openapi")]
    #[test]
    fn the_names_in_the_code_are_those_in_openapi() {
        fn same<T: utoipa::PartialSchema + Copy>(all: &[T], as_str: fn(T) -> &'static str) {
            let names: Vec<_> = all.iter().map(|one| as_str(*one)).collect();
            assert_eq!(serde_json::to_value(T::schema()).unwrap()["enum"], serde_json::json!(names));
        }
        same(&ActivityKind::ALL, ActivityKind::as_str);
        same(&ActName::ALL, ActName::as_str);
        same(&AlertKind::ALL, AlertKind::as_str);
        same(&AlertState::ALL, AlertState::as_str);
        same(&Severity::ALL, Severity::as_str);
        same(&BreakerClass::ALL, BreakerClass::as_str);
        same(&CheckName::ALL, CheckName::as_str);
        same(&DeletionStatus::ALL, DeletionStatus::as_str);
        same(&OperatorAction::ALL, OperatorAction::as_str);
        same(&Action::ALL, Action::as_str);
        same(&Mode::ALL, Mode::as_str);
        same(&Setting::ALL, Setting::as_str);
    }
}
