//! `tracestate`: what the systems of a trace pass on to each other, as `key=value` members.

/// Members at most.
const MAX_MEMBERS: usize = 32;
/// Characters that are passed on at most; so many have to be.
const MAX_LENGTH: usize = 512;
/// Members longer than this are the first to go where all of them are too long.
const LONG_MEMBER: usize = 128;
const MAX_KEY: usize = 256;
const MAX_VALUE: usize = 256;

/// Why a `tracestate` can't be used; it goes after the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceStateError {
    /// There are too many members.
    #[error("it has more than 32 members")]
    TooMany,
    /// One of them is malformed.
    #[error("its member number {0} is not KEY=VALUE as the W3C trace context has it")]
    Member(usize),
    /// One of them has the key of another.
    #[error("its member number {0} has the key of another one")]
    Duplicate(usize),
}

/// Reads a `tracestate`, and shortens it to what is passed on; none if nothing is in it.
pub(super) fn parse(text: &str) -> Result<Option<String>, TraceStateError> {
    let mut members: Vec<&str> = Vec::new();
    let mut keys: Vec<&str> = Vec::new();
    for member in text.split(',').map(|member| member.trim_matches([' ', '\t'])) {
        if member.is_empty() {
            continue;
        }
        let number = members.len() + 1;
        if number > MAX_MEMBERS {
            return Err(TraceStateError::TooMany);
        }
        let (key, value) = member.split_once('=').ok_or(TraceStateError::Member(number))?;
        if !is_key(key) || !is_value(value) {
            return Err(TraceStateError::Member(number));
        }
        if keys.contains(&key) {
            return Err(TraceStateError::Duplicate(number));
        }
        keys.push(key);
        members.push(member);
    }
    shorten(&mut members);
    Ok((!members.is_empty()).then(|| members.join(",")))
}

/// Leaves out members until the rest may be passed on: long ones first, then the last ones, which are the oldest.
fn shorten(members: &mut Vec<&str>) {
    let length = |members: &[&str]| members.iter().map(|member| member.len() + 1).sum::<usize>();
    while length(members) > MAX_LENGTH + 1 {
        let long = members.iter().rposition(|member| member.len() > LONG_MEMBER);
        members.remove(long.unwrap_or(members.len() - 1));
    }
}

fn is_key(key: &str) -> bool {
    let is_start = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |byte: &u8| is_start(byte) || b"_-*/@".contains(byte);
    let bytes = key.as_bytes();
    (1..=MAX_KEY).contains(&bytes.len())
        && bytes.first().is_some_and(is_start)
        && bytes.iter().all(is_part)
        && bytes.iter().filter(|byte| **byte == b'@').count() <= 1
}

/// Printable characters of ASCII without `,` and `=`. The last is no space: those around a member are not part of it.
fn is_value(value: &str) -> bool {
    let is_part = |byte: u8| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=';
    (1..=MAX_VALUE).contains(&value.len()) && value.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_kept_in_order_without_what_is_between_them() {
        for (text, kept) in [
            ("", None),
            (" , ,", None),
            ("rojo=00f067aa0ba902b7", Some("rojo=00f067aa0ba902b7")),
            ("a=1 ,\tb=2,,c@d=x y", Some("a=1,b=2,c@d=x y")),
            ("1a-_*/=~!", Some("1a-_*/=~!")),
        ] {
            assert_eq!(parse(text).unwrap().as_deref(), kept, "{text}");
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        use TraceStateError::{Duplicate, Member, TooMany};
        let many: Vec<_> = (0..33).map(|number| format!("k{number}=v")).collect();
        for (text, error) in [
            ("a", Member(1)),
            ("a=", Member(1)),
            ("=1", Member(1)),
            ("a=1,B=2", Member(2)),
            ("a=1=2", Member(1)),
            ("a=ü", Member(1)),
            ("a@b@c=1", Member(1)),
            ("a=1,b=2,a=3", Duplicate(3)),
            (&format!("a={}", "v".repeat(257)), Member(1)),
            (&format!("{}=1", "k".repeat(257)), Member(1)),
            (&many.join(","), TooMany),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn what_is_too_long_to_pass_on_loses_long_members_and_then_the_oldest() {
        let long = format!("long={}", "v".repeat(200));
        let short: Vec<_> = (0..20)
            .map(|number| format!("k{number:02}={}", "v".repeat(26)))
            .collect();
        let text = format!("{},{long},{}", short[0], short[1..].join(","));
        let kept = parse(&text).unwrap().unwrap();
        assert!(
            kept.len() <= MAX_LENGTH && kept.len() > MAX_LENGTH - 31,
            "{}",
            kept.len()
        );
        assert!(short.join(",").starts_with(&kept), "{kept}");
        let exact = format!("a={},b={}", "v".repeat(253), "v".repeat(254));
        assert_eq!(exact.len(), 512);
        assert_eq!(parse(&exact).unwrap().as_deref(), Some(exact.as_str()));
    }
}
