//! The closed list of weir's metrics: their names, labels and help texts.
//!
//! They are a public interface: add metrics, but never rename one.

mod cache;
mod redis;

pub use cache::{CACHE_BYTES, CACHE_ENTRIES, CACHE_EVICTIONS, CACHE_FOLLOWERS, CACHE_LOOKUPS};
pub use redis::{CACHE_REDIS_ENTRIES, REDIS_COMMANDS, REDIS_DEGRADED};

/// One metric as users see it.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    pub name: &'static str,
    pub help: &'static str,
    pub labels: &'static [&'static str],
}

/// Bucket edges of duration histograms, in seconds.
pub const DURATION_EDGES_S: [f64; 17] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
];

/// Bucket edges of the overhead histogram, in seconds: 25 us to 51.2 ms, each twice the previous one.
pub const OVERHEAD_EDGES_S: [f64; 12] = [
    0.000_025, 0.000_05, 0.000_1, 0.000_2, 0.000_4, 0.000_8, 0.001_6, 0.003_2, 0.006_4, 0.012_8,
    0.025_6, 0.051_2,
];

/// Bucket edges of the lag histogram, in seconds.
pub const LAG_EDGES_S: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];

const fn define(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Definition {
    Definition { name, help, labels }
}

pub const REQUESTS: Definition = define(
    "weir_requests_total",
    &["route", "platform", "method", "code"],
    "Requests that were answered, by status code.",
);
pub const REQUEST_DURATION: Definition = define(
    "weir_request_duration_seconds",
    &["route", "platform"],
    "Time from the head of a request to the end of its response.",
);
pub const OVERHEAD: Definition = define(
    "weir_overhead_seconds",
    &["route"],
    "Time that weir added to a request, without the backend and without waiting for the body of the client.",
);
pub const ERRORS: Definition = define(
    "weir_errors_total",
    &["route", "platform", "error_code"],
    "Rejected and failed requests, by error code.",
);
pub const FAILED_REQUESTS: Definition = define(
    "weir_failed_requests_total",
    &["route", "platform"],
    "Requests that count as errors in the error rate: a status of 500 or more, a response that the backend cut short or did not end, or an error inside a response of 200.",
);
pub const IN_FLIGHT: Definition = define("weir_requests_in_flight", &[], "Requests in flight.");
pub const CONNECTIONS: Definition = define("weir_connections", &[], "Open client connections.");
pub const CONNECTIONS_LINGERING: Definition = define(
    "weir_connections_lingering",
    &[],
    "Client connections that linger after an early response, so that it arrives.",
);
pub const CONNECTIONS_REFUSED: Definition = define(
    "weir_connections_refused_total",
    &["outcome"],
    "Client connections over limits.connections: answered with 503, or closed without a response when there are too many of them.",
);
pub const HTTP2_FLOODS: Definition = define(
    "weir_http2_floods_total",
    &[],
    "HTTP/2 connections that were closed for a flood of resets or other frames.",
);
pub const CERTIFICATE_NOT_AFTER: Definition = define(
    "weir_certificate_not_after_timestamp_seconds",
    &["address"],
    "When the certificate of a listener expires, in seconds since the Unix epoch.",
);
pub const SIGNATURE_CHECKS: Definition = define(
    "weir_signature_checks_total",
    &["scheme", "outcome"],
    "Signature checks, by outcome.",
);
pub const REPLAY_DROPPED: Definition = define(
    "weir_replay_dropped_total",
    &[],
    "Entries that the replay store evicted before they expired because it was full.",
);
pub const RATE_LIMIT_DECISIONS: Definition = define(
    "weir_rate_limit_decisions_total",
    &["policy", "outcome"],
    "Requests that a rate limit admitted or limited, by the policy with the least quota left.",
);
pub const RATE_LIMIT_KEYS: Definition = define(
    "weir_rate_limit_keys",
    &["route"],
    "Keys of rate limits in memory: clients, addresses or whatever a policy limits by.",
);
pub const CONCURRENCY_IN_USE: Definition = define(
    "weir_concurrency_in_use",
    &["route"],
    "Requests that hold a slot of the concurrency limit of a route.",
);
pub const BUFFERED_BYTES: Definition = define(
    "weir_buffered_bytes",
    &[],
    "Bytes of buffered request bodies; limits.buffered_bytes is the maximum.",
);
pub const UPSTREAM_ATTEMPTS: Definition = define(
    "weir_upstream_attempts_total",
    &["backend", "outcome"],
    "Attempts to get a response from a backend, by outcome; abandoned attempts were not ended by the backend.",
);
pub const CIRCUIT_OPEN: Definition = define(
    "weir_circuit_open",
    &["backend"],
    "Endpoints of a backend whose circuit is open, or half-open with its probe in progress.",
);
pub const UPSTREAM_HEALTHY: Definition = define(
    "weir_upstream_healthy",
    &["backend", "endpoint"],
    "Whether an endpoint is healthy, as its health checks found: 1 or 0; none without health checks.",
);
pub const UPSTREAM_DURATION: Definition = define(
    "weir_upstream_duration_seconds",
    &["backend"],
    "Time that requests spent with a backend, over all attempts.",
);
pub const MODEL_CALLS: Definition = define(
    "weir_model_calls_total",
    &["model", "backend", "outcome"],
    "Model calls that were sent to a backend.",
);
pub const TOKENS: Definition = define(
    "weir_tokens_total",
    &["model", "direction"],
    "Tokens that backends reported: input is the whole prompt, cached tokens included, output the whole response, reasoning included.",
);
pub const ESTIMATED_TOKENS: Definition = define(
    "weir_estimated_tokens_total",
    &["model", "direction"],
    "Tokens of calls whose backend reported none, estimated by weir from the texts.",
);
pub const CACHED_TOKENS: Definition = define(
    "weir_cached_tokens_total",
    &["model", "kind"],
    "Input tokens that were read from, or written to, the prompt cache of the provider.",
);
pub const REASONING_TOKENS: Definition = define(
    "weir_reasoning_tokens_total",
    &["model"],
    "Output tokens of reasoning.",
);
pub const TIME_TO_FIRST_TOKEN: Definition = define(
    "weir_time_to_first_token_seconds",
    &["model"],
    "Time from the head of a request to the first chunk of a streamed response.",
);
pub const TIME_PER_OUTPUT_TOKEN: Definition = define(
    "weir_time_per_output_token_seconds",
    &["model"],
    "Time per output token of a streamed response, after the first one.",
);
pub const EVENTS: Definition = define("weir_events_total", &["outcome"], "Events, by outcome.");
pub const EVENTS_RETRIED: Definition = define(
    "weir_events_retried_total",
    &["reason"],
    "Events that the index did not accept, by reason, counted each time; they are sent again.",
);
pub const SHIPPING_BLOCKED: Definition = define(
    "weir_shipping_blocked",
    &["reason"],
    "1 for the reason that keeps events from the index now, 0 for all other reasons.",
);
pub const EVENTS_IN_CHANNEL: Definition = define(
    "weir_events_in_channel",
    &[],
    "Events on their way from a request to the spool.",
);
pub const SPOOL_EVENTS: Definition = define(
    "weir_spool_events",
    &[],
    "Events in the spool that are not known to be indexed.",
);
pub const SPOOL_BYTES: Definition = define("weir_spool_bytes", &[], "Size of the spool on disk.");
pub const SPOOL_OLDEST: Definition = define(
    "weir_spool_oldest_seconds",
    &[],
    "Age of the oldest event in the spool, 0 if it is empty.",
);
pub const BULK_DURATION: Definition = define(
    "weir_bulk_duration_seconds",
    &[],
    "Duration of bulk requests, answered or not.",
);
pub const DEPENDENCY_UP: Definition = define(
    "weir_dependency_up",
    &["name"],
    "Whether the last call to an external service succeeded.",
);
pub const ALERT_TIER: Definition = define(
    "weir_alert_tier",
    &["rule", "route", "platform", "model", "backend"],
    "Tier of an alert: 0 none, 1 warning, 2 critical; with the label that its rule has in per.",
);
pub const ALERT_NOTIFICATIONS: Definition = define(
    "weir_alert_notifications_total",
    &["notifier", "outcome"],
    "Alert notifications that a notifier sent or failed to send.",
);
pub const ALERT_WRITES: Definition = define(
    "weir_alert_writes_total",
    &["target", "outcome"],
    "Writes of the alert state and of alert transitions: written, failed, late, or dropped because too many were waiting.",
);
pub const WORKER_RESTARTS: Definition = define(
    "weir_worker_restarts_total",
    &["name"],
    "How often a background worker failed and was restarted.",
);
pub const WORKER_UP: Definition = define(
    "weir_worker_up",
    &["name"],
    "Whether a background worker runs; 0 from a failure until it is restarted.",
);
pub const AUDIT_LINES: Definition = define(
    "weir_audit_lines_total",
    &["outcome"],
    "Lines of the audit log: written, or dropped because they could not be written.",
);
pub const SPANS: Definition = define(
    "weir_spans_total",
    &["outcome"],
    "Spans: exported, failed, or dropped because too many were waiting.",
);
pub const CPU_USAGE: Definition = define(
    "weir_cpu_usage_ratio",
    &[],
    "Processor time in use, as a share of the limit of the container, or of the machine if there is no limit.",
);
pub const MEMORY_USAGE: Definition = define(
    "weir_memory_usage_ratio",
    &[],
    "Memory in use, as a share of the limit of the container, or of the machine if there is no limit.",
);
pub const DISK_USAGE: Definition = define(
    "weir_disk_usage_ratio",
    &["mount"],
    "Share of a file system in use.",
);
pub const DISK_IO: Definition = define(
    "weir_disk_io_bytes_total",
    &["device", "direction"],
    "Bytes read from and written to a block device.",
);
pub const RUNTIME_LAG: Definition = define(
    "weir_runtime_lag_seconds",
    &[],
    "Scheduling lag: how late timers of the worker threads fired; up to a millisecond is timer resolution.",
);
pub const CONFIG_RELOADS: Definition = define(
    "weir_config_reloads_total",
    &["outcome"],
    "Reloads of the configuration: applied, unchanged, or rejected as invalid.",
);
pub const CONFIG_LAST_SUCCESS: Definition = define(
    "weir_config_last_success_timestamp_seconds",
    &[],
    "When the configuration was last loaded without an error, at the start or by a reload.",
);
pub const CONFIG_LAST_SUCCESSFUL: Definition = define(
    "weir_config_last_reload_successful",
    &[],
    "1 if the last loading of the configuration succeeded; 0 if it was rejected, and the previous one stays in use.",
);
pub const BUILD_INFO: Definition = define(
    "weir_build_info",
    &["version"],
    "Always 1; the label is the running version.",
);
pub const PROCESS_CPU: Definition = define(
    "process_cpu_seconds_total",
    &[],
    "User and system processor time of the process.",
);
pub const PROCESS_RESIDENT: Definition = define(
    "process_resident_memory_bytes",
    &[],
    "Resident memory of the process.",
);
pub const PROCESS_VIRTUAL: Definition = define(
    "process_virtual_memory_bytes",
    &[],
    "Virtual memory of the process.",
);
pub const PROCESS_OPEN_FDS: Definition = define(
    "process_open_fds",
    &[],
    "Open file descriptors of the process.",
);
pub const PROCESS_MAX_FDS: Definition = define(
    "process_max_fds",
    &[],
    "Maximum number of open file descriptors.",
);
pub const PROCESS_START_TIME: Definition = define(
    "process_start_time_seconds",
    &[],
    "Start time of the process, in seconds since the Unix epoch.",
);
pub const PROCESS_THREADS: Definition = define("process_threads", &[], "Threads of the process.");

/// Every metric that this version exposes.
pub const ALL: [Definition; 68] = [
    REQUESTS,
    REQUEST_DURATION,
    OVERHEAD,
    ERRORS,
    FAILED_REQUESTS,
    IN_FLIGHT,
    CONNECTIONS,
    CONNECTIONS_LINGERING,
    CONNECTIONS_REFUSED,
    HTTP2_FLOODS,
    CERTIFICATE_NOT_AFTER,
    SIGNATURE_CHECKS,
    REPLAY_DROPPED,
    RATE_LIMIT_DECISIONS,
    RATE_LIMIT_KEYS,
    CONCURRENCY_IN_USE,
    BUFFERED_BYTES,
    CACHE_LOOKUPS,
    CACHE_BYTES,
    CACHE_ENTRIES,
    CACHE_EVICTIONS,
    CACHE_FOLLOWERS,
    CACHE_REDIS_ENTRIES,
    REDIS_COMMANDS,
    REDIS_DEGRADED,
    UPSTREAM_ATTEMPTS,
    CIRCUIT_OPEN,
    UPSTREAM_HEALTHY,
    UPSTREAM_DURATION,
    MODEL_CALLS,
    TOKENS,
    ESTIMATED_TOKENS,
    CACHED_TOKENS,
    REASONING_TOKENS,
    TIME_TO_FIRST_TOKEN,
    TIME_PER_OUTPUT_TOKEN,
    EVENTS,
    EVENTS_RETRIED,
    SHIPPING_BLOCKED,
    EVENTS_IN_CHANNEL,
    SPOOL_EVENTS,
    SPOOL_BYTES,
    SPOOL_OLDEST,
    BULK_DURATION,
    DEPENDENCY_UP,
    ALERT_TIER,
    ALERT_NOTIFICATIONS,
    ALERT_WRITES,
    WORKER_RESTARTS,
    WORKER_UP,
    AUDIT_LINES,
    SPANS,
    CPU_USAGE,
    MEMORY_USAGE,
    DISK_USAGE,
    DISK_IO,
    RUNTIME_LAG,
    CONFIG_RELOADS,
    CONFIG_LAST_SUCCESS,
    CONFIG_LAST_SUCCESSFUL,
    BUILD_INFO,
    PROCESS_CPU,
    PROCESS_RESIDENT,
    PROCESS_VIRTUAL,
    PROCESS_OPEN_FDS,
    PROCESS_MAX_FDS,
    PROCESS_START_TIME,
    PROCESS_THREADS,
];
