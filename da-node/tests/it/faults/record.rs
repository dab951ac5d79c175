//! `docs/faults.md`: one line a fault, written by the test that saw it.

use std::{fs, path::Path};

/// Puts the line of `fault` into the table, in place of an earlier one.
pub(super) fn record(fault: &str, expected: &str, seen: &str) {
    println!("{fault}: {seen}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/faults.md");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, replaced(&text, fault, &format!("| {fault} | {expected} | {seen} |"))).unwrap();
}

/// `text` with `line` as the line of `fault`: where that was, or at the end of the table.
fn replaced(text: &str, fault: &str, line: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let key = format!("| {fault} |");
    if let Some(known) = lines.iter().position(|known| known.starts_with(&key)) {
        lines[known] = line;
    } else {
        let end = lines.iter().rposition(|line| line.starts_with('|')).unwrap() + 1;
        lines.insert(end, line);
    }
    lines.join("\n") + "\n"
}

#[test]
fn a_line_is_replaced_or_added_at_the_tables_end() {
    let text = "# t\n\n| fault | seen |\n| --- | --- |\n| a | 1 |\n| b | 2 |\n\nafter\n";
    assert_eq!(replaced(text, "a", "| a | 3 |"), text.replace("| a | 1 |", "| a | 3 |"));
    assert_eq!(replaced(text, "c", "| c | 4 |"), text.replace("| b | 2 |", "| b | 2 |\n| c | 4 |"));
}
