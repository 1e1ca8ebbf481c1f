//! Enums whose values have one name everywhere: in JSON, in the table, in texts and in the OpenAPI document.

/// The text is the name of no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{asked}` is unknown: expected one of {}", names.join(", "))]
pub struct UnknownNameError {
    asked: String,
    names: Vec<&'static str>,
}

impl UnknownNameError {
    /// Keeps the first 100 characters of the text, without control characters.
    pub(crate) fn new(asked: &str, names: impl Into<Vec<&'static str>>) -> Self {
        let asked = asked.chars().filter(|c| !c.is_control()).take(100).collect();
        Self { asked, names: names.into() }
    }
}

/// Declares an enum, and writes the name of each value once: as what serde and OpenAPI call it, in `as_str`, in `ALL` and
/// for parsing.
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

        impl std::str::FromStr for $name {
            type Err = $crate::named::UnknownNameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let known = Self::ALL.into_iter().find(|one| one.as_str() == text);
                known.ok_or_else(|| $crate::named::UnknownNameError::new(text, Self::ALL.map(Self::as_str)))
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

    #[test]
    fn a_name_is_parsed_and_an_unknown_one_is_refused_with_those_that_are_known() {
        for kind in AlertKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        let refused = "urgent\u{1b}".parse::<Severity>().unwrap_err().to_string();
        assert_eq!(refused, "`urgent` is unknown: expected one of info, warning, critical");
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
