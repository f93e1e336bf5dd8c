//! Whether an API key is random enough, as far as its characters tell.

/// The shortest key that is accepted, in characters.
const MIN_CHARACTERS: usize = 20;
/// How many bits a key must have by the estimate, which falls short of a random key's by up to a half.
const MIN_BITS: f64 = 48.0;

/// Refuses a key that is short or repeats itself, with the reason. It knows no words: that a key
/// passes does not make it random.
pub(super) fn check(key: &str) -> Result<(), String> {
    let length = key.chars().count();
    if length < MIN_CHARACTERS {
        return Err(format!(
            "the key has {length} characters; at least {MIN_CHARACTERS} are needed, at random"
        ));
    }
    if bits(key) < MIN_BITS {
        return Err("the key repeats itself or follows a pattern; it must be random".to_owned());
    }
    Ok(())
}

/// An estimate of the bits of a key: each character counts as one of those that occur, unless the
/// one before announces it.
#[allow(clippy::cast_precision_loss)] // Keys are short.
fn bits(key: &str) -> f64 {
    let characters: Vec<char> = key.chars().collect();
    let mut different = characters.clone();
    different.sort_unstable();
    different.dedup();
    let pairs: Vec<_> = characters.windows(2).collect();
    let announced = pairs.iter().enumerate().filter(|(position, pair)| {
        let (from, to) = (pair[0] as u32, pair[1] as u32);
        from.abs_diff(to) <= 1 || pairs[..*position].contains(pair)
    });
    let counted = characters.len() - announced.count();
    counted as f64 * (different.len() as f64).log2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    #[test]
    fn random_keys_of_128_bits_are_accepted_in_each_usual_form() {
        let mut random = rand::rng();
        for _ in 0..2_000 {
            let number: u128 = random.random();
            let hex = format!("{number:032x}");
            check(&hex).unwrap_or_else(|reason| panic!("{hex}: {reason}"));
            let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let base64: String = (0..22)
                .map(|digit| alphabet[(number >> (6 * digit)) as usize % 64] as char)
                .collect();
            check(&base64).unwrap_or_else(|reason| panic!("{base64}: {reason}"));
            let uuid = uuid::Uuid::from_u128(number).to_string();
            check(&uuid).unwrap_or_else(|reason| panic!("{uuid}: {reason}"));
        }
    }

    #[test]
    fn keys_that_are_short_or_repeat_themselves_are_refused() {
        for key in [
            "",
            "secret",
            "changeme-changeme",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "0123456789012345678901234567890123456789",
            "abcdefghijklmnopqrstuvwxyz",
            "zyxwvutsrqponmlkjihgfedcba",
            "passwordpasswordpassword",
            "password password password password",
        ] {
            assert!(check(key).is_err(), "{key} is accepted");
        }
    }
}
