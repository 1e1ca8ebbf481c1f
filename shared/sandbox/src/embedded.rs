//! The embedded table: a DynamoDB-compatible server in this process, in a file or in memory, on a port that no other
//! process is given. The real SDK client talks to it, so there is no second implementation of storage.

use std::{net::Ipv4Addr, path::PathBuf};

use aws::start;
use aws_config::Region;
use aws_sdk_dynamodb::{Client, config::Credentials};
use dynoxide::{Database, server};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

/// The name of the table within an embedded file.
pub const EMBEDDED_NAME: &str = "ecr-lineage";

/// A running embedded table.
#[derive(Debug)]
pub struct Embedded {
    /// The URL of the server, on the loopback interface.
    pub endpoint: String,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), String>>,
}

/// The error of opening an embedded table.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file's folder could not be created.
    #[error("cannot create folder `{}`", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The error of the file system.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a table, or cannot be read and written.
    #[error("cannot open table `{place}`: {reason}")]
    Open {
        /// The file, or `memory`.
        place: String,
        /// The reason that the server gives.
        reason: String,
    },
    /// No port on the loopback interface is free.
    #[error("cannot listen on 127.0.0.1")]
    Listen(#[source] std::io::Error),
}

impl Embedded {
    /// Opens the table in a file, which is created if it does not exist, or in memory.
    ///
    /// # Errors
    /// When the file cannot be opened or created, or is not a table.
    pub async fn open(file: Option<PathBuf>) -> Result<Self, Error> {
        let place = file.as_ref().map_or_else(|| "memory".to_owned(), |path| path.display().to_string());
        if let Some(folder) = file.as_ref().and_then(|path| path.parent()) {
            std::fs::create_dir_all(folder).map_err(|source| Error::Folder { path: folder.to_owned(), source })?;
        }
        let database = if file.is_some() { Database::new(&place) } else { Database::memory() };
        let database = database.map_err(|error| {
            // The first sentence only: the second is advice for programmers.
            let reason = error.to_string().split(". ").next().unwrap_or_default().to_owned();
            Error::Open { place, reason }
        })?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(Error::Listen)?;
        let endpoint = format!("http://{}", listener.local_addr().map_err(Error::Listen)?);
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(server::serve_with_shutdown(listener, database, async {
            _ = stopped.await;
        }));
        Ok(Self { endpoint, stop, server })
    }

    /// A client of this table.
    pub async fn client(&self) -> Client {
        let http = aws_smithy_http_client::Builder::new().build_http();
        let loader = start::loader().http_client(http).endpoint_url(&self.endpoint);
        // DynamoDB's protocol needs credentials and a region; the embedded table ignores both.
        let credentials = Credentials::new("embedded", "embedded", None, None, "embedded");
        let config = loader.credentials_provider(credentials).region(Region::from_static("us-east-1")).load().await;
        Client::new(&config)
    }

    /// Stops the server after its last response.
    pub async fn close(self) {
        drop(self.stop);
        // Acknowledged writes are already on disk, so a server that does not end in time can be ignored.
        _ = tokio::time::timeout(std::time::Duration::from_secs(2), self.server).await;
    }
}
