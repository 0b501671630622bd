//! The URIs that `Location` and `Content-Location` name, where they are of the same host (RFC 9111, section 4.4).

use super::key::ResourceName;

/// Path and query of a reference, resolved against the request's own URI (RFC 3986, section 5); `None` if it is of
/// another host.
pub(super) fn target(base: &ResourceName<'_>, reference: &str) -> Option<(String, String)> {
    let reference = reference.split('#').next().unwrap_or_default();
    let (path, query) = match reference.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, target) = rest.split_at(end);
            let is_same = authority.as_bytes().eq_ignore_ascii_case(base.host);
            split(if is_same { target } else { return None })
        }
        _ => match reference.strip_prefix("//") {
            Some(rest) => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                let (authority, target) = rest.split_at(end);
                if !authority.as_bytes().eq_ignore_ascii_case(base.host) {
                    return None;
                }
                split(target)
            }
            None => split(reference),
        },
    };
    let absolute = match path {
        "" => base.path.to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        relative => {
            let folder = base.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{folder}/{relative}")
        }
    };
    Some((without_dots(&absolute), query.to_owned()))
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn split(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

/// RFC 3986, section 5.2.4.
fn without_dots(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = path.split('/').skip(1).peekable();
    while let Some(segment) = rest.next() {
        let is_last = rest.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            segment => {
                segments.push(segment);
                continue;
            }
        }
        if is_last {
            segments.push("");
        }
    }
    let mut joined = String::with_capacity(path.len());
    for segment in segments {
        joined.push('/');
        joined.push_str(segment);
    }
    joined
}
