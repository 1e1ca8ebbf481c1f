//! The content of layers: files, outside of the world, its lock and its memory.
//!
//! The world knows which repository has which layer ([`crate::world`]). Here are the bytes: each layer once, by its
//! digest, however many repositories have it, and the uploads in progress, which end with the process.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use domain::image::Digest;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::world::RepositoryId;

/// The size that ECR tells clients to upload in one part, and the largest part (B7).
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html>
pub(crate) const PART_BYTES: u64 = 10 << 20;

/// The smallest part, except for the last. Same page.
const SMALLEST_PART_BYTES: u64 = 5 << 20;

/// The most parts of an upload. Same page.
const MAX_PARTS: usize = 4_200;

/// The largest layer. Same page.
const MAX_LAYER_BYTES: u64 = 52_000 << 20;

/// The most uploads in progress; one more ends the oldest.
const MAX_UPLOADS: usize = 1_000;

/// The folders below the folder of all state.
const LAYERS: &str = "layers";
const UPLOADS: &str = "uploads";

/// The digest of a layer: SHA-256, which is the only algorithm that ECR documents.
pub(crate) fn sha256(text: &str) -> Option<Digest> {
    let hash = text.strip_prefix("sha256:")?;
    let exact = hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    text.parse().ok().filter(|_| exact)
}

/// The error of an upload.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error("The upload could not be found, or the specified upload ID is not valid for this repository")]
    NotFound,
    #[error(
        "The first byte of the part is not consecutive to the last byte that was received, {received} bytes in all"
    )]
    NotConsecutive { received: u64 },
    #[error("A layer has at most {MAX_LAYER_BYTES} bytes")]
    TooLarge,
    #[error("A layer upload has at most {MAX_PARTS} parts")]
    TooManyParts,
    #[error("The specified layer upload does not contain any layer parts")]
    Empty,
    #[error("Layer parts must be at least 5 MiB in size")]
    PartTooSmall,
    #[error(
        "The layer digest calculation performed by Amazon ECR upon receipt of the image layer does not match the digest specified: it is {0}"
    )]
    WrongDigest(Digest),
    #[error("The layer cannot be stored: {0}")]
    Disk(#[from] io::Error),
}

/// The files of all layers.
pub(crate) struct LayerStore {
    /// The folder of all state; a temporary one is made on first use otherwise.
    data: Option<PathBuf>,
    temporary: OnceLock<TempDir>,
    uploads: Mutex<BTreeMap<String, Arc<Mutex<Upload>>>>,
    /// Held while a layer is published or removed, so that no layer is removed that was uploaded again just now. Never
    /// taken inside the world's lock.
    publishing: Mutex<()>,
    /// Layers whose content is to be removed.
    unneeded: Mutex<Vec<Digest>>,
}

/// An upload in progress.
pub(crate) struct Upload {
    place: RepositoryId,
    /// The number of the upload, which increases.
    number: usize,
    path: PathBuf,
    file: File,
    hash: Sha256,
    size_bytes: u64,
    parts: usize,
    last_part_bytes: u64,
    has_small_part: bool,
}

