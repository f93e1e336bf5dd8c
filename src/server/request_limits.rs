//! How long names may be. Every key of a write holds the names of its thread, namespace and
//! checkpoint, so that long names times many writes would be far more than the request itself.

use super::problem::Problem;
use crate::error::{Error, Result};
use crate::wire::{LONGEST, LONGEST_PATH, MOST};

/// Refuses a name that is too long.
pub(super) fn check(field: &str, name: &str) -> Result<()> {
    check_length(field, name, LONGEST)
}

/// Refuses a namespace or a path that is too long.
pub(super) fn check_path(field: &str, path: &str) -> Result<()> {
    check_length(field, path, LONGEST_PATH)
}

fn check_length(field: &str, name: &str, most: usize) -> Result<()> {
    // There are no more characters than bytes.
    if name.len() <= most || name.chars().count() <= most {
        return Ok(());
    }
    Err(Error::invalid(
        field,
        format!("it has more than {most} characters"),
    ))
}

/// Refuses names that would be more than a body may be, once they stand in every key.
pub(super) fn check_together(what: &str, count: usize, names: &[&str], limit: usize) -> Result<()> {
    let each: usize = names.iter().map(|name| name.len()).sum();
    if count.saturating_mul(each) <= limit.max(each) {
        return Ok(());
    }
    Err(Error::invalid(
        what,
        format!(
            "there are {count}, and their thread, namespace and checkpoint have names of {each} bytes; send them in several requests"
        ),
    ))
}

/// Refuses more than one request may hold.
pub(super) fn check_count(what: &str, count: usize) -> Result<(), Problem> {
    if count > MOST {
        let message = format!(
            "{what} cannot be used: there are {count}, and one request takes {MOST} at most: send several"
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
        assert!(check("thread_id", &"é".repeat(LONGEST)).is_ok());
        let error = check("thread_id", &"é".repeat(LONGEST + 1)).unwrap_err();
        assert!(error.to_string().contains("thread_id"), "{error}");
    }

    #[test]
    fn long_names_are_taken_alone_but_not_often() {
        let long = "x".repeat(60_000);
        assert!(check_together("writes", 1, &[&long, "a"], 10).is_ok());
        assert!(check_together("writes", 500, &[&long], 32 << 20).is_ok());
        assert!(check_together("writes", 10_000, &[&long], 32 << 20).is_err());
        assert!(check_together("writes", 10_000, &["thread", "", "1f"], 32 << 20).is_ok());
    }
}
