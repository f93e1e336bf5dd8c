//! What keys may do, and what each endpoint needs.

use std::fmt;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Reads.
    Read,
    /// Stores, copies and keeps; removes nothing.
    Write,
    /// Removes.
    Admin,
}

/// The scope that each endpoint needs. An endpoint that is not here needs [`Scope::Admin`].
pub(super) const ENDPOINTS: &[(&str, Scope)] = &[
    ("/checkpoints/get-tuple", Scope::Read),
    ("/checkpoints/list", Scope::Read),
    ("/checkpoints/put", Scope::Write),
    ("/checkpoints/put-writes", Scope::Write),
    ("/checkpoints/delete-thread", Scope::Admin),
    // Every client calls it first; the service itself has created the indexes before.
    ("/v1/setup", Scope::Read),
    ("/v1/get-tuple", Scope::Read),
    ("/v1/list", Scope::Read),
    ("/v1/threads", Scope::Read),
    ("/v1/delta-channel-history", Scope::Read),
    ("/v1/put", Scope::Write),
    ("/v1/put-writes", Scope::Write),
    ("/v1/copy-thread", Scope::Write),
    ("/v1/touch", Scope::Write),
    ("/v1/pin", Scope::Write),
    ("/v1/unpin", Scope::Write),
    ("/v1/delete-thread", Scope::Admin),
    ("/v1/delete-for-runs", Scope::Admin),
    ("/v1/prune", Scope::Admin),
    ("/metrics", Scope::Read),
];

impl Scope {
    const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// What a request to a route does.
    pub(super) fn of(route: &str) -> Self {
        let endpoint = ENDPOINTS.iter().find(|(path, _)| *path == route);
        endpoint.map_or(Self::Admin, |(_, scope)| *scope)
    }

    /// The name of the scope in a file of keys.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// The scopes of a key, none of which includes another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Scopes(u8);

impl Scopes {
    pub(super) const ALL: Self = Self(0b111);

    /// Parses names with commas between them.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut scopes = Self(0);
        for name in text.split(',') {
            let scope = Scope::ALL.into_iter().find(|scope| scope.name() == name);
            let scope = scope.ok_or_else(|| {
                format!("`{name}` is not a scope; there are `read`, `write` and `admin`")
            })?;
            scopes.0 |= 1 << scope as u8;
        }
        Ok(scopes)
    }

    pub(super) fn include(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes = Scope::ALL.into_iter().filter(|scope| self.include(*scope));
        formatter
            .debug_set()
            .entries(scopes.map(Scope::name))
            .finish()
    }
}

/// Says in the OpenAPI document which scope each endpoint needs.
pub(super) fn describe(document: &mut utoipa::openapi::OpenApi) {
    for (path, item) in &mut document.paths.paths {
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            // An endpoint with a requirement of its own needs no key.
            let is_open = operation.security.as_ref().is_some_and(|needed| {
                needed.contains(&utoipa::openapi::SecurityRequirement::default())
            });
            if is_open {
                continue;
            }
            let needs = format!("Needs the scope `{}`.", Scope::of(path).name());
            operation.description = Some(match operation.description.take() {
                Some(description) => format!("{description}\n\n{needs}"),
                None => needs,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_scope_includes_another() {
        for (text, expected) in [
            ("read", [true, false, false]),
            ("write", [false, true, false]),
            ("admin", [false, false, true]),
            ("read,admin", [true, false, true]),
        ] {
            let scopes = Scopes::parse(text).unwrap();
            assert_eq!(Scope::ALL.map(|scope| scopes.include(scope)), expected);
        }
        for wrong in ["", "Read", "read,", "read write", "all"] {
            assert!(Scopes::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_endpoint_needs_the_most() {
        assert_eq!(Scope::of("/v1/drop-everything"), Scope::Admin);
    }
}
