//! What breaks the syntax of a file, in words of somebody who writes one.
//!
//! No text of the file is repeated: where its structure is broken, nobody knows what of it is a secret.

use serde_saphyr::granit_parser::ErrorKind;

/// What is wrong on this line of the file.
pub(crate) fn message(source: &str, line: usize, kind: &ErrorKind) -> String {
    let mut message = format!("this is not valid YAML: {}", words(kind));
    let line = source.lines().nth(line.saturating_sub(1));
    if line.is_some_and(|line| line.contains(": ${") && line.contains('{')) {
        message.push_str("; inside { } and [ ] a value with ${...} must stand in quotes");
    }
    message
}

/// What is wrong, and what to write instead.
fn words(kind: &ErrorKind) -> &'static str {
    use ErrorKind as Kind;
    match kind {
        Kind::UnclosedFlowCollection { open: '[' }
        | Kind::UnexpectedEofFlowSequence
        | Kind::ExpectedFlowSequenceSeparator => {
            "a list that begins with `[` has no `]`, or a `,` is missing between two of its values"
        }
        Kind::UnclosedFlowCollection { .. }
        | Kind::UnexpectedEofFlowMapping
        | Kind::UnexpectedEofImplicitFlowMapping
        | Kind::ExpectedFlowMappingSeparator => {
            "a mapping that begins with `{` has no `}`, or a `,` is missing between two of its keys"
        }
        Kind::MisplacedFlowCollectionEnd => "a `]` or `}` closes nothing; leave it out",
        Kind::MismatchedFlowCollectionEnd { .. } => {
            "a bracket is closed by one of another kind; `[` goes with `]`, and `{` with `}`"
        }
        Kind::UnclosedQuotedScalar => "a quote is opened and never closed",
        Kind::InvalidTrailingSingleQuotedScalar | Kind::InvalidTrailingDoubleQuotedScalar => {
            "something follows a closing quote; a quote inside of a text in '...' is written twice, in \"...\" as \\\""
        }
        Kind::UnknownQuotedScalarEscape
        | Kind::InvalidQuotedScalarHexEscape
        | Kind::InvalidLowSurrogateHexEscape
        | Kind::InvalidLowSurrogate
        | Kind::MissingLowSurrogate
        | Kind::UnpairedLowSurrogate
        | Kind::InvalidUnicodeEscape => {
            "a backslash in \"...\" begins an escape that does not exist; write \\\\, or put the text in '...'"
        }
        _ => of_lines(kind),
    }
}

/// What goes wrong between lines.
fn of_lines(kind: &ErrorKind) -> &'static str {
    use ErrorKind as Kind;
    match kind {
        Kind::TabNotAllowed
        | Kind::TabInBlockIndentation
        | Kind::TabInIndentation
        | Kind::TabAtBlockScalarStart
        | Kind::TabInPlainScalar => "a tab stands where only spaces may; indent with spaces",
        Kind::InvalidIndentation
        | Kind::InvalidBlockScalarIndent
        | Kind::InvalidQuotedScalarIndent
        | Kind::InvalidFlowScalarIndent
        | Kind::ZeroBlockScalarIndent
        | Kind::ExpectedBlockMappingKey
        | Kind::ExpectedBlockSequenceEntry
        | Kind::UnexpectedEofBlockMapping
        | Kind::UnexpectedEofBlockSequence
        | Kind::SimpleKeyExpected
        | Kind::InvalidSimpleKey => {
            "this line does not fit to those above: keys of one mapping begin in one column, each with `:` and a space after it"
        }
        Kind::MappingValueNotAllowed
        | Kind::MappingKeyNotAllowed
        | Kind::InvalidColonPlacement
        | Kind::InvalidMappingValueWhitespace
        | Kind::FlowMappingValueAdjacentCollection => {
            "no key may stand here; a text with `: ` in it stands in quotes, and a mapping begins on a line of its own"
        }
        Kind::BlockSequenceEntryNotAllowed
        | Kind::BlockEntryInFlowCollection
        | Kind::InvalidBlockEntryWhitespace
        | Kind::PlainScalarStartsWithDashFlowIndicator => {
            "no `- ` may stand here; a list begins on a line of its own, or is written [a, b]"
        }
        Kind::UnexpectedCharacter { .. } | Kind::UnexpectedEndOfPlainScalar => {
            "no text begins with this character unless it stands in quotes"
        }
        _ => of_marks(kind),
    }
}

/// What goes wrong with characters that YAML keeps for itself.
fn of_marks(kind: &ErrorKind) -> &'static str {
    use ErrorKind as Kind;
    match kind {
        Kind::MissingAnchorOrAliasName
        | Kind::ExpectedTagBang
        | Kind::MissingTagUri
        | Kind::UnclosedVerbatimTag
        | Kind::UndeclaredTagHandle
        | Kind::InvalidGlobalTagCharacter
        | Kind::InvalidTagTerminator
        | Kind::InvalidTagEscape => "a text that begins with `&`, `*` or `!` stands in quotes",
        Kind::UnknownAnchor => {
            "there is no anchor above for this `*`; a text that begins with one stands in quotes"
        }
        Kind::CommentInterceptedScalar | Kind::CommentNotSeparated => {
            "a `#` begins a comment here; a text with one in it stands in quotes"
        }
        Kind::InvalidBlockScalarHeader => "after `|` or `>` the text begins on the next line",
        Kind::RecursionLimitExceeded => "it nests too deep; write it flatter",
        Kind::BomInsideDocument => "there is a byte-order mark inside of the file; leave it out",
        Kind::DocumentIndicatorInQuotedScalar
        | Kind::InvalidDocumentEnd
        | Kind::ExpectedDocumentStart
        | Kind::MissingDocumentEndBeforeDirective => {
            "`---` and `...` begin and end a file; inside of one they stand in quotes"
        }
        Kind::DuplicateVersionDirective
        | Kind::UnsupportedYamlMajorVersion
        | Kind::DuplicateTagDirective
        | Kind::MissingYamlVersion
        | Kind::MissingYamlVersionSeparator
        | Kind::YamlVersionTooLong
        | Kind::MissingDirectiveName
        | Kind::InvalidDirectiveName
        | Kind::InvalidDirectiveTerminator
        | Kind::InvalidTagDirectiveTerminator
        | Kind::ExpectedTagDirectiveBang => {
            "a line that begins with `%` is for YAML itself; leave it out, or put a text that begins with one in quotes"
        }
        _ => "the structure of the file breaks here; look for a missing quote, bracket or space",
    }
}
