//! Help texts are what users have seen: a change shows in review.

use std::path::Path;

#[test]
fn help_texts_are_those_of_the_snapshot() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/help.txt");
    let help = da_node::commands::help();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &help).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(help, expected, "{} differs; look at it, then run with BLESS=1", path.display());
}
