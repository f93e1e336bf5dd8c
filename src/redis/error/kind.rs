//! The kinds of errors of servers and connections.

/// What code matches on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::redis) enum ErrorKind {
    /// The connection was lost or cannot be made.
    Lost,
    /// One side does not accept the other's TLS, for this reason.
    Tls(&'static str),
    /// The server speaks TLS on a port where the connection does not.
    SpeaksTls,
    /// A client of the caller's gave up waiting.
    TimedOut,
    /// The provider of credentials has none.
    NoCredentials,
    /// User name or password are refused, or missing.
    Authentication,
    /// The user may not run a command or use a key.
    Permission,
    /// The server, or a proxy in front of it, does not run scripts for this user.
    ScriptsRefused,
    /// Another server has the slot; `None` if the redirection cannot be read.
    Redirected(Option<Redirection>),
    /// The server loads its data.
    Loading,
    /// The server runs a script that does not end.
    Busy,
    /// The slot is being moved, and some of its keys are elsewhere.
    TryAgain,
    /// Fewer replicas are connected than the server needs for writes.
    NoReplicas,
    /// The server cannot save to disk, and so takes no writes.
    CannotSave,
    /// The server is a replica.
    ReadOnly,
    /// The server is a replica that has lost its primary.
    MasterDown,
    /// The cluster does not serve the slot.
    ClusterDown,
    /// A command that waited was stopped, because the server became a replica.
    Unblocked,
    /// A client of the caller's cannot take a command at the moment.
    Unavailable,
    /// The server has no memory left for writes.
    OutOfMemory,
    /// The server is not a cluster.
    NoCluster,
    /// The keys of a command are in several slots.
    CrossSlot,
    /// The server does not know a script by its hash.
    NoScript,
    /// The server does not know a command.
    UnknownCommand,
    /// A key holds another type of value.
    WrongType,
    /// A path was to be set in a JSON document that does not exist.
    NoDocument,
    /// An index exists.
    IndexExists,
    /// An index does not exist.
    NoIndex,
    /// A search has no room for another cursor.
    TooManyCursors,
    /// A script met a key that holds another type of value than the saver's.
    WrongTypeOfKey(String),
    /// A script met a key of another thread or namespace.
    ForeignKey(String),
    /// A script met a registered write whose document is gone.
    LostWrite(String),
    /// A script met a key that has a member which no saver writes.
    UnreadableMember(String),
    /// Another checkpoint than the expected parent is the newest; empty if there is none.
    UnexpectedParent(String),
    /// More checkpoints whose documents are gone are registered than a script may pass over.
    TooManyGone,
    /// A script would have stored something of a checkpoint whose writes are being removed.
    HalfRemoved,
    /// Anything else.
    Other,
}

/// Where a server sends a command that it does not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::redis) enum Redirection {
    /// The slot has moved there.
    Moved { slot: u16, host: String, port: u16 },
    /// This command is to be sent there once, as the slot is being moved.
    Ask { host: String, port: u16 },
}
