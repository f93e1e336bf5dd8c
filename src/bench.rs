//! What `benches/codec.rs` measures of what is not public. No part of the interface.

use bytes::Bytes;

use crate::checkpoint::{Checkpoint, CheckpointMetadata, CheckpointTuple, PendingWrite};
use crate::codec::{RawJson, exact};
use crate::config::CheckpointConfig;
use crate::error::Result;
use crate::redis::document::{ReadCheckpoint, checkpoint_document, parse_write, pending_document};
use crate::redis::keys::CheckpointRef;

/// What names the documents.
#[derive(Debug, Clone)]
pub struct Documents(CheckpointRef);

impl Documents {
    /// Those of a checkpoint.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) if the config names no checkpoint.
    pub fn of(config: &CheckpointConfig) -> Result<Self> {
        Ok(Self(CheckpointRef {
            thread_id: config.thread_id.clone(),
            namespace: config.namespace(),
            checkpoint_id: config.required_checkpoint()?.clone(),
        }))
    }

    /// Makes the document of a checkpoint.
    #[must_use]
    pub fn write_checkpoint(
        &self,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
    ) -> Bytes {
        checkpoint_document(&self.0, None, checkpoint, metadata)
    }

    /// Reads the document of a checkpoint.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) if it is none.
    pub fn read_checkpoint(&self, document: &Bytes) -> Result<Option<CheckpointTuple>> {
        let read = ReadCheckpoint::parse(b"", document)?;
        Ok(read.map(|read| read.with_writes(Vec::new())))
    }

    /// Makes the document of a write.
    ///
    /// # Errors
    /// None in practice: strings have a JSON form.
    pub fn write_write(&self, write: &PendingWrite) -> Result<Bytes> {
        pending_document(&self.0, write)
    }

    /// Reads the document of a write.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) if it is none.
    pub fn read_write(&self, document: &Bytes) -> Result<Option<PendingWrite>> {
        parse_write(&self.0, document)
    }
}

/// Whether RedisJSON keeps a value.
#[must_use]
pub fn is_kept(value: &RawJson) -> bool {
    exact::is_kept(value.bytes())
}

/// The form in which a value travels.
#[must_use]
pub fn wrap(value: &RawJson) -> RawJson {
    exact::wrap(value)
}

/// The value of such a form.
#[must_use]
pub fn unwrap(value: &RawJson) -> RawJson {
    exact::unwrap(value)
}
