//! "Did you mean": the known name that a misspelt one most likely stands for.

/// Names longer than this are not typing errors of ours, and comparing them would be slow.
const MAX_NAME_BYTES: usize = 100;

/// A shorter beginning of a name says too little.
const MIN_BEGINNING_BYTES: usize = 3;

/// The candidate closest to `name`, if one is close enough.
pub fn closest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    candidates
        .into_iter()
        .filter_map(|candidate| Some((distance(name, candidate)?, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The candidate that `name` is most likely a misspelling of: as [`closest`], but the beginning of a name is a name of
/// its own.
pub fn misspelt<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    let begins = |candidate: &str| {
        let rest = candidate.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['_', '-']))
    };
    let letters_of_name = letters(name);
    candidates
        .into_iter()
        .filter(|candidate| !begins(candidate))
        .filter_map(|candidate| Some((slips(&letters_of_name, &letters(candidate))?, candidate)))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// How far `name` is from `candidate`, if it is close enough to be a slip of the pen: other case, `-` for
/// `_`, the beginning alone, or about one wrong, missing, extra or swapped letter in three.
pub(crate) fn distance(name: &str, candidate: &str) -> Option<usize> {
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    let (name, candidate) = (letters(name), letters(candidate));
    let is_beginning = name.len() >= MIN_BEGINNING_BYTES && candidate.starts_with(&name);
    match slips(&name, &candidate) {
        None if is_beginning => Some(candidate.len() - name.len()),
        slips => slips,
    }
}

/// How many letters are wrong, missing, extra or swapped, if about one in three at most.
fn slips(name: &str, candidate: &str) -> Option<usize> {
    let slips = strsim::damerau_levenshtein(name, candidate);
    (slips * 3 <= candidate.chars().count()).then_some(slips)
}

fn letters(name: &str) -> String {
    let kept = name.chars().filter(|c| !matches!(c, '_' | '-' | ' '));
    kept.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::{closest, misspelt};

    const NAMES: [&str; 4] = ["command", "environment", "metadata", "invocation_id"];

    #[test]
    fn slips_of_the_pen_are_recognised() {
        for (typed, meant) in [
            ("comand", "command"),
            ("enviroment", "environment"),
            ("metdata", "metadata"),
            ("env", "environment"),
            ("invocationId", "invocation_id"),
            ("Invocation-ID", "invocation_id"),
        ] {
            assert_eq!(closest(typed, NAMES), Some(meant), "{typed}");
        }
    }

    #[test]
    fn the_beginning_of_a_name_is_no_misspelling_of_it() {
        let names = ["http-async", "manual"];
        assert_eq!(misspelt("http", names), None);
        assert_eq!(closest("http", names), Some("http-async"));
        assert_eq!(misspelt("openai-response", ["openai-response-stream"]), None);
        for typed in ["http_async", "htpp-async", "httpasync"] {
            assert_eq!(misspelt(typed, names), Some("http-async"), "{typed}");
        }
    }

    #[test]
    fn other_words_are_left_alone() {
        for typed in ["", "x", "retries", "priority", &"command".repeat(1000)] {
            assert_eq!(closest(typed, NAMES), None, "{typed}");
        }
    }
}
