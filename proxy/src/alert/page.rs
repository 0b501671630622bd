//! A runbook page that is built into the binary.

/// Name and text of a runbook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// As in `/runbooks/NAME`.
    pub name: &'static str,
    /// Markdown.
    pub text: &'static str,
}

/// The page `alerts/runbooks/NAME.md`.
macro_rules! page {
    ($name:literal) => {
        $crate::alert::page::Page {
            name: $name,
            text: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../alerts/runbooks/",
                $name,
                ".md"
            )),
        }
    };
}

pub(super) use page;
