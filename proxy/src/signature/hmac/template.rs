//! Templates of the signed text, such as `{timestamp}.{id}.{body}`, parsed once.
//!
//! Different requests must never have the same signed text, or a signature of one would be valid for
//! the other: with `{id}.{body}` an id `a.b` before a body `c` reads like an id `a` before a body
//! `b.c`. So each part is separated from the body, and must not contain the separator.

use crate::signature::error::TemplateError;

/// A part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Timestamp,
    Id,
    Body,
    Method,
    Path,
    Query,
}

impl Part {
    pub(super) const ALL: [Part; 6] = [
        Part::Timestamp,
        Part::Id,
        Part::Body,
        Part::Method,
        Part::Path,
        Part::Query,
    ];

    /// As it is written between braces.
    pub(super) fn word(self) -> &'static str {
        self.placeholder().trim_matches(['{', '}'])
    }

    pub(super) const fn placeholder(self) -> &'static str {
        match self {
            Part::Timestamp => "{timestamp}",
            Part::Id => "{id}",
            Part::Body => "{body}",
            Part::Method => "{method}",
            Part::Path => "{path}",
            Part::Query => "{query}",
        }
    }
}

#[derive(Debug)]
enum TemplatePiece {
    Literal(Box<str>),
    Part(Part),
}

/// The bytes of each part of one request; empty for those the template does not name.
#[derive(Clone, Copy, Default)]
pub(super) struct Values<'a> {
    pub(super) timestamp: &'a [u8],
    pub(super) id: &'a [u8],
    pub(super) body: &'a [u8],
    pub(super) method: &'a [u8],
    pub(super) path: &'a [u8],
    pub(super) query: &'a [u8],
}

impl<'a> Values<'a> {
    fn of(&self, part: Part) -> &'a [u8] {
        match part {
            Part::Timestamp => self.timestamp,
            Part::Id => self.id,
            Part::Body => self.body,
            Part::Method => self.method,
            Part::Path => self.path,
            Part::Query => self.query,
        }
    }
}

/// A template that has been read.
#[derive(Debug)]
pub(super) struct Template {
    pieces: Vec<TemplatePiece>,
    /// Parts and the separator that must not be in them.
    separators: Vec<(Part, Box<str>)>,
}

impl Template {
    /// # Errors
    /// `text` is not a valid template; the message states what to write instead.
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let literal_length = rest.find(['{', '}']).unwrap_or(rest.len());
            if literal_length > 0 {
                let (literal, after) = rest.split_at(literal_length);
                pieces.push(TemplatePiece::Literal(Box::from(literal)));
                rest = after;
                continue;
            }
            let part = Part::ALL
                .into_iter()
                .find(|part| rest.starts_with(part.placeholder()))
                .ok_or_else(|| TemplateError::UnknownPlaceholder {
                    rest: rest.to_owned(),
                    known: Part::ALL.map(Part::placeholder).join(" "),
                })?;
            pieces.push(TemplatePiece::Part(part));
            rest = &rest[part.placeholder().len()..];
        }
        let separators = separators(&pieces)?;
        Ok(Template { pieces, separators })
    }

    pub(super) fn names(&self, part: Part) -> bool {
        self.pieces
            .iter()
            .any(|piece| matches!(piece, TemplatePiece::Part(named) if *named == part))
    }

    /// Passes on the signed text in pieces, so that no body is copied.
    pub(super) fn feed(&self, values: &Values<'_>, mut update: impl FnMut(&[u8])) {
        for piece in &self.pieces {
            match piece {
                TemplatePiece::Literal(literal) => update(literal.as_bytes()),
                TemplatePiece::Part(part) => update(values.of(*part)),
            }
        }
    }

    /// The first part that contains its own separator.
    pub(super) fn blurred(&self, values: &Values<'_>) -> Option<Part> {
        self.separators
            .iter()
            .find(|(part, separator)| contains(values.of(*part), separator.as_bytes()))
            .map(|(part, _)| *part)
    }
}