impl Drop for Upload {
    /// An upload that did not become a layer leaves nothing.
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.path);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LayerStore {
    /// The layers of a folder, or of this process only. Removes uploads of an earlier process, and the layers that the
    /// world does not know.
    pub(crate) fn open(data: Option<&Path>, is_known: impl Fn(&Digest) -> bool) -> io::Result<Self> {
        if let Some(folder) = data {
            _ = std::fs::remove_dir_all(folder.join(UPLOADS));
            if let Ok(entries) = std::fs::read_dir(folder.join(LAYERS)) {
                for path in entries.flatten().map(|entry| entry.path()) {
                    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                    if !sha256(&format!("sha256:{name}")).is_some_and(|digest| is_known(&digest)) {
                        std::fs::remove_file(&path)?;
                    }
                }
            }
        }
        Ok(Self {
            data: data.map(Path::to_owned),
            temporary: OnceLock::new(),
            uploads: Mutex::default(),
            publishing: Mutex::default(),
            unneeded: Mutex::default(),
        })
    }

    /// One of the folders, which is created if it does not exist.
    fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let root = match (&self.data, self.temporary.get()) {
            (Some(folder), _) => folder,
            (None, Some(temporary)) => temporary.path(),
            (None, None) => {
                let made = tempfile::Builder::new().prefix("ecr-lineage-layers-").tempdir()?;
                self.temporary.get_or_init(|| made).path()
            }
        };
        let folder = root.join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    fn path(&self, layer: &Digest) -> io::Result<PathBuf> {
        Ok(self.folder(LAYERS)?.join(layer.encoded()))
    }

    /// Begins an upload.
    pub(crate) fn begin(&self, id: &str, place: &RepositoryId) -> Result<(), UploadError> {
        let path = self.folder(UPLOADS)?.join(id);
        let (file, hash) = (File::create(&path)?, Sha256::new());
        let mut uploads = lock(&self.uploads);
        let number = uploads.values().map(|upload| lock(upload).number + 1).max().unwrap_or_default();
        if uploads.len() >= MAX_UPLOADS {
            let oldest = uploads.iter().min_by_key(|(_, upload)| lock(upload).number).map(|(id, _)| id.clone());
            _ = oldest.and_then(|id| uploads.remove(&id));
        }
        let (place, size_bytes, parts) = (place.clone(), 0, 0);
        let upload =
            Upload { place, number, path, file, hash, size_bytes, parts, last_part_bytes: 0, has_small_part: false };
        uploads.insert(id.to_owned(), Arc::new(Mutex::new(upload)));
        Ok(())
    }

    fn upload(&self, id: &str, place: &RepositoryId) -> Result<Arc<Mutex<Upload>>, UploadError> {
        let upload = lock(&self.uploads).get(id).cloned().ok_or(UploadError::NotFound)?;
        let of_place = lock(&upload).place == *place;
        if of_place { Ok(upload) } else { Err(UploadError::NotFound) }
    }

    /// The number of bytes that an upload has received.
    pub(crate) fn received(&self, id: &str, place: &RepositoryId) -> Result<u64, UploadError> {
        Ok(lock(&*self.upload(id, place)?).size_bytes)
    }

    /// Appends bytes to an upload that has received `at` bytes before. Returns how many it has now.
    pub(crate) fn append(&self, id: &str, place: &RepositoryId, at: u64, bytes: &[u8]) -> Result<u64, UploadError> {
        let upload = self.upload(id, place)?;
        let mut upload = lock(&upload);
        if at != upload.size_bytes {
            return Err(UploadError::NotConsecutive { received: upload.size_bytes });
        }
        let size_bytes = at.checked_add(bytes.len() as u64).filter(|size| *size <= MAX_LAYER_BYTES);
        let size_bytes = size_bytes.ok_or(UploadError::TooLarge)?;
        if let Err(error) = upload.file.write_all(bytes) {
            // What is in the file now is not known.
            drop(upload);
            self.cancel(id);
            return Err(error.into());
        }
        upload.hash.update(bytes);
        upload.size_bytes = size_bytes;
        Ok(size_bytes)
    }

    /// Appends one part of `UploadLayerPart`, which must not be too small unless it is the last.
    pub(crate) fn append_part(
        &self,
        id: &str,
        place: &RepositoryId,
        at: u64,
        bytes: &[u8],
    ) -> Result<u64, UploadError> {
        if lock(&*self.upload(id, place)?).parts >= MAX_PARTS {
            return Err(UploadError::TooManyParts);
        }
        let size_bytes = self.append(id, place, at, bytes)?;
        let upload = self.upload(id, place)?;
        let mut upload = lock(&upload);
        upload.has_small_part |= upload.parts > 0 && upload.last_part_bytes < SMALLEST_PART_BYTES;
        upload.parts += 1;
        upload.last_part_bytes = bytes.len() as u64;
        Ok(size_bytes)
    }

    /// Ends an upload without a layer.
    pub(crate) fn cancel(&self, id: &str) {
        lock(&self.uploads).remove(id);
    }

    /// Makes a layer of an upload, if its digest is what all of `expected` say; `register` gives it to the repository.
    /// An upload with another digest is over.
    pub(crate) fn complete(
        &self,
        id: &str,
        place: &RepositoryId,
        expected: &[Digest],
        register: impl FnOnce(&Digest, u64),
    ) -> Result<Digest, UploadError> {
        let upload = self.upload(id, place)?;
        let upload = lock(&upload);
        if upload.has_small_part {
            return Err(UploadError::PartTooSmall);
        }
        let hash: String = upload.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let digest: Digest = format!("sha256:{hash}").parse().map_err(io::Error::other)?;
        self.cancel(id);
        if expected.iter().any(|expected| *expected != digest) {
            return Err(UploadError::WrongDigest(digest));
        }
        let path = self.path(&digest)?;
        let publishing = lock(&self.publishing);
        if !path.exists() {
            std::fs::rename(&upload.path, &path)?;
        }
        register(&digest, upload.size_bytes);
        drop(publishing);
        Ok(digest)
    }

    /// The file of a layer.
    pub(crate) fn read(&self, layer: &Digest) -> io::Result<File> {
        File::open(self.path(layer)?)
    }

    /// Removes the content of layers that are not needed any more: now, or with the next ones if a layer is being
    /// published.
    pub(crate) fn remove(&self, layers: Vec<Digest>, is_needed: impl Fn(&Digest) -> bool) {
        lock(&self.unneeded).extend(layers);
        let Ok(publishing) = self.publishing.try_lock() else { return };
        let unneeded = std::mem::take(&mut *lock(&self.unneeded));
        for layer in unneeded.iter().filter(|layer| !is_needed(layer)) {
            // A file that cannot be removed now is removed when the folder is opened again.
            _ = self.path(layer).and_then(std::fs::remove_file);
        }
        drop(publishing);
    }
}

impl UploadError {
    /// Whether nothing was uploaded, which `CompleteLayerUpload` refuses.
    pub(crate) fn unless_empty(received: u64) -> Result<(), Self> {
        if received == 0 { Err(Self::Empty) } else { Ok(()) }
    }
}
