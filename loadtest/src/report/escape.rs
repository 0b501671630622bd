//! Escapes text for XML and HTML.

/// Text for an element or a double-quoted attribute.
pub(super) fn escaped(text: &str) -> String {
    // XML cannot represent most control characters (www.w3.org/TR/xml, section 2.2).
    let visible = text.replace(
        |one: char| one.is_control() && one != '\n' && one != '\t',
        "\u{fffd}",
    );
    visible
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
