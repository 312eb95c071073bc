//! Text that is part of the product, kept in `tests/golden/` and read as such.
//!
//! `UPDATE_GOLDEN=1 cargo test` writes the files anew; the difference is what to review.

use std::{fs, path::Path};

/// Compares `text` with the golden file `name`.
#[track_caller]
pub fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
        fs::write(&path, text).expect("it can be written");
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == text,
        "{} differs; if the new text is right, run again with UPDATE_GOLDEN=1\n--- expected\n{expected}\n--- found\n{text}",
        path.display()
    );
}
