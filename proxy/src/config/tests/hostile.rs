//! Hostile files: each is rejected quickly, without a panic.

use super::*;

/// Parses it and shows it: neither may panic.
fn survives(text: &str) -> String {
    let shown = invalid(text).to_string();
    assert!(shown.len() < 200_000, "{}", shown.len());
    shown
}

#[test]
fn deep_nesting() {
    for (open, close) in [("[", "]"), ("{a: ", "}")] {
        let text = format!(
            "{LEAST}redis: {}{}\n",
            open.repeat(100_000),
            close.repeat(100_000)
        );
        survives(&text);
    }
    let block: String = (0..5000)
        .map(|depth| format!("{}a:\n", " ".repeat(depth % 900)))
        .collect();
    survives(&block);
    survives(&"- ".repeat(10_000));
}

#[test]
fn alias_bombs() {
    let mut wide = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    let mut deep = "a0: &a0 [x]\n".to_owned();
    for level in 1..60 {
        let before = level - 1;
        let aliases = vec![format!("*a{before}"); 9].join(", ");
        wide.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        deep.push_str(&format!("a{level}: &a{level} [*a{before}]\n"));
    }
    assert!(survives(&wide).contains("values, aliases counted"));
    assert!(survives(&deep).contains("aliases are nested deeper"));
    assert!(survives("a: &a [*a]\n").contains("inside of the value that it refers to"));
}

#[test]
fn odd_characters() {
    for text in [
        "\0",
        "a: \0\n",
        "limits: {connections: \"\\0\"}\n",
        "\u{feff}\u{feff}",
        "\u{1b}[31mred: 1\n",
        "limits: {\u{202e}: 1}\n",
        "%YAML 9.9\n---\n",
        "%TAG ! tag:x,2000:\n---\nlimits: !a 1\n",
        "\t- a",
        "? {a: b}\n: c\n",
        "a: b: c: d\n",
        "'",
        "\"\\xZZ\"",
        "|",
        ">9999999999\n a",
        "&",
        "*",
        "!<",
        "...",
        "--- ---",
        "limits: &a &b {}\n",
        "\r\r\r",
        "${A}: 1\n",
    ] {
        let shown = survives(text);
        assert!(
            !shown.contains('\u{1b}') && !shown.contains('\0'),
            "{shown:?}"
        );
    }
}

#[test]
fn large_files_and_long_lines() {
    survives(&"a: 1\n".repeat(30_000));
    survives(&format!(
        "limits: {{connections: {}}}\n",
        "9".repeat(500_000)
    ));
    survives(&format!("{}: 1\n", "k".repeat(1000)));
    survives(&"[".repeat(500_000));
    let many: String = (0..20_000).map(|key| format!("key{key}: 1\n")).collect();
    let shown = survives(&many);
    assert!(
        shown.ends_with("20002 errors in weir.yaml"),
        "{}",
        &shown[shown.len() - 80..]
    );
}

/// Every way to cut the contract short, and every byte of it replaced.
#[test]
fn a_damaged_contract_never_panics() {
    for end in (0..FULL.len()).step_by(97) {
        if let Some(text) = FULL.get(..end) {
            let _ = parsed(text).map_err(|error| error.to_string());
        }
    }
    for position in (0..FULL.len()).step_by(331) {
        for byte in ["{", "\"", ":", "\n", "-", "$", "\u{0}"] {
            if let (Some(before), Some(after)) = (FULL.get(..position), FULL.get(position + 1..)) {
                let _ =
                    parsed(&format!("{before}{byte}{after}")).map_err(|error| error.to_string());
            }
        }
    }
}

#[test]
fn files_that_are_no_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.yaml");
    std::fs::write(&path, b"limits: {}\na: \xff\xfe\n").unwrap();
    let shown = load(&path).unwrap_err().to_string();
    assert!(shown.contains("line 2 is not UTF-8"), "{shown}");
    std::fs::write(&path, vec![b'#'; 2 << 20]).unwrap();
    let shown = load(&path).unwrap_err().to_string();
    assert!(shown.contains("larger than"), "{shown}");
    let shown = load(folder.path()).unwrap_err().to_string();
    assert!(shown.contains("cannot be read"), "{shown}");
}
