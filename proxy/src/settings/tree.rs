//! YAML as a tree of values with their positions.
//!
//! It is built from the parser's events, so that an invalid value affects nothing else. Aliases are
//! copied, within bounds: a file cannot grow beyond [`NODES_MAX`] values however it is written.

use std::collections::HashMap;

use secrecy::zeroize::Zeroizing;
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span, Tag, options};

use super::diagnostic::Diagnostics;
use super::node::{FilePosition, NodeKind, Scalar, Substitution, YamlKey, YamlNode};
use super::quote::is_key_like;
use super::syntax;

/// Far more than any real configuration has.
const NODES_MAX: usize = 50_000;
const DEPTH_MAX: usize = 40;

/// Reads the one document of `source`. `None` when its syntax is broken: that error hides all
/// others, because nothing after it is reliable.
pub(crate) fn parse(source: &str, diagnostics: &mut Diagnostics) -> Option<YamlNode> {
    let settings = options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX
    };
    let mut builder = Builder {
        source,
        diagnostics,
        open: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        root: None,
    };
    for event in Parser::new_from_str_with_options(source, settings) {
        match event {
            Ok((event, span)) => builder.take(event, span)?,
            Err(error) => {
                let place = place_of(error.marker().line(), error.marker().col());
                let message = syntax::message(source, place.line, error.kind());
                builder.diagnostics.spans.note_broken();
                builder.diagnostics.error(place, message);
                return None;
            }
        }
    }
    let empty = YamlNode {
        place: FilePosition::START,
        kind: NodeKind::Mapping(Vec::new()),
    };
    Some(match builder.root.take() {
        None => empty,
        Some(root) if matches!(root.kind, NodeKind::Null) => empty,
        Some(root) => root,
    })
}

fn place_of(line: usize, column_from_zero: usize) -> FilePosition {
    FilePosition {
        line: line.max(1),
        column: column_from_zero + 1,
    }
}

/// A sequence or mapping whose end has not been read yet.
struct OpenCollection {
    node: YamlNode,
    anchor: usize,
    /// The key whose value is read next.
    key: Option<PendingKey>,
    /// The lines of the keys that have been read.
    keys: HashMap<String, usize>,
}

enum PendingKey {
    Valid(YamlKey),
    /// Its value is read and dropped.
    Invalid,
}

struct Builder<'a> {
    source: &'a str,
    diagnostics: &'a mut Diagnostics,
    open: Vec<OpenCollection>,
    anchors: HashMap<usize, YamlNode>,
    nodes: usize,
    root: Option<YamlNode>,
}

