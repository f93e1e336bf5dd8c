//! The sessions of people who have come in with a key: random, in memory, bounded, expiring.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::Rng;
use sha2::{Digest, Sha256};

/// How long a session lasts.
pub(super) const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// How many sessions there may be, and how many of one key: the oldest of the key gives way.
const MAX_SESSIONS: usize = 4_096;
const MAX_OF_KEY: usize = 64;

/// The sessions, by the hash of what is in the cookie.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

/// A session.
#[derive(Clone)]
pub(super) struct Session {
    /// The hash of the key that it was opened with.
    pub(super) key: [u8; 32],
    /// What a form must hold.
    pub(super) csrf: String,
    expires: Instant,
}

impl Sessions {
    /// Opens a session with a key, and returns what goes into the cookie; `None` if there are too
    /// many.
    pub(super) fn open(&self, key: [u8; 32]) -> Option<String> {
        self.open_until(key, Instant::now() + LIFETIME)
    }

    fn open_until(&self, key: [u8; 32], expires: Instant) -> Option<String> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        sessions.retain(|_, session| session.expires > now);
        let of_key = sessions.iter().filter(|(_, session)| session.key == key);
        if of_key.clone().count() >= MAX_OF_KEY {
            let oldest = of_key.min_by_key(|(_, session)| session.expires);
            let oldest = oldest.map(|(name, _)| *name);
            oldest.and_then(|name| sessions.remove(&name));
        }
        if sessions.len() >= MAX_SESSIONS {
            return None;
        }
        let cookie = secret();
        let csrf = secret();
        sessions.insert(hash(cookie.as_bytes()), Session { key, csrf, expires });
        Some(cookie)
    }

    /// The session of a cookie.
    pub(super) fn find(&self, cookie: &str) -> Option<Session> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = sessions.get(&hash(cookie.as_bytes()))?;
        (found.expires > Instant::now()).then(|| found.clone())
    }

    /// Ends the session of a cookie.
    pub(super) fn close(&self, cookie: &str) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.remove(&hash(cookie.as_bytes()));
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sessions")
    }
}

/// A random secret of 256 bits, as hexadecimal digits.
pub(crate) fn secret() -> String {
    let mut bytes = [0_u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    hex(&bytes)
}

/// The SHA-256 of a secret.
pub(crate) fn hash(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_at_its_time_and_when_it_is_closed() {
        let sessions = Sessions::default();
        let (kept, closed) = (sessions.open([1; 32]), sessions.open([1; 32]));
        let past = sessions.open_until([1; 32], Instant::now()).unwrap();
        assert!(sessions.find(&past).is_none());
        sessions.close(closed.as_deref().unwrap());
        assert!(sessions.find(closed.as_deref().unwrap()).is_none());
        assert_eq!(
            sessions.find(kept.as_deref().unwrap()).unwrap().key,
            [1; 32]
        );
        assert!(sessions.find("").is_none());
    }

    #[test]
    fn the_oldest_session_of_a_key_gives_way_and_no_other_keys() {
        let sessions = Sessions::default();
        let others = sessions.open([2; 32]).unwrap();
        let opened: Vec<_> = (0..=MAX_OF_KEY as u64)
            .map(|age| {
                let expires = Instant::now() + LIFETIME + Duration::from_secs(age);
                sessions.open_until([1; 32], expires).unwrap()
            })
            .collect();
        assert!(sessions.find(&opened[0]).is_none());
        assert!(opened[1..].iter().all(|one| sessions.find(one).is_some()));
        assert!(sessions.find(&others).is_some());
    }
}
