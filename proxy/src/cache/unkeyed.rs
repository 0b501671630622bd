//! Request headers that are not part of the key, because they change no response.
//!
//! All other headers are part of it: an unknown header may name a tenant, a key or a version, and a wrong hit gives one
//! client the response of another.

/// Whether a header (its name in lower case) belongs only to the connection, the proxies on the way, the client program
/// or a trace. Headers that are never forwarded as the client sent them (RFC 9110, section 7.6.1, and those that weir
/// sets) are included, because they are the most frequent.
pub(crate) fn is_unkeyed(name: &str) -> bool {
    is_of_the_connection_or_proxies(name)
        || is_of_the_client_or_trace(name)
        || is_of_a_known_family(name)
}

/// Of the connection and of the proxies on the way.
fn is_of_the_connection_or_proxies(name: &str) -> bool {
    matches!(
        name,
        // Of the connection and the framing.
        "connection"
            | "content-length"
            | "expect"
            | "host"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "upgrade-insecure-requests"
        // Handled by weir: the coding that is served is chosen for each hit.
            | "accept-encoding"
            | "cache-control"
            | "content-encoding"
            | "pragma"
        // Of proxies on the way.
            | "cdn-loop"
            | "cf-connecting-ip"
            | "cf-ray"
            | "cf-visitor"
            | "fastly-client-ip"
            | "forwarded"
            | "true-client-ip"
            | "via"
            | "x-client-ip"
            | "x-cluster-client-ip"
            | "x-envoy-attempt-count"
            | "x-envoy-expected-rq-timeout-ms"
            | "x-envoy-external-address"
            | "x-forwarded-for"
            | "x-forwarded-host"
            | "x-forwarded-port"
            | "x-forwarded-proto"
            | "x-forwarded-scheme"
            | "x-forwarded-ssl"
            | "x-original-forwarded-for"
            | "x-real-ip"
            | "x-scheme"
            | "x-weir-client"
            | "x-weir-platform"
    )
}

/// Of the client program, times, and traces.
fn is_of_the_client_or_trace(name: &str) -> bool {
    matches!(
        name,
        // Identifiers of the request and its attempts (idempotency keys).
        "amz-sdk-invocation-id"
            | "amz-sdk-request"
            | "idempotency-key"
            | "request-id"
            | "x-client-request-id"
            | "x-correlation-id"
            | "x-idempotency-key"
            | "x-ms-client-request-id"
            | "x-request-id"
        // Traces.
            | "b3"
            | "baggage"
            | "correlation-context"
            | "elastic-apm-traceparent"
            | "grpc-trace-bin"
            | "newrelic"
            | "sentry-trace"
            | "traceparent"
            | "tracestate"
            | "uber-trace-id"
            | "x-amzn-trace-id"
            | "x-cloud-trace-context"
            | "x-ot-span-context"
            | "x-trace-id"
        // Times.
            | "date"
            | "x-queue-start"
            | "x-request-start"
        // The client program.
            | "dnt"
            | "priority"
            | "sec-gpc"
            | "user-agent"
            | "x-amz-user-agent"
            | "x-goog-api-client"
            | "x-ms-useragent"
            | "x-openai-client-user-agent"
    )
}

/// Names with a known prefix; most names are ruled out by their first letters.
fn is_of_a_known_family(name: &str) -> bool {
    match name.as_bytes() {
        [b'x', b'-', b'b' | b'd' | b'f' | b'i' | b's', ..] => {
            const FAMILIES: [&str; 5] = [
                "x-b3-",
                "x-datadog-",
                "x-fern-",
                "x-instana-",
                "x-stainless-",
            ];
            FAMILIES.iter().any(|family| name.starts_with(family))
        }
        [b's', b'e', ..] => name.starts_with("sec-ch-ua") || name.starts_with("sec-fetch-"),
        [b'u', b'b', ..] => name.starts_with("uberctx-"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_tenants_keys_and_versions_are_keyed() {
        for name in [
            "accept",
            "accept-language",
            "anthropic-beta",
            "anthropic-version",
            "api-key",
            "apikey",
            "authorization",
            "content-type",
            "cookie",
            "helicone-auth",
            "http-referer",
            "ocp-apim-subscription-key",
            "openai-organization",
            "openai-project",
            "origin",
            "prefer",
            "x-api-key",
            "x-auth-token",
            "x-dashscope-sse",
            "x-forwarded-client-cert",
            "x-forwarded-prefix",
            "x-forwarded-user",
            "x-goog-api-key",
            "x-goog-user-project",
            "x-litellm-api-key",
            "x-portkey-virtual-key",
            "x-tenant-id",
            "x-user-id",
            "x-weir-signature",
            "x-b3",
            "x-datadog",
            "sec-websocket-protocol",
            "nothing-that-anybody-knows",
        ] {
            assert!(!is_unkeyed(name), "{name}");
        }
    }

    #[test]
    fn headers_that_differ_in_every_request_are_unkeyed() {
        for name in [
            "user-agent",
            "x-stainless-retry-count",
            "x-goog-api-client",
            "x-fern-sdk-version",
            "traceparent",
            "tracestate",
            "baggage",
            "b3",
            "x-b3-traceid",
            "sentry-trace",
            "x-datadog-parent-id",
            "uber-trace-id",
            "x-amzn-trace-id",
            "x-cloud-trace-context",
            "x-request-id",
            "x-correlation-id",
            "x-client-request-id",
            "date",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-port",
            "x-real-ip",
            "forwarded",
            "via",
            "priority",
            "dnt",
            "sec-fetch-mode",
            "sec-ch-ua-platform",
            "te",
            "idempotency-key",
            "content-length",
        ] {
            assert!(is_unkeyed(name), "{name}");
        }
    }
}
