//! The path of a purge: one canonical form for every spelling of a path.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// The hash of a path, which responses of an HTTP cache are stored with.
///
/// The path is hashed in a form that all of its spellings share, so that a purge finds it as a browser shows it, as an
/// event has it, and after the query of the purge itself has been decoded: escapes are decoded to a fixed point (`%2520`
/// and `%20` are a space), `+` is a space, `?` and `#` end the path, repeated slashes are merged, dot segments are
/// resolved. Two paths that differ only in this are purged together, which costs a fetch at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathHash(u64);

impl PathHash {
    /// Of a path in any spelling.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let decoded = decoded(path.as_bytes());
        let end = decoded.iter().position(|byte| matches!(byte, b'?' | b'#'));
        let path = &decoded[..end.unwrap_or(decoded.len())];
        let mut segments: Vec<&[u8]> = Vec::new();
        for segment in path.split(|byte| *byte == b'/') {
            match segment {
                b"" | b"." => {}
                b".." => {
                    segments.pop();
                }
                segment => segments.push(segment),
            }
        }
        let is_folder = segments.is_empty()
            || matches!(path, [.., b'/'] | [.., b'/', b'.'] | [.., b'/', b'.', b'.']);
        let mut hasher = DefaultHasher::new();
        segments.hash(&mut hasher);
        is_folder.hash(&mut hasher);
        PathHash(hasher.finish())
    }
}

/// All escapes decoded, including those that result from decoding. The decoded byte may complete another escape, so the end
/// of the output is checked again.
fn decoded(path: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::with_capacity(path.len());
    for &byte in path {
        bytes.push(byte);
        while let [.., b'%', high, low] = bytes[..]
            && let (Some(high), Some(low)) = (digit(high), digit(low))
        {
            bytes.truncate(bytes.len() - 3);
            bytes.push(high << 4 | low);
        }
    }
    for byte in &mut bytes {
        if *byte == b'+' {
            *byte = b' ';
        }
    }
    bytes
}

fn digit(byte: u8) -> Option<u8> {
    let value = char::from(byte).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_a_path_are_one() {
        for spellings in [
            &["/a b", "/a%20b", "/a+b", "/a%2520b", "/a%2Bb", "/%61%20b"][..],
            &[
                "/a/b",
                "/a%2Fb",
                "/a%2fb",
                "/a%252Fb",
                "//a//b",
                "/a/./b",
                "/a/x/../b",
            ],
            &["/é", "/%C3%A9", "/%c3%a9"],
            &["/a", "/a?v=1", "/a#top", "/a%3Fv=1", "/../a"],
            &["/", "", "//", "/.", "/a/..", "/?a=b"],
            &["/a/", "/a//", "/a/.", "/a/b/.."],
            &["/100%", "/100%25", "/100%2525"],
        ] {
            let hashes = spellings.iter().map(|path| PathHash::of(path));
            for (spelling, hash) in spellings.iter().zip(hashes) {
                assert_eq!(hash, PathHash::of(spellings[0]), "{spelling}");
            }
        }
        let different = ["/", "/a", "/a/", "/A", "/a/b", "/ab", "/a;b", "/a%00", "/é"];
        for (position, one) in different.iter().enumerate() {
            for other in &different[position + 1..] {
                assert_ne!(PathHash::of(one), PathHash::of(other), "{one} {other}");
            }
        }
    }
}
