//! Definitions that have been read, kept for whoever executes them next: a retry reads its own when
//! it is planned, accepted, created and executed, and a thousand retries of one workflow read the
//! same one. What a hash names never changes.

use std::{fmt, sync::Arc};

use moka::sync::Cache;

use super::{Store, StoreError, StoredDefinition};
use crate::{
    domain::DefinitionHash,
    workflow::{Definition, DefinitionLimits},
};

/// How much is kept, in bytes of the definitions' texts. Read, one takes several times that.
const KEPT: u64 = 2 * 1024 * 1024;

/// Shared by clones.
#[derive(Clone)]
pub(super) struct Definitions(Cache<DefinitionHash, Kept>);

#[derive(Clone)]
struct Kept {
    definition: Arc<Definition>,
    bytes: u32,
}

impl Default for Definitions {
    fn default() -> Self {
        let weigher = |_: &DefinitionHash, kept: &Kept| kept.bytes;
        Self(Cache::builder().weigher(weigher).max_capacity(KEPT).build())
    }
}

impl fmt::Debug for Definitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definitions").finish_non_exhaustive()
    }
}

impl Definitions {
    fn keep(&self, stored: &StoredDefinition, definition: Arc<Definition>) {
        let bytes = u32::try_from(stored.text.as_str().len()).unwrap_or(u32::MAX);
        self.0
            .insert(stored.hash.clone(), Kept { definition, bytes });
    }
}

impl Store {
    fn definitions(&self) -> &Definitions {
        match self {
            Self::Postgres(engine) => &engine.definitions,
            Self::Sqlite(engine) => &engine.definitions,
        }
    }

    /// A definition as it is executed; none if there is none with this hash, and why where its text
    /// can't be read.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn executable(
        &self,
        hash: &DefinitionHash,
    ) -> Result<Option<Result<Arc<Definition>, String>>, StoreError> {
        if let Some(kept) = self.definitions().0.get(hash) {
            return Ok(Some(Ok(kept.definition)));
        }
        let Some(text) = self.definition(hash).await? else {
            return Ok(None);
        };
        let hash = hash.clone();
        let stored = StoredDefinition { hash, text };
        let read = read(&stored).inspect(|definition| {
            self.definitions().keep(&stored, Arc::clone(definition));
        });
        Ok(Some(read))
    }
}

fn read(stored: &StoredDefinition) -> Result<Arc<Definition>, String> {
    let value = stored.text.value().map_err(|error| error.to_string())?;
    let definition = Definition::parse(&value, &DefinitionLimits::STORED);
    definition.map(Arc::new).map_err(|error| error.to_string())
}
