//! Errors of the sandbox.

use std::error::Error as StdError;

use crate::embedded;

/// The error of starting or running the sandbox.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The table could not be read or written.
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
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// A role could not be assumed.
    #[error("cannot assume the role")]
    Role(#[source] Box<dyn StdError + Send + Sync>),
    /// A query of the demo failed.
    #[error(transparent)]
    Query(#[from] answers::error::Error),
    /// A simulated registry refused a call of the demo.
    #[error("the demo failed")]
    Demo(#[source] Box<dyn StdError + Send + Sync>),
}
