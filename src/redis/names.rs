//! Which checkpoints documents name, whatever else they hold.

use bytes::Bytes;

use super::driver::Command;
use super::keys::CheckpointRef;
use super::store::Store;
use crate::error::{Error, Result};

/// How many documents are read in one pipeline.
const PIPELINE: usize = 256;

/// The checkpoints that documents name, with the keys of the documents. Keys that hold something
/// else, or nothing, are left out.
pub(crate) async fn checkpoints_at(
    store: &Store,
    operation: &'static str,
    keys: &[Bytes],
) -> Result<Vec<(Bytes, CheckpointRef)>> {
    let found = documents_at(store, operation, keys).await?.into_iter();
    Ok(found
        .filter_map(|(key, one)| one.map(|one| (key, one)))
        .collect())
}

/// The documents that are there, each with the checkpoint that it names, if it names one.
pub(crate) async fn documents_at(
    store: &Store,
    operation: &'static str,
    keys: &[Bytes],
) -> Result<Vec<(Bytes, Option<CheckpointRef>)>> {
    let mut found = Vec::new();
    for slice in keys.chunks(PIPELINE) {
        let commands = slice.iter().map(|key| {
            Command::on("JSON.GET", key.clone())
                .arg("$['thread_id','checkpoint_ns','checkpoint_id']")
        });
        let replies = store.driver().batch(operation, commands.collect()).await?;
        for (key, reply) in slice.iter().zip(replies) {
            let document = match reply {
                // The key has the name of a document and is none.
                Err(Error::WrongType { .. } | Error::Server { .. }) => continue,
                reply => match reply?.into_bytes() {
                    Some(document) => document,
                    None => continue,
                },
            };
            let ids = serde_json::from_slice::<[String; 3]>(&document).ok();
            let one = ids.and_then(|[thread, namespace, id]| {
                CheckpointRef::from_stored(&thread, &namespace, &id)
            });
            found.push((key.clone(), one));
        }
    }
    Ok(found)
}
