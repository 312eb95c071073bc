//! What authors and operators read about artifacts.

use executor_runtime_sdk::ArtifactError;

#[test]
fn a_limit_on_artifacts_is_told_in_words_that_fit_it() {
    for (limit, words) in [
        (0, "this run may not create artifacts"),
        (2, "this run has already created 2 artifacts, the most allowed"),
    ] {
        assert_eq!(ArtifactError::TooMany(limit).to_string(), words);
    }
}
