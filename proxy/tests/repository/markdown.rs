//! The parts of a Markdown document that the checks need.

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    pub(crate) language: &'a str,
    pub(crate) text: String,
}

/// A parsed document.
#[derive(Debug, Default)]
pub(crate) struct Document<'a> {
    pub(crate) blocks: Vec<Block<'a>>,
    /// The lines outside of blocks.
    pub(crate) prose: Vec<&'a str>,
}

impl<'a> Document<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let mut document = Document::default();
        let mut open: Option<Block<'a>> = None;
        for line in text.lines() {
            match (&mut open, line.strip_prefix("```")) {
                (None, Some(language)) => {
                    open = Some(Block {
                        language: language.trim(),
                        text: String::new(),
                    });
                }
                (None, None) => document.prose.push(line),
                (Some(_), Some(_)) => document.blocks.extend(open.take()),
                (Some(block), None) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
            }
        }
        assert!(open.is_none(), "a block has no end");
        document
    }

    /// The level of each heading, in order.
    pub(crate) fn headings(&self) -> Vec<usize> {
        let depths = self.prose.iter().map(|line| {
            let depth = line.chars().take_while(|mark| *mark == '#').count();
            if line[depth..].starts_with(' ') {
                depth
            } else {
                0
            }
        });
        depths.filter(|depth| *depth > 0).collect()
    }

    /// The text in backquotes, line by line.
    pub(crate) fn code_spans(&self) -> Vec<&'a str> {
        let spans = self.prose.iter();
        spans
            .flat_map(|line| line.split('`').skip(1).step_by(2))
            .collect()
    }

    /// The targets of links.
    pub(crate) fn links(&self) -> Vec<&'a str> {
        let after = self.prose.iter().flat_map(|line| line.split("](").skip(1));
        after.filter_map(|rest| rest.split(')').next()).collect()
    }

    /// The cells of each row of each table.
    pub(crate) fn rows(&self) -> Vec<Vec<&'a str>> {
        let rows = self.prose.iter().filter_map(|line| {
            let cells = line.strip_prefix('|')?.strip_suffix('|')?;
            Some(cells.split('|').map(str::trim).collect())
        });
        rows.collect()
    }

    /// The lines of shell blocks, with continued lines joined.
    pub(crate) fn commands(&self) -> Vec<String> {
        let shell = self.blocks.iter().filter(|block| block.language == "sh");
        let joined = shell.map(|block| block.text.replace("\\\n", " "));
        joined
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }
}

#[test]
fn a_document_is_parsed() {
    let text = "# One\nsee [it](a/b.md#c) and `x` or `y z`\n\
                ```sh\n# no heading\nweir run \\\n  --config a\n```\n## Two\n| a | `b` |\n";
    let document = Document::parse(text);
    assert_eq!(document.headings(), [1, 2]);
    assert_eq!(document.code_spans(), ["x", "y z", "b"]);
    assert_eq!(document.links(), ["a/b.md#c"]);
    assert_eq!(document.rows(), [["a", "`b`"]]);
    assert_eq!(
        document.commands(),
        ["# no heading", "weir run    --config a"]
    );
}
