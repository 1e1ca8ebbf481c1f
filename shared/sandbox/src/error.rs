//! Why something could not be run on this machine.

use std::error::Error as StdError;

use crate::embedded;

/// Why something could not be run on this machine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The table could not be used.
    #[error(transparent)]
    Table(#[from] store::Error),
    /// The embedded table could not be opened.
    #[error(transparent)]
    Embedded(#[from] embedded::Error),
    /// The simulated registries could not be opened or saved.
    #[error(transparent)]
    Registries(#[from] simulator::keep::Error),
    /// The port is not free.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Port {
        /// The port.
        port: u16,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A role could not be assumed.
    #[error("cannot assume the role")]
    Role(#[source] Box<dyn StdError + Send + Sync>),
    /// A question of the demo has no answer.
    #[error(transparent)]
    Query(#[from] answers::error::Error),
    /// A simulated registry refused something that the demo does.
    #[error("the demo failed")]
    Demo(#[source] Box<dyn StdError + Send + Sync>),
}
