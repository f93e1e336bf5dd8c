//! Limits on the items of a request and on the length of names.
//!
//! Every key of a write contains the names of its thread, namespace and checkpoint, so that long
//! names times many writes would need far more memory than the request itself.

use super::problem::Problem;
use crate::error::{Error, Result};
use crate::wire::{MAX_ITEMS, MAX_NAME_CHARS, MAX_PATH_CHARS};

/// Refuses a name that is too long.
pub(super) fn check(field: &str, name: &str) -> Result<()> {
    check_length(field, name, MAX_NAME_CHARS)
}

/// Refuses a namespace or a path that is too long.
pub(super) fn check_path(field: &str, path: &str) -> Result<()> {
    check_length(field, path, MAX_PATH_CHARS)
}

fn check_length(field: &str, name: &str, max: usize) -> Result<()> {
    // A string has at most as many characters as bytes.
    if name.len() <= max || name.chars().count() <= max {
        return Ok(());
    }
    Err(Error::invalid(
        field,
        format!("it has more than {max} characters"),
    ))
}

/// Refuses items whose keys together would be larger than a body may be.
pub(super) fn check_together(what: &str, count: usize, names: &[&str], limit: usize) -> Result<()> {
    let each: usize = names.iter().map(|name| name.len()).sum();
    if count.saturating_mul(each) <= limit.max(each) {
        return Ok(());
    }
    Err(Error::invalid(
        what,
        format!(
            "there are {count}, and each key contains {each} bytes of names; send them in several requests"
        ),
    ))
}

/// Refuses more items than one request may hold.
pub(super) fn check_count(what: &str, count: usize) -> Result<(), Problem> {
    if count > MAX_ITEMS {
        let message = format!(
            "{what} cannot be used: there are {count}, and a request may hold {MAX_ITEMS}; send them in several requests"
        );
        return Err(Problem::unprocessable(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_not_bytes() {
        assert!(check("thread_id", &"é".repeat(MAX_NAME_CHARS)).is_ok());
        let error = check("thread_id", &"é".repeat(MAX_NAME_CHARS + 1)).unwrap_err();
        assert!(error.to_string().contains("thread_id"), "{error}");
    }

    #[test]
    fn long_names_are_accepted_once_but_not_in_many_keys() {
        let long = "x".repeat(60_000);
        assert!(check_together("writes", 1, &[&long, "a"], 10).is_ok());
        assert!(check_together("writes", 500, &[&long], 32 << 20).is_ok());
        assert!(check_together("writes", 10_000, &[&long], 32 << 20).is_err());
        assert!(check_together("writes", 10_000, &["thread", "", "1f"], 32 << 20).is_ok());
    }
}
