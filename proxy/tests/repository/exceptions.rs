//! Where the house rules do not hold, and why: `exceptions.txt`.

/// One line: what is excepted, and the reason.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Exception {
    /// A file may be longer than the rule says, up to `lines`.
    Lines { path: String, lines: usize },
    /// Room `from` may name `item` (`room::Type`).
    Import { from: String, item: String },
}

/// All exceptions.
pub(crate) fn all() -> Vec<Exception> {
    parse(include_str!("exceptions.txt"))
}

fn parse(text: &str) -> Vec<Exception> {
    text.lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| parse_line(line).unwrap_or_else(|problem| panic!("{problem}: {line}")))
        .collect()
}

fn parse_line(line: &str) -> Result<Exception, &'static str> {
    let (what, reason) = line.split_once(": ").ok_or("no reason")?;
    if reason.trim().len() < 10 {
        return Err("no reason");
    }
    match what.split_whitespace().collect::<Vec<_>>()[..] {
        ["lines", path, lines] => Ok(Exception::Lines {
            path: path.to_owned(),
            lines: lines.parse().map_err(|_| "not a number of lines")?,
        }),
        ["import", from, item] => Ok(Exception::Import {
            from: from.to_owned(),
            item: item.to_owned(),
        }),
        _ => Err("neither `lines PATH NUMBER: why` nor `import ROOM ITEM: why`"),
    }
}

#[test]
fn an_exception_has_a_reason() {
    assert_eq!(parse_line("lines a.rs 500"), Err("no reason"));
    assert_eq!(
        parse_line("import route cache::Config: so"),
        Err("no reason")
    );
    assert_eq!(
        parse("# why\n\nimport route cache::Config: a route holds its own\n"),
        [Exception::Import {
            from: "route".to_owned(),
            item: "cache::Config".to_owned()
        }]
    );
}
