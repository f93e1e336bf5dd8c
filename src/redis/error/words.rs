//! Reads what servers and the TLS library say.

use super::kind::{ErrorKind, Redirection};

/// The kind of an error reply: by its code, or, where many errors share one, by its words.
pub(super) fn kind_of_reply(reply: &str) -> ErrorKind {
    use ErrorKind as Kind;
    let (code, rest) = reply.split_once(' ').unwrap_or((reply, ""));
    let says = |words: &str| reply.contains(words);
    match code {
        "MOVED" | "ASK" => Kind::Redirected(Redirection::of(reply)),
        "LOADING" => Kind::Loading,
        "BUSY" => Kind::Busy,
        "TRYAGAIN" => Kind::TryAgain,
        // A script met a key that has moved to another server already, or several of which some
        // have. Scripts check before they write, and are idempotent.
        _ if says("access a non local key") || says("during rehashing of the slot") => {
            Kind::TryAgain
        }
        "NOREPLICAS" => Kind::NoReplicas,
        "MISCONF" => Kind::CannotSave,
        "READONLY" => Kind::ReadOnly,
        "MASTERDOWN" => Kind::MasterDown,
        "CLUSTERDOWN" => Kind::ClusterDown,
        "UNBLOCKED" => Kind::Unblocked,
        "OOM" => Kind::OutOfMemory,
        "NOAUTH" | "WRONGPASS" => Kind::Authentication,
        "CROSSSLOT" => Kind::CrossSlot,
        "NOSCRIPT" => Kind::NoScript,
        "LGWRONGTYPE" => Kind::WrongTypeOfKey(rest.to_owned()),
        "LGFOREIGN" => Kind::ForeignKey(rest.to_owned()),
        "LGLOST" => Kind::LostWrite(rest.to_owned()),
        "LGUNREADABLE" => Kind::UnreadableMember(rest.to_owned()),
        "LGCONFLICT" => Kind::UnexpectedParent(rest.to_owned()),
        "LGFURTHER" => Kind::TooManyGone,
        "LGHALFREMOVED" => Kind::HalfRemoved,
        _ if says("cluster support disabled") => Kind::NoCluster,
        _ if refuses_scripts(reply) => Kind::ScriptsRefused,
        "NOPERM" => Kind::Permission,
        _ if rest.starts_with("ACL failure in script: ") => Kind::Permission,
        _ if says("unknown command") => Kind::UnknownCommand,
        _ if rest.starts_with("Unknown Redis command called from script") => Kind::UnknownCommand,
        _ if says("invalid username-password") => Kind::Authentication,
        _ if says("WRONGTYPE") || says("wrong Redis type") => Kind::WrongType,
        _ if says("created at the root") => Kind::NoDocument,
        _ => kind_of_search(reply),
    }
}

/// The kind of an error reply of the search module, whose spelling differs from version to version.
fn kind_of_search(reply: &str) -> ErrorKind {
    let reply = reply.to_lowercase();
    let says = |words: &str| reply.contains(words);
    if says("no such index") || says("unknown index") {
        ErrorKind::NoIndex
    } else if says("index") && says("already exists") {
        ErrorKind::IndexExists
    } else if says("too many cursors") {
        ErrorKind::TooManyCursors
    } else {
        ErrorKind::Other
    }
}

/// Whether the refused command is one that runs scripts. The errors of a script itself name the
/// commands in it.
fn refuses_scripts(reply: &str) -> bool {
    let refusals = [
        "NOPERM",
        "unknown command",
        "not allowed",
        "not supported",
        "disabled",
    ];
    let named = reply.split(['\'', '`', '"']).nth(1);
    let named = named.or_else(|| reply.split(' ').nth(1)).unwrap_or(reply);
    let named = named.to_lowercase();
    matches!(named.as_str(), "eval" | "evalsha")
        && refusals.iter().any(|refusal| reply.contains(refusal))
}

impl Redirection {
    /// Reads `MOVED SLOT HOST:PORT` or `ASK SLOT HOST:PORT`.
    fn of(reply: &str) -> Option<Self> {
        let mut words = reply.split(' ');
        let (kind, slot, address) = (words.next()?, words.next()?, words.next()?);
        let slot: u16 = slot.parse().ok()?;
        let (host, port) = address.rsplit_once(':')?;
        let (host, port) = (host.to_owned(), port.parse().ok()?);
        match kind {
            "MOVED" => Some(Self::Moved { slot, host, port }),
            "ASK" => Some(Self::Ask { host, port }),
            _ => None,
        }
    }
}

/// Why TLS cannot be agreed on, if an error, as `Debug` shows it, says so.
pub(super) fn tls_refusal(debug: &str) -> Option<&'static str> {
    let mut refusals = TLS_REFUSALS.iter();
    refusals
        .find(|(variant, _)| debug.contains(variant))
        .map(|(_, reason)| *reason)
}

