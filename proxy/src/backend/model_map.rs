//! Replaces the name of the model in a request by the name that the model has at a backend (`model_map`): in the body, of
//! which every other byte is preserved, and in the path where it is part of the path.

use std::borrow::Cow;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::json_member::{members, range_of, replaced};
use crate::model::operation::PathFields;

/// What is not encoded in a segment of a path: the unreserved characters (RFC 3986, section 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The names by the name in the request.
pub type ModelNames = [(Box<str>, Box<str>)];

fn mapped<'m>(models: &'m ModelNames, name: &str) -> Option<&'m str> {
    let mut models = models.iter();
    models.find_map(|(from, to)| (**from == *name).then_some(&**to))
}

/// The body with the mapped name; `None` if it is forwarded unchanged: it is not an unambiguous JSON object, or its model
/// is not mapped.
#[must_use]
pub fn map_body(models: &ModelNames, body: &[u8]) -> Option<Bytes> {
    let ([value], _) = members(["model"], body)?;
    let value = value?;
    let name: Cow<'_, str> = serde_json::from_str(value).ok()?;
    let to = serde_json::to_string(mapped(models, &name)?).ok()?;
    replaced(body, range_of(value, body)?, &to)
}

/// The path with the mapped name; `None` if it is forwarded unchanged.
#[must_use]
pub fn map_path(models: &ModelNames, path: &str) -> Option<String> {
    let fields = PathFields::of(path);
    let segment = fields.model.or(fields.deployment)?;
    let name = percent_decode_str(segment).decode_utf8().ok()?;
    let to = mapped(models, &name)?;
    let start = (segment.as_ptr() as usize).checked_sub(path.as_ptr() as usize)?;
    let before = path.get(..start)?;
    let after = path.get(start + segment.len()..)?;
    Some(format!(
        "{before}{}{after}",
        utf8_percent_encode(to, ENCODED)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models() -> Vec<(Box<str>, Box<str>)> {
        vec![
            ("glm-4".into(), "gpt-4o-mini".into()),
            ("a/b".into(), "c\u{fc}/d".into()),
        ]
    }

    #[test]
    fn only_the_name_is_replaced_in_a_body() {
        for (body, expected) in [
            (
                r#"{ "messages":[{"model":"glm-4"}],"model" : "glm-4" , "n":1.0e0}"#,
                Some(r#"{ "messages":[{"model":"glm-4"}],"model" : "gpt-4o-mini" , "n":1.0e0}"#),
            ),
            (
                r#"{"\u006dodel":"glm\u002d4"}"#,
                Some(r#"{"\u006dodel":"gpt-4o-mini"}"#),
            ),
            (r#"{"model":"a/b"}"#, Some("{\"model\":\"c\u{fc}/d\"}")),
            (r#"{"model":"other"}"#, None),
            (r#"{"model":4}"#, None),
            (r#"{"model":"glm-4","model":"glm-4"}"#, None),
            (r#"["glm-4"]"#, None),
            (r#"{"model":"glm-4""#, None),
            ("", None),
        ] {
            let mapped = map_body(&models(), body.as_bytes());
            assert_eq!(mapped.as_deref(), expected.map(str::as_bytes), "{body}");
        }
    }

    #[test]
    fn the_name_is_replaced_in_a_path() {
        for (path, expected) in [
            (
                "/v1beta/models/glm-4:streamGenerateContent",
                Some("/v1beta/models/gpt-4o-mini:streamGenerateContent"),
            ),
            (
                "/openai/deployments/glm-4/chat/completions",
                Some("/openai/deployments/gpt-4o-mini/chat/completions"),
            ),
            (
                "/openai/deployments/a%2Fb/chat/completions",
                Some("/openai/deployments/c%C3%BC%2Fd/chat/completions"),
            ),
            ("/v1beta/models/other:generateContent", None),
            ("/v1/chat/completions", None),
        ] {
            assert_eq!(map_path(&models(), path).as_deref(), expected, "{path}");
        }
    }
}