impl Builder<'_> {
    /// `None`: a limit was exceeded, and reading ends here.
    fn take(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        let place = place_of(span.start.line(), span.start.col());
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                self.diagnostics
                    .error(place, "a second document begins here; a file has one");
                return None;
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), place);
                let node = scalar_node(&text, style, place, &span);
                if let Some(bytes) = span.byte_range() {
                    self.diagnostics.spans.note_scalar(bytes);
                }
                self.count(place, 1)?;
                self.finish(node, anchor);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), place);
                self.start(NodeKind::Sequence(Vec::new()), place, anchor)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), place);
                self.start(NodeKind::Mapping(Vec::new()), place, anchor)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    self.finish(open.node, open.anchor);
                }
            }
            Event::Alias(anchor) => {
                let node = self.aliased(anchor, place)?;
                self.finish(node, 0);
            }
            Event::UnresolvedAlias(_) => {
                self.diagnostics.error(
                    place,
                    "no anchor (`&name`) is defined above this alias; quote a text that begins with `*`",
                );
                self.finish(invalid(place), 0);
            }
            _ => {}
        }
        Some(())
    }

    /// A copy of the value that the alias refers to.
    fn aliased(&mut self, anchor: usize, place: FilePosition) -> Option<YamlNode> {
        let Some(node) = self.anchors.get(&anchor) else {
            self.diagnostics
                .error(place, "this alias is inside of the value that it refers to");
            return Some(invalid(place));
        };
        let (count, depth) = (node.count(), node.depth());
        if self.open.len() + depth > DEPTH_MAX {
            let message = format!("aliases are nested deeper than {DEPTH_MAX}");
            self.diagnostics.error(place, message);
            return None;
        }
        self.count(place, count)?;
        let mut node = self.anchors.get(&anchor).cloned()?;
        node.note_alias();
        Some(node)
    }

    fn count(&mut self, place: FilePosition, more: usize) -> Option<()> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes > NODES_MAX {
            let message = format!("the file has more than {NODES_MAX} values, aliases counted");
            self.diagnostics.error(place, message);
            return None;
        }
        Some(())
    }

    fn start(&mut self, kind: NodeKind, place: FilePosition, anchor: usize) -> Option<()> {
        self.count(place, 1)?;
        self.open.push(OpenCollection {
            node: YamlNode { place, kind },
            anchor,
            key: None,
            keys: HashMap::new(),
        });
        Some(())
    }

    /// Adds a complete node to its parent.
    fn finish(&mut self, node: YamlNode, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut parent.node.kind {
            NodeKind::Sequence(items) => items.push(node),
            NodeKind::Mapping(entries) => match parent.key.take() {
                None => {
                    let key = pending_key(node, self.source, &mut parent.keys, self.diagnostics);
                    parent.key = Some(key);
                }
                Some(PendingKey::Valid(key)) => entries.push((key, node)),
                Some(PendingKey::Invalid) => {}
            },
            _ => {}
        }
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, place: FilePosition) {
        if tag.is_some_and(|tag| tag.core_suffix().is_none()) {
            self.diagnostics
                .error(place, "tags (`!name`) are not supported; remove it");
        }
    }
}

fn pending_key(
    node: YamlNode,
    source: &str,
    keys: &mut HashMap<String, usize>,
    diagnostics: &mut Diagnostics,
) -> PendingKey {
    let place = node.place;
    let NodeKind::Scalar(scalar) = node.kind else {
        diagnostics.error(place, "a key must be a plain word");
        return PendingKey::Invalid;
    };
    let text = scalar.written.as_str();
    if text == "<<" {
        diagnostics.error(
            place,
            "merge keys (`<<`) are not supported; an alias (`*name`) can replace a whole value",
        );
        return PendingKey::Invalid;
    }
    let after = source.get(scalar.bytes.end..).unwrap_or_default();
    let has_colon = after.trim_start_matches([' ', '\t']).starts_with(':');
    if let Some(line) = keys.get(text) {
        let mut named = "this key".to_owned();
        if has_colon && is_key_like(text) {
            diagnostics.spans.show(&scalar.bytes);
            named = format!("`{text}`");
        }
        diagnostics.error(
            place,
            format!("duplicate key: {named} was first set on line {line}"),
        );
        return PendingKey::Invalid;
    }
    keys.insert(text.to_owned(), place.line);
    PendingKey::Valid(YamlKey {
        text: text.to_owned(),
        place,
        bytes: scalar.bytes,
        has_colon,
    })
}

fn scalar_node(text: &str, style: ScalarStyle, place: FilePosition, span: &Span) -> YamlNode {
    let is_null =
        style == ScalarStyle::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL");
    let kind = if is_null {
        NodeKind::Null
    } else {
        NodeKind::Scalar(Scalar {
            written: Zeroizing::new(text.to_owned()),
            text: Zeroizing::new(text.to_owned()),
            substitution: Substitution::None,
            bytes: span.byte_range().unwrap_or_default(),
            stands_here: span.start.line() == span.end.line(),
        })
    };
    YamlNode { place, kind }
}

fn invalid(place: FilePosition) -> YamlNode {
    YamlNode {
        place,
        kind: NodeKind::Invalid,
    }
}
