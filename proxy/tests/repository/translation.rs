//! README.zh-CN.md has the structure, the commands and the names of README.md.

use std::collections::BTreeSet;

use crate::files::read;
use crate::markdown::Document;

const ENGLISH: &str = "README.md";
const CHINESE: &str = "README.zh-CN.md";

/// The lines of a block without their comments, which are translated.
fn without_comments(text: &str) -> Vec<&str> {
    text.lines()
        .map(|line| line.split(" # ").next().unwrap_or_default().trim_end())
        .collect()
}

#[test]
fn both_have_the_same_headings_and_tables() {
    let (english, chinese) = (read(ENGLISH), read(CHINESE));
    let (english, chinese) = (Document::parse(&english), Document::parse(&chinese));
    assert_eq!(english.headings(), chinese.headings());
    let shape =
        |document: &Document<'_>| -> Vec<usize> { document.rows().iter().map(Vec::len).collect() };
    assert_eq!(shape(&english), shape(&chinese));
}

#[test]
fn both_have_the_same_blocks() {
    let (english, chinese) = (read(ENGLISH), read(CHINESE));
    let (english, chinese) = (Document::parse(&english), Document::parse(&chinese));
    assert_eq!(english.blocks.len(), chinese.blocks.len());
    for (english, chinese) in english.blocks.iter().zip(&chinese.blocks) {
        assert_eq!(english.language, chinese.language);
        assert_eq!(
            without_comments(&english.text),
            without_comments(&chinese.text)
        );
    }
}

#[test]
fn both_have_the_same_names_and_links() {
    let (english, chinese) = (read(ENGLISH), read(CHINESE));
    let (english, chinese) = (Document::parse(&english), Document::parse(&chinese));
    let spans = |document: &Document<'_>| -> BTreeSet<String> {
        let spans = document.code_spans().into_iter();
        spans.map(str::to_owned).collect()
    };
    assert_eq!(spans(&english), spans(&chinese));
    let links = |document: &Document<'_>| -> BTreeSet<String> {
        let links = document.links().into_iter();
        let others = links.filter(|link| ![ENGLISH, CHINESE].contains(link));
        others.map(str::to_owned).collect()
    };
    assert_eq!(links(&english), links(&chinese));
}
