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

/// How far `name` is from `candidate`, if it is close enough to be a slip of the pen: other case, `-` for
/// `_`, the beginning alone, or about one wrong, missing, extra or swapped letter in three.
pub(crate) fn distance(name: &str, candidate: &str) -> Option<usize> {
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    let (name, candidate) = (letters(name), letters(candidate));
    let distance = strsim::damerau_levenshtein(&name, &candidate);
    let is_beginning = name.len() >= MIN_BEGINNING_BYTES && candidate.starts_with(&name);
    (is_beginning || distance * 3 <= candidate.chars().count()).then_some(distance)
}

fn letters(name: &str) -> String {
    let kept = name.chars().filter(|c| !matches!(c, '_' | '-' | ' '));
    kept.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::closest;

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
    fn other_words_are_left_alone() {
        for typed in ["", "x", "retries", "priority", &"command".repeat(1000)] {
            assert_eq!(closest(typed, NAMES), None, "{typed}");
        }
    }
}
