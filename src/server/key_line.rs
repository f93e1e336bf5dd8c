//! A line of a file of keys: `name:hash[options]:prefix`.

use jiff::Timestamp;

use super::key_limits::KeyLimits;
use super::scopes::Scopes;

/// What a line says.
pub(super) struct KeyLine<'a> {
    pub(super) name: &'a str,
    pub(super) hash: [u8; 32],
    pub(super) expires: Option<Timestamp>,
    pub(super) scopes: Scopes,
    pub(super) limits: KeyLimits,
    pub(super) prefix: &'a str,
}

/// Parses a line that is neither empty nor a comment; else says why it is refused, without its
/// hash.
pub(super) fn parse(line: &str) -> Result<KeyLine<'_>, String> {
    if line.ends_with(char::is_whitespace) {
        return Err(
            "it ends with a blank, which would belong to the prefix unseen; remove the blank"
                .to_owned(),
        );
    }
    let (name, rest) = line.split_once(':').unwrap_or((line, ""));
    let name = name.trim();
    if name.is_empty() {
        return Err("the key has no name; write `name:hash`".to_owned());
    }
    // A hash has neither character, so what follows it cannot be taken for a part of it.
    let end = rest.find(['[', ':']).unwrap_or(rest.len());
    let (hash, rest) = rest.split_at(end);
    let hash = from_hex(hash.trim())
        .ok_or_else(|| "the hash is not a SHA-256 of 64 hexadecimal digits".to_owned())?;
    let mut parsed = KeyLine {
        name,
        hash,
        expires: None,
        scopes: Scopes::ALL,
        limits: KeyLimits::default(),
        prefix: "",
    };
    let rest = match rest.strip_prefix('[') {
        Some(rest) => {
            let (options, rest) = rest
                .split_once(']')
                .ok_or_else(|| "the options have no `]` at their end".to_owned())?;
            parsed.set(options)?;
            rest
        }
        None => rest,
    };
    match rest.strip_prefix(':') {
        Some("") => {
            return Err("the prefix is empty; leave out the colon before it for a key that reaches every thread".to_owned());
        }
        Some(prefix) => parsed.prefix = prefix,
        None if rest.is_empty() => {}
        None => {
            return Err("only a colon and the prefix may follow the options".to_owned());
        }
    }
    Ok(parsed)
}

impl KeyLine<'_> {
    fn set(&mut self, options: &str) -> Result<(), String> {
        let mut known: Vec<&str> = Vec::new();
        for option in options.split_whitespace() {
            let (name, value) = option
                .split_once('=')
                .ok_or_else(|| format!("the option `{option}` has no value; write `name=value`"))?;
            if known.contains(&name) {
                return Err(format!("the option `{name}` occurs twice; remove one"));
            }
            known.push(name);
            self.set_one(name, value)?;
        }
        Ok(())
    }

    fn set_one(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "expires" => self.expires = Some(time(value)?),
            "scopes" => self.scopes = Scopes::parse(value)?,
            _ => {
                let field = name.replace('-', "_");
                let mut limits = self.limits.named().into_iter();
                let limit = limits.find(|(limit, _)| *limit == field && !name.contains('_'));
                let (_, limit) = limit.ok_or_else(|| {
                    format!(
                        "`{name}` is not an option; there are `expires`, `scopes`, \
                         `max-in-flight`, `rate`, `burst`, `max-held-bytes` and `max-body-bytes`"
                    )
                })?;
                let number = value.parse().ok().filter(|number| *number > 0);
                *limit = Some(number.ok_or_else(|| {
                    format!("`{name}` is `{value}`; it must be a positive integer")
                })?);
            }
        }
        Ok(())
    }
}

/// The time of a date, which is its first instant in UTC, or of a timestamp.
fn time(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .or_else(|_| format!("{text}T00:00:00Z").parse())
        .map_err(|_| {
            format!("`expires` is `{text}`; write a date or a time, such as 2027-01-31 or 2027-01-31T12:00:00Z")
        })
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::scopes::Scope;
    use super::*;

    const HASH: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    #[test]
    fn what_follows_the_options_is_the_prefix_whatever_it_holds() {
        for prefix in ["team-a/", "a:b", "[scopes=read]", "]", "a [b]:c]", "é:"] {
            let plain = format!("name:{HASH}:{prefix}");
            let parsed = parse(&plain).unwrap();
            assert_eq!((parsed.prefix, parsed.scopes), (prefix, Scopes::ALL));
            let confined = format!("name:{HASH}[scopes=read rate=7]:{prefix}");
            let parsed = parse(&confined).unwrap();
            assert_eq!((parsed.prefix, parsed.limits.rate), (prefix, Some(7)));
            assert!(!parsed.scopes.include(Scope::Write));
        }
        // A name may have brackets, as it always could.
        assert_eq!(parse(&format!("a[b=c]:{HASH}")).unwrap().name, "a[b=c]");
    }

    #[test]
    fn each_option_is_read() {
        let line = format!(
            "n:{HASH}[expires=2027-01-31 scopes=read,write max-in-flight=1 rate=2 burst=3 \
             max-held-bytes=4 max-body-bytes=5]"
        );
        let mut parsed = parse(&line).unwrap();
        let expires = parsed.expires.unwrap().to_string();
        assert_eq!(expires, "2027-01-31T00:00:00Z");
        assert!(parsed.scopes.include(Scope::Write) && !parsed.scopes.include(Scope::Admin));
        let limits = parsed.limits.named().map(|(_, limit)| *limit);
        assert_eq!(limits, [1, 2, 3, 4, 5].map(Some));
        let at = format!("n:{HASH}[expires=2027-01-31T12:00:00+02:00]");
        let expires = parse(&at).unwrap().expires.unwrap().to_string();
        assert_eq!(expires, "2027-01-31T10:00:00Z");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_a_reason() {
        for (rest, says) in [
            (" ", "ends with a blank"),
            (":team-a/ ", "ends with a blank"),
            (":team-a/\u{a0}", "ends with a blank"),
            ("[", "no `]`"),
            ("[rate=1", "no `]`"),
            ("[rate]", "`rate` has no value"),
            ("[rate=0]", "positive integer"),
            ("[rate=-1]", "positive integer"),
            ("[rate=1 rate=2]", "occurs twice"),
            ("[max_in_flight=1]", "not an option"),
            ("[scope=read]", "not an option"),
            ("[scopes=all]", "not a scope"),
            ("[expires=tomorrow]", "write a date"),
            ("[expires=2027-02-30]", "write a date"),
            ("[rate=1]team-a/", "colon"),
            ("[rate=1]:", "prefix is empty"),
            (":", "prefix is empty"),
        ] {
            let line = format!("name:{HASH}{rest}");
            let Err(reason) = parse(&line) else {
                panic!("{rest} was read");
            };
            assert!(reason.contains(says), "{rest}: {reason}");
            assert!(!reason.contains(HASH));
        }
    }
}