/// The variants of rustls' errors, and what they mean for the caller; the first that fits counts.
const TLS_REFUSALS: [(&str, &str); 9] = [
    (
        "UnknownIssuer",
        "nobody who is trusted has signed its certificate: name the file of the authority's certificate in `tls_ca_file`",
    ),
    (
        "NotValidForName",
        "its certificate is for another name: write a name in `url` that it is for, or have it signed for this one",
    ),
    (
        "InvalidCertificate(Expired",
        "its certificate has expired: have a new one signed",
    ),
    (
        "InvalidCertificate(NotValidYet",
        "its certificate is not valid yet: look at the clocks",
    ),
    (
        "InvalidCertificate(",
        "its certificate is not one that `tls_ca_file` or the system's authorities vouch for",
    ),
    (
        "AlertReceived(CertificateRequired",
        "it asks for a certificate: set `tls_cert_file` and `tls_key_file`",
    ),
    (
        "AlertReceived(",
        "it does not accept the handshake: see what `tls_cert_file` it asks for, and its log",
    ),
    (
        "InvalidMessage(",
        "what answers there does not speak TLS: write the port that does in `url`",
    ),
    (
        "PeerIncompatible(",
        "it speaks TLS of before 1.2, or without a cipher that is known: look at its `tls-protocols` and `tls-ciphers`",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::too_many_lines)] // It is a table.
    fn replies_are_told_apart_by_code_and_words() {
        use ErrorKind as Kind;
        let key = || "checkpoint:t".to_owned();
        for (reply, expected) in [
            (
                "LOADING Redis is loading the dataset in memory",
                Kind::Loading,
            ),
            ("BUSY Redis is busy running a script.", Kind::Busy),
            (
                "TRYAGAIN Multiple keys request during rehashing of slot",
                Kind::TryAgain,
            ),
            (
                "ERR Script attempted to access a non local key in a cluster node script: 1f",
                Kind::TryAgain,
            ),
            (
                "ERR Unable to execute command 'exists' in script because undeclared keys were accessed during rehashing of the slot script: 1f, on @user_script:145.",
                Kind::TryAgain,
            ),
            (
                "NOREPLICAS Not enough good replicas to write.",
                Kind::NoReplicas,
            ),
            (
                "MISCONF Redis is configured to save RDB snapshots",
                Kind::CannotSave,
            ),
            (
                "READONLY You can't write against a read only replica.",
                Kind::ReadOnly,
            ),
            ("MASTERDOWN Link with MASTER is down", Kind::MasterDown),
            ("CLUSTERDOWN Hash slot not served", Kind::ClusterDown),
            (
                "UNBLOCKED force unblock from blocking operation",
                Kind::Unblocked,
            ),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                Kind::OutOfMemory,
            ),
            ("NOAUTH Authentication required.", Kind::Authentication),
            (
                "WRONGPASS invalid username-password pair",
                Kind::Authentication,
            ),
            ("ERR invalid username-password pair", Kind::Authentication),
            (
                "NOPERM User x has no permissions to run the 'get' command",
                Kind::Permission,
            ),
            (
                "ERR ACL failure in script: User x has no permissions to run the 'get' command script: 1f, on @user_script:1.",
                Kind::Permission,
            ),
            (
                "CROSSSLOT Keys in request don't hash to the same slot",
                Kind::CrossSlot,
            ),
            (
                "NOSCRIPT No matching script. Please use EVAL.",
                Kind::NoScript,
            ),
            (
                "ERR unknown command 'JSON.SET', with args",
                Kind::UnknownCommand,
            ),
            (
                "ERR Unknown Redis command called from script script: 1f, on @user_script:9.",
                Kind::UnknownCommand,
            ),
            (
                "ERR This instance has cluster support disabled",
                Kind::NoCluster,
            ),
            (
                "WRONGTYPE Operation against a key holding the wrong kind of value",
                Kind::WrongType,
            ),
            (
                "ERR WRONGTYPE Operation against a key holding the wrong kind of value script: 1f",
                Kind::WrongType,
            ),
            ("Existing key has wrong Redis type", Kind::WrongType),
            (
                "ERR new objects must be created at the root",
                Kind::NoDocument,
            ),
            ("Index already exists", Kind::IndexExists),
            ("BUSYKEY Target key name already exists.", Kind::Other),
            ("checkpoint: no such index", Kind::NoIndex),
            ("Unknown Index name", Kind::NoIndex),
            (
                "INDEX_CURSOR_LIMIT Too many cursors allocated",
                Kind::TooManyCursors,
            ),
            ("LGWRONGTYPE checkpoint:t", Kind::WrongTypeOfKey(key())),
            ("LGFOREIGN checkpoint:t", Kind::ForeignKey(key())),
            ("LGLOST checkpoint:t", Kind::LostWrite(key())),
            ("LGUNREADABLE checkpoint:t", Kind::UnreadableMember(key())),
            ("LGCONFLICT ", Kind::UnexpectedParent(String::new())),
            ("LGFURTHER", Kind::TooManyGone),
            ("LGHALFREMOVED", Kind::HalfRemoved),
            ("ERR something else", Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(kind_of_reply(reply), expected, "{reply}");
        }
    }

    #[test]
    fn redirections_are_read() {
        assert_eq!(
            kind_of_reply("MOVED 3999 10.0.0.1:6381"),
            ErrorKind::Redirected(Some(Redirection::Moved {
                slot: 3_999,
                host: "10.0.0.1".to_owned(),
                port: 6_381
            }))
        );
        assert_eq!(
            kind_of_reply("ASK 3999 ::1:6381"),
            ErrorKind::Redirected(Some(Redirection::Ask {
                host: "::1".to_owned(),
                port: 6_381
            }))
        );
        assert_eq!(kind_of_reply("MOVED here"), ErrorKind::Redirected(None));
        assert_eq!(Redirection::of("ERR no"), None);
    }
}
