//! A self-contained page: styles, scripts and data are embedded, and a content security policy allows nothing but its
//! two scripts, by their hashes (www.w3.org/TR/CSP3).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::format::escaped;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("charts.js");
const UPLOT: &str = include_str!("../../../vendor/uplot/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("../../../vendor/uplot/uPlot.min.css");
const UPLOT_VERSION: &str = "1.6.32";

/// The page; `data` is what its charts are drawn from.
pub(in crate::report) fn page(title: &str, body: &str, data: &Value) -> String {
    let uplot_notice =
        format!("/*! uPlot {UPLOT_VERSION}, (c) Leon Sorokin, MIT: github.com/leeoniya/uPlot */");
    let uplot = format!("{uplot_notice}\n{UPLOT}");
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; \
         script-src '{}' '{}'",
        hash(&uplot),
        hash(SCRIPT)
    );
    let mut html = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        html,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>{UPLOT_STYLE}\n{STYLE}</style></head>\n<body>{body}\n\
         <script type=\"application/json\" id=\"data\">{data}</script>\n\
         <script>{uplot}</script>\n<script>{SCRIPT}</script>\n</body></html>\n",
        title = escaped(title),
        data = in_script(data),
    );
    html
}

/// JSON that cannot close the element that contains it
/// (html.spec.whatwg.org/multipage/scripting.html#restrictions-for-contents-of-script-elements).
fn in_script(data: &Value) -> String {
    let text = data.to_string();
    text.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

fn hash(script: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(script)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sum(text: &str) -> String {
        let bytes = Sha256::digest(text);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn uplot_is_the_published_version_and_its_licence_is_in_notice() {
        assert_eq!(
            [sum(UPLOT), sum(UPLOT_STYLE)],
            [
                "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
                "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04"
            ]
        );
        let notice = include_str!("../../../../NOTICE");
        let licence = include_str!("../../../vendor/uplot/LICENSE");
        let licence: Vec<&str> = licence.split_whitespace().collect();
        let notice: Vec<&str> = notice.split_whitespace().collect();
        assert!(
            notice.windows(licence.len()).any(|words| words == licence),
            "the licence is not in NOTICE"
        );
        assert!(notice.contains(&UPLOT_VERSION));
    }

    #[test]
    fn the_page_loads_nothing_and_runs_only_its_own_scripts() {
        let hostile = "</script><script>alert(1)</script><!--";
        let html = page(hostile, "<p>body</p>", &json!({"name": hostile}));
        assert_eq!(
            html.matches("<script").count(),
            3,
            "the data, uPlot and the charts"
        );
        assert_eq!(html.matches("</script").count(), 3);
        assert!(html.contains("&lt;/script&gt;&lt;script&gt;"), "the title");
        assert!(html.contains("\\u003c/script\\u003e"), "the data");
        for loading in [
            " src=", " href=", "url(", "@import", "<link", "<iframe", "<img",
        ] {
            assert!(!html.contains(loading), "{loading}");
        }
        let scripts: Vec<&str> = html.split("<script>").skip(1).collect();
        for script in scripts {
            let (script, _) = script.split_once("</script>").expect("its end");
            assert!(
                html.contains(&hash(script)),
                "a script that is not in the policy"
            );
        }
        assert!(!SCRIPT.contains("innerHTML"));
    }
}
