//! The core's saver for Python: one call of this class is one call of the core.
//!
//! Documents cross as bytes, which the Python side encodes and decodes. Every method takes first
//! where its outcome goes: `None` to block without the GIL, or a bridge and a future of the
//! running event loop.

mod bridge;
mod call;
mod connection;
mod credentials;
mod error;
mod listing;
mod outcome;
mod runtime;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use langgraph_checkpoint_redis::redis::{ConfigKey, EncryptionKey, EncryptionKeys};
use langgraph_checkpoint_redis::{
    ChannelWrite, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointNamespace,
    CopyOptions, DeleteOptions, Error, ExistingTarget, ExpectedParent, ListOptions, MetadataFilter,
    PruneOptions, PruneStrategy, PutOptions, PutWritesOptions, RawJson, RunId, ScopedSaver, TaskId,
    ThreadId, TypedValue,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

pub(crate) use bridge::Bridge;
pub(crate) use listing::Listing;

use call::{Into, run, run_in_pages};
use connection::{Keys, Reach, Settings, Slot};
use credentials::Provider;
use error::exception;
use outcome::Outcome;

/// What names a checkpoint: the thread, the namespace, the checkpoint.
type Place = (String, Option<String>, Option<String>);

/// A write: the channel, the type, the blob and its hints.
type Write = (String, String, PyBackedBytes, Option<PyBackedBytes>);

/// A saver. Connects when it is first needed, and again in a forked child.
#[pyclass(frozen, module = "langgraph_checkpoint_redis_rs._native")]
#[derive(Debug)]
pub struct Saver {
    slot: Arc<Slot>,
    /// How the ids of its threads start; `None` for a saver of all.
    prefix: Option<Arc<str>>,
}

#[pymethods]
impl Saver {
    /// `settings` are texts by the names of the core's `ConfigKey`s; a shallow saver keeps only the
    /// newest checkpoint of each thread and namespace. Credentials that a callable gives are asked
    /// for again after `credential_refresh` seconds. Encryption keys are those of the environment
    /// unless there is a list of them, which may be empty.
    #[new]
    #[expect(
        clippy::too_many_arguments,
        reason = "called from one place, in Python"
    )]
    fn new(
        py: Python<'_>,
        settings: Vec<(String, String)>,
        ttl: Option<Duration>,
        refresh_on_read: bool,
        shallow: bool,
        credentials: Option<Py<PyAny>>,
        credential_refresh: f64,
        encryption_keys: Option<Vec<(String, PyBackedBytes)>>,
    ) -> PyResult<Self> {
        let refresh = Duration::try_from_secs_f64(credential_refresh)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let settings = settings
            .into_iter()
            .map(|(key, value)| Ok((key.parse::<ConfigKey>()?, value)))
            .collect::<Result<_, Error>>()
            .map_err(|error| exception(py, &error))?;
        let keys = match encryption_keys {
            None => Keys::Environment,
            Some(keys) if keys.is_empty() => Keys::None,
            Some(keys) => {
                let keys = keys.iter().map(|(id, key)| EncryptionKey::new(id, key));
                let keys = keys.collect::<Result<Vec<_>, Error>>();
                let keys = keys.and_then(EncryptionKeys::new);
                Keys::Given(keys.map_err(|error| exception(py, &error))?)
            }
        };
        Ok(Self {
            slot: Arc::new(Slot::new(Settings {
                values: settings,
                ttl,
                refresh_on_read,
                shallow,
                credentials: credentials.map(|ask| Arc::new(Provider::new(ask, refresh))),
                keys,
            })),
            prefix: None,
        })
    }

    /// Connects and makes the indexes.
    fn setup<'py>(&self, py: Python<'py>, into: Into) -> PyResult<Bound<'py, PyAny>> {
        let reach = self.reach(py);
        run(py, into, async move {
            reach.saver().await?.setup().await?;
            Ok(Outcome::Done)
        })
    }

    /// The saver of the threads whose ids start with a prefix, on the same connections.
    fn scoped(&self, py: Python<'_>, prefix: &str) -> PyResult<Self> {
        let prefix = format!("{}{prefix}", self.prefix.as_deref().unwrap_or_default());
        let scope = ScopedSaver::new((), prefix).map_err(|error| exception(py, &error))?;
        Ok(Self {
            slot: Arc::clone(&self.slot),
            prefix: Some(scope.prefix().into()),
        })
    }

    /// Makes calls possible again after [`Saver::close`]; a scoped saver's are as its parent's.
    fn open(&self, py: Python<'_>) {
        if self.prefix.is_none() {
            self.slot.open(py);
        }
    }

    /// Waits for the calls under way and closes the connections, which those of a scoped saver
    /// are not.
    fn close<'py>(&self, py: Python<'py>, into: Into) -> PyResult<Bound<'py, PyAny>> {
        let connection = self.prefix.is_none().then(|| self.slot.close(py));
        run(py, into, async move {
            if let Some(connection) = connection {
                connection::close(connection).await;
            }
            Ok(Outcome::Done)
        })
    }

    /// Stores a checkpoint: its members but the values, the values, and the types of both; where
    /// none is expected, only as the first of its namespace.
    #[expect(
        clippy::too_many_arguments,
        reason = "called from one place, in Python"
    )]
    fn put<'py>(
        &self,
        py: Python<'py>,
        into: Into,
        place: Place,
        rest: &[u8],
        values: &[u8],
        value_types: Option<&[u8]>,
        metadata: &[u8],
        metadata_types: Option<&[u8]>,
        expects_none: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let reach = self.reach(py);
        let [rest, values, metadata] = [rest, values, metadata].map(Bytes::copy_from_slice);
        let [value_types, metadata_types] =
            [value_types, metadata_types].map(|types| types.map(Bytes::copy_from_slice));
        run(py, into, async move {
            let config = config(place)?;
            let checkpoint = outcome::checkpoint(rest, values, value_types, metadata_types)?;
            let metadata = CheckpointMetadata::from_json(metadata)?;
            let mut options = PutOptions::default();
            if expects_none {
                options = options.with_expected_parent(ExpectedParent::None);
            }
            let saver = reach.saver().await?;
            saver.put(&config, &checkpoint, &metadata, &options).await?;
            Ok(Outcome::Done)
        })
    }

    /// Stores the writes of a task.
    fn put_writes<'py>(
        &self,
        py: Python<'py>,
        into: Into,
        place: Place,
        writes: Vec<Write>,
        task_id: String,
        task_path: String,
    ) -> PyResult<Bound<'py, PyAny>> {
        let reach = self.reach(py);
        let writes: Vec<_> = writes.into_iter().map(unparsed).collect();
        run(py, into, async move {
            let config = config(place)?;
            let task = TaskId::new(task_id)?;
            let writes = writes
                .into_iter()
                .map(parsed)
                .collect::<Result<Vec<_>, _>>()?;
            let options = PutWritesOptions::default().with_task_path(task_path);
            reach
                .saver()
                .await?
                .put_writes(&config, &writes, &task, &options)
                .await?;
            Ok(Outcome::Done)
        })
    }

    /// Reads a checkpoint, or the newest of a namespace.
    fn get_tuple<'py>(
        &self,
        py: Python<'py>,
        into: Into,
        place: Place,
    ) -> PyResult<Bound<'py, PyAny>> {
        let reach = self.reach(py);
        run(py, into, async move {
            let config = config(place)?;
            let tuple = reach.saver().await?.get_tuple(&config).await?;
            Ok(Outcome::tuple(tuple))
        })
    }

    /// A listing of checkpoints.
    fn list(
        &self,
        py: Python<'_>,
        place: Option<Place>,
        filter: Option<&[u8]>,
        before: Option<String>,
        limit: Option<usize>,
    ) -> PyResult<Listing> {
        let prepared = (|| {
            let mut options = ListOptions::default();
            if let Some(filter) = filter {
                options = options.with_filter(
                    MetadataFilter::from_json(filter.to_vec())?.with_booleans_as_numbers(),
                );
            }
            options.before = before.map(CheckpointId::new).transpose()?;
            options.limit = limit;
            Ok((place.map(config).transpose()?, options))
        })();
        let (config, options) = prepared.map_err(|error: Error| exception(py, &error))?;
        Ok(Listing::of_checkpoints(self.reach(py), config, options))
    }

    /// A listing of the threads whose ids start with a prefix.
    fn threads(&self, py: Python<'_>, prefix: String) -> Listing {
        Listing::of_threads(self.reach(py), prefix)
    }

    /// Deletes all of a thread.
    fn delete_thread<'py>(
        &self,
        py: Python<'py>,
        into: Into,
        thread_id: String,
    ) -> PyResult<Bound<'py, PyAny>> {
        let reach = self.reach(py);
        run_in_pages(py, into, async move {
            let thread = ThreadId::new(thread_id)?;
            reach
                .saver()
                .await?
                .delete_thread(&thread, &DeleteOptions::default())
                .await?;
            Ok(Outcome::Done)
        })
    }

    /// Deletes what runs made.
    fn delete_for_runs<'py>(
        &self,
        py: Python<'py>,
        into: Into,
        run_ids: Vec<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let reach = self.reach(py);
        run_in_pages(py, into, async move {
            let runs = run_ids
                .into_iter()
                .map(RunId::new)
                .collect::<Result<Vec<_>, _>>()?;
            reach.saver().await?.delete_for_runs(&runs).await?;
            Ok(Outcome::Done)
        })
    }

    /// Copies all of a thread.
    fn copy_thread<'py>(
        &self,
        py: Python<'py>,
        into: Into,
        source: String,
        target: String,
    ) -> PyResult<Bound<'py, PyAny>> {
        let reach = self.reach(py);
        run_in_pages(py, into, async move {
            let (source, target) = (ThreadId::new(source)?, ThreadId::new(target)?);
            let options = CopyOptions::default().with_existing(ExistingTarget::Merge);
            reach
                .saver()
                .await?
                .copy_thread(&source, &target, &options)
                .await?;
            Ok(Outcome::Done)
        })
    }

    /// Removes old checkpoints: all but the newest `keep_last` of each namespace.
    fn prune<'py>(
        &self,
        py: Python<'py>,
        into: Into,
        thread_ids: Vec<String>,
        keep_last: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let reach = self.reach(py);
        run_in_pages(py, into, async move {
            let threads = thread_ids
                .into_iter()
                .map(ThreadId::new)
                .collect::<Result<Vec<_>, _>>()?;
            let strategy = match keep_last {
                0 => PruneStrategy::Delete,
                1 => PruneStrategy::KeepLatest,
                many => PruneStrategy::KeepLast(many),
            };
            reach
                .saver()
                .await?
                .prune(&threads, &PruneOptions::new(strategy))
                .await?;
            Ok(Outcome::Done)
        })
    }

    /// What channels were given along the ancestors of a checkpoint.
    fn delta_channel_history<'py>(
        &self,
        py: Python<'py>,
        into: Into,
        place: Place,
        channels: Vec<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let reach = self.reach(py);
        run(py, into, async move {
            let config = config(place)?;
            let histories = reach
                .saver()
                .await?
                .delta_channel_history(&config, &channels)
                .await?;
            Ok(Outcome::deltas(histories))
        })
    }

    /// Changes the TTL of a thread: `touch`, `pin` or `unpin`.
    fn change_ttl<'py>(
        &self,
        py: Python<'py>,
        into: Into,
        thread_id: String,
        change: String,
    ) -> PyResult<Bound<'py, PyAny>> {
        let reach = self.reach(py);
        run(py, into, async move {
            let thread = ThreadId::new(thread_id)?;
            let saver = reach.saver().await?;
            let found = match change.as_str() {
                "pin" => saver.pin(&thread).await?,
                "unpin" => saver.unpin(&thread).await?,
                _ => saver.touch(&thread).await?,
            };
            Ok(Outcome::Flag(found))
        })
    }
}

impl Saver {
    /// What its calls reach in this process.
    fn reach(&self, py: Python<'_>) -> Reach {
        Reach::new(self.slot.get(py), self.prefix.clone())
    }
}

fn config((thread_id, namespace, checkpoint_id): Place) -> Result<CheckpointConfig, Error> {
    let mut config = CheckpointConfig::new(thread_id)?;
    config.checkpoint_ns = namespace.map(CheckpointNamespace::new).transpose()?;
    config.checkpoint_id = checkpoint_id.map(CheckpointId::new).transpose()?;
    Ok(config)
}

/// A write with its blob copied, so that no Python object is left to the runtime's thread.
fn unparsed((channel, type_name, blob, hints): Write) -> (ChannelWrite, Option<Bytes>) {
    let value = TypedValue::new(type_name, Bytes::copy_from_slice(&blob));
    let hints = hints.map(|hints| Bytes::copy_from_slice(&hints));
    (ChannelWrite::new(channel, value), hints)
}

fn parsed((mut write, hints): (ChannelWrite, Option<Bytes>)) -> Result<ChannelWrite, Error> {
    write.value.hints = hints.map(RawJson::parse).transpose()?;
    Ok(write)
}
