//! Syntax errors, in the terms of those who write configuration files.
//!
//! No text of the file is repeated: where its structure is broken, any of it may be a secret.

use serde_saphyr::granit_parser::ErrorKind;

/// The message for an error on this line.
pub(crate) fn message(source: &str, line: usize, kind: &ErrorKind) -> String {
    let mut message = format!("this is not valid YAML: {}", words(kind));
    let line = source.lines().nth(line.saturating_sub(1));
    if line.is_some_and(|line| line.contains(": ${") && line.contains('{')) {
        message.push_str("; inside { } and [ ], quote a value that contains ${...}");
    }
    message
}

/// The error, and what to write instead.
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
            "a mapping that begins with `{` has no `}`, a `,` is missing between two of its keys, or a value contains `: ` and needs quotes"
        }
        Kind::MisplacedFlowCollectionEnd => "a `]` or `}` has no opening bracket; remove it",
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

/// Errors of indentation and line breaks.
fn of_lines(kind: &ErrorKind) -> &'static str {
    use ErrorKind as Kind;
    match kind {
        Kind::TabNotAllowed
        | Kind::TabInBlockIndentation
        | Kind::TabInIndentation
        | Kind::TabAtBlockScalarStart
        | Kind::TabInPlainScalar => "tabs are not allowed here; indent with spaces",
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
            "this line does not match the lines above: keys of one mapping begin in the same column, each followed by `:` and a space"
        }
        Kind::MappingValueNotAllowed
        | Kind::MappingKeyNotAllowed
        | Kind::InvalidColonPlacement
        | Kind::InvalidMappingValueWhitespace
        | Kind::FlowMappingValueAdjacentCollection => {
            "a key is not allowed here; quote text that contains `: `, and begin a mapping on its own line"
        }
        Kind::BlockSequenceEntryNotAllowed
        | Kind::BlockEntryInFlowCollection
        | Kind::InvalidBlockEntryWhitespace
        | Kind::PlainScalarStartsWithDashFlowIndicator => {
            "`- ` is not allowed here; begin a list on its own line, or write [a, b]"
        }
        Kind::UnexpectedCharacter { .. } | Kind::UnexpectedEndOfPlainScalar => {
            "quote a text that begins with this character"
        }
        _ => of_marks(kind),
    }
}

/// Errors of characters that are reserved in YAML.
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
        | Kind::InvalidTagEscape => "quote a text that begins with `&`, `*` or `!`",
        Kind::UnknownAnchor => {
            "there is no anchor above for this `*`; quote a text that begins with `*`"
        }
        Kind::CommentInterceptedScalar | Kind::CommentNotSeparated => {
            "`#` begins a comment here; quote a text that contains it"
        }
        Kind::InvalidBlockScalarHeader => "after `|` or `>` the text begins on the next line",
        Kind::RecursionLimitExceeded => "it is nested too deeply",
        Kind::BomInsideDocument => "there is a byte-order mark inside the file; remove it",
        Kind::DocumentIndicatorInQuotedScalar
        | Kind::InvalidDocumentEnd
        | Kind::ExpectedDocumentStart
        | Kind::MissingDocumentEndBeforeDirective => {
            "`---` and `...` begin and end a file; quote them inside a file"
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
            "a line that begins with `%` is a YAML directive; remove it, or quote a text that begins with `%`"
        }
        _ => "the structure of the file breaks here; look for a missing quote, bracket or space",
    }
}
