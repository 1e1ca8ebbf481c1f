//! The simulator's state on disk: a table of keys and values; each change of the state is one transaction.
//!
//! A transaction is written to the operating system before a call is answered (SQLite's write-ahead log), so no
//! acknowledged change is lost if the process is killed. A power failure may lose the newest changes.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};

use crate::world::{Key, World};

/// The open database.
pub(crate) struct Keep {
    connection: Connection,
    path: PathBuf,
}

/// The error of a folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder could not be created.
    #[error("cannot create folder `{}`", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The error of the file system.
        #[source]
        source: std::io::Error,
    },
    /// Another process uses the file.
    #[error("`{}` is in use by another process", path.display())]
    InUse {
        /// The path of the file.
        path: PathBuf,
    },
    /// The file cannot be read or written, or is not a database.
    #[error("cannot use `{}`", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The error of SQLite.
        #[source]
        source: rusqlite::Error,
    },
    /// An entry of the file has the format of another version.
    #[error("cannot read `{}`: entry `{key}` is of another version", path.display())]
    Entry {
        /// The path of the file.
        path: PathBuf,
        /// The key of the entry.
        key: String,
        /// The error of the parser.
        #[source]
        source: serde_json::Error,
    },
}

/// The name of the file in the folder.
const FILE: &str = "registries.db";

impl Keep {
    /// Opens the folder, which is created if it does not exist, and loads its state into the world.
    pub(crate) fn open(folder: &Path, world: &mut World) -> Result<Self, Error> {
        std::fs::create_dir_all(folder).map_err(|source| Error::Folder { path: folder.to_owned(), source })?;
        let path = folder.join(FILE);
        let failed = |source| error(&path, source);
        let connection = Connection::open(&path).map_err(failed)?;
        // One process at a time: two worlds in one file would overwrite each other.
        connection
            .execute_batch(
                "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
                 CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;",
            )
            .map_err(failed)?;
        let mut entries = Vec::new();
        {
            let mut statement = connection.prepare("SELECT key, value FROM kept").map_err(failed)?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
            for row in rows {
                let (text, value): (String, String) = row.map_err(failed)?;
                let entry = |source| Error::Entry { path: path.clone(), key: text.clone(), source };
                entries.push((serde_json::from_str::<Key>(&text).map_err(entry)?, text, value));
            }
        }
        entries.sort();
        for (key, text, value) in entries {
            world.restore(key, &value).map_err(|source| Error::Entry { path: path.clone(), key: text, source })?;
        }
        world.forget_manifests();
        // Their files are removed when the folder of the layers is opened.
        world.forget_contents();
        let mut keep = Self { connection, path };
        keep.save(world)?;
        Ok(keep)
    }

    /// Saves all changes in one transaction.
    pub(crate) fn save(&mut self, world: &mut World) -> Result<(), Error> {
        let changes = world.take_changes();
        if changes.is_empty() {
            return Ok(());
        }
        self.write(changes).map_err(|source| error(&self.path, source))
    }

    fn write(&mut self, changes: Vec<(Key, Option<String>)>) -> Result<(), rusqlite::Error> {
        let transaction = self.connection.transaction()?;
        {
            let mut put = transaction.prepare_cached("INSERT OR REPLACE INTO kept VALUES (?, ?)")?;
            let mut delete = transaction.prepare_cached("DELETE FROM kept WHERE key = ?")?;
            for (key, value) in changes {
                let key = serde_json::to_string(&key)
                    .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
                match value {
                    Some(value) => put.execute([key, value])?,
                    None => delete.execute([key])?,
                };
            }
        }
        transaction.commit()
    }
}

fn error(path: &Path, source: rusqlite::Error) -> Error {
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::InUse { path: path.to_owned() },
        _ => Error::File { path: path.to_owned(), source },
    }
}
