//! Content negotiation (RFC 9110, section 12.5.1) between the two formats of metrics.

use http::HeaderMap;
use http::header::ACCEPT;

use crate::metrics::ExpositionFormat;

/// OpenMetrics for clients that accept it and do not prefer the older format.
pub(super) fn format(headers: &HeaderMap) -> ExpositionFormat {
    let values = headers.get_all(ACCEPT).iter();
    let ranges = values.filter_map(|value| value.to_str().ok());
    let (mut text, mut open): (Option<f32>, Option<f32>) = (None, None);
    for range in ranges.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut quality, mut version) = (1.0, "");
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key.trim().to_ascii_lowercase().as_str() {
                "q" => quality = value.trim().parse().unwrap_or(0.0),
                "version" => version = value.trim().trim_matches('"'),
                _ => {}
            }
        }
        let place = match &*name {
            "application/openmetrics-text" if matches!(version, "" | "1.0.0") => &mut open,
            "text/plain" => &mut text,
            _ => continue,
        };
        *place = Some(place.map_or(quality, |known| known.max(quality)));
    }
    match open {
        Some(open) if open > 0.0 && open >= text.unwrap_or(0.0) => ExpositionFormat::OpenMetrics,
        _ => ExpositionFormat::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_sent_to_clients_that_prefer_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0,\
             application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, format) in [
            (prometheus, ExpositionFormat::OpenMetrics),
            (
                "Application/OpenMetrics-Text; version=\"1.0.0\"",
                ExpositionFormat::OpenMetrics,
            ),
            (
                "application/openmetrics-text",
                ExpositionFormat::OpenMetrics,
            ),
            (
                "application/openmetrics-text; version=0.0.1",
                ExpositionFormat::Text,
            ),
            (
                "application/openmetrics-text; version=2.0.0",
                ExpositionFormat::Text,
            ),
            ("application/openmetrics-text;q=0", ExpositionFormat::Text),
            (
                "application/openmetrics-text;q=0.3, text/plain;q=0.9",
                ExpositionFormat::Text,
            ),
            ("text/plain", ExpositionFormat::Text),
            ("*/*", ExpositionFormat::Text),
            ("", ExpositionFormat::Text),
            (";;,=,q", ExpositionFormat::Text),
        ] {
            let value = http::HeaderValue::from_static(accept);
            let headers = HeaderMap::from_iter([(ACCEPT, value)]);
            assert_eq!(super::format(&headers), format, "{accept}");
        }
        assert_eq!(super::format(&HeaderMap::new()), ExpositionFormat::Text);
    }
}
