//! One serving process per file.

use std::{
    fs::{File, TryLockError},
    path::PathBuf,
};

use super::{super::StoreError, SqliteStore};

/// While it lives, no other process serves from this file. The system lets go of it when the
/// process dies, however it dies.
#[derive(Debug)]
pub struct ServingLock {
    _file: File,
}

impl SqliteStore {
    /// Takes the lock file beside the database, which is never removed.
    ///
    /// # Errors
    /// [`StoreError::Locked`]: another process serves from it; [`StoreError::LockFile`]: the file
    /// can't be used.
    pub fn lock_for_serving(&self) -> Result<ServingLock, StoreError> {
        let mut path = self.path.clone().into_os_string();
        path.push(".lock");
        let path = PathBuf::from(path);
        let shown = path.display().to_string();
        let unusable = |source| StoreError::LockFile {
            path: shown.clone(),
            source,
        };
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(ServingLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: shown }),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }
}