/// Each part before the body, or before the end without one, needs a separator. A timestamp needs none: moving a digit
/// changes it tenfold. Nor does a method before a path,
/// which begins with a slash.
fn separators(pieces: &[TemplatePiece]) -> Result<Vec<(Part, Box<str>)>, TemplateError> {
    let parts = || {
        pieces
            .iter()
            .enumerate()
            .filter_map(|(at, piece)| match piece {
                TemplatePiece::Part(part) => Some((at, *part)),
                TemplatePiece::Literal(_) => None,
            })
    };
    if parts().next().is_none() {
        return Err(TemplateError::NoPart);
    }
    let body_at = parts()
        .find(|(_, part)| *part == Part::Body)
        .map(|(at, _)| at);
    let mut separators = Vec::new();
    for (at, part) in parts() {
        let placeholder = part.placeholder();
        if parts().any(|(other, same)| same == part && other != at) {
            return Err(TemplateError::Twice(placeholder));
        }
        if matches!(part, Part::Body | Part::Timestamp) {
            continue;
        }
        let after_body = body_at.is_some_and(|body_at| at > body_at);
        let neighbour = if after_body {
            at.checked_sub(1)
        } else {
            Some(at + 1)
        };
        match neighbour.and_then(|at| pieces.get(at)) {
            None => {}
            Some(TemplatePiece::Literal(separator)) => separators.push((part, separator.clone())),
            Some(TemplatePiece::Part(Part::Path)) if part == Part::Method && !after_body => {}
            Some(TemplatePiece::Part(other)) => {
                let other = other.placeholder();
                return Err(TemplateError::NoSeparator(placeholder, other));
            }
        }
    }
    Ok(separators)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values<'static> {
        Values {
            timestamp: b"1700000000",
            id: b"id-1",
            body: b"a.b",
            method: b"POST",
            path: b"/v1",
            query: b"a=b",
        }
    }

    fn text(template: &str) -> String {
        let mut signed = Vec::new();
        let template = Template::parse(template).expect("a right template");
        template.feed(&values(), |piece| signed.extend_from_slice(piece));
        String::from_utf8(signed).expect("UTF-8")
    }

    #[test]
    fn every_part_is_put_where_it_stands() {
        assert_eq!(text("{timestamp}.{id}.{body}"), "1700000000.id-1.a.b");
        assert_eq!(text("v0:{timestamp}:{body}"), "v0:1700000000:a.b");
        assert_eq!(text("{timestamp}{body}"), "1700000000a.b");
        assert_eq!(text("{body}"), "a.b");
        assert_eq!(
            text("{method}{path}?{query}\n{body}\n{id}"),
            "POST/v1?a=b\na.b\nid-1"
        );
    }

    #[test]
    fn templates_that_are_wrong_or_blur_two_requests_are_refused() {
        for template in [
            "",
            "constant",
            "{timestamp",
            "timestamp}",
            "{Timestamp}",
            "{nonce}.{body}",
            "{}",
            "{{body}}",
            "{body}{body}",
            "{id}{body}",
            "{body}{id}",
            "{path}{query}",
            "{id}{timestamp}.{body}",
        ] {
            assert!(Template::parse(template).is_err(), "{template:?}");
        }
    }

    #[test]
    fn a_part_that_holds_its_separator_is_found_on_both_sides_of_the_body() {
        let template = Template::parse("{timestamp}.{id}.{body}").expect("right");
        assert_eq!(template.blurred(&values()), None);
        let dotted = Values {
            id: b"id.1",
            ..values()
        };
        assert_eq!(template.blurred(&dotted), Some(Part::Id));
        let template = Template::parse("{body}::{id}").expect("right");
        assert_eq!(template.blurred(&dotted), None);
        let colons = Values {
            id: b"x::y",
            ..values()
        };
        assert_eq!(template.blurred(&colons), Some(Part::Id));
    }
}
