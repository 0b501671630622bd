//! The closed list of weir's metrics: names, labels and help texts stand here and nowhere else.
//!
//! They are part of the outside that users build on: add to them, rename none.

/// One metric as the outside knows it.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    pub name: &'static str,
    pub help: &'static str,
    pub labels: &'static [&'static str],
}

/// Edges of histograms of durations, in seconds.
pub const DURATION_EDGES_S: [f64; 17] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
];

/// Edges of the histogram of overhead, in seconds: 25 us to 51.2 ms, each twice the one before.
pub const OVERHEAD_EDGES_S: [f64; 12] = [
    0.000_025, 0.000_05, 0.000_1, 0.000_2, 0.000_4, 0.000_8, 0.001_6, 0.003_2, 0.006_4, 0.012_8,
    0.025_6, 0.051_2,
];

/// Edges of the histogram of lag, in seconds.
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
    "Requests that have been answered, by status code.",
);
pub const REQUEST_DURATION: Definition = define(
    "weir_request_duration_seconds",
    &["route", "platform"],
    "Time from the head of a request to the end of its answer.",
);
pub const OVERHEAD: Definition = define(
    "weir_overhead_seconds",
    &["route"],
    "Time weir itself added: without the backend and the wait for the client's body.",
);
pub const ERRORS: Definition = define(
    "weir_errors_total",
    &["route", "platform", "error_code"],
    "Every refusal and failure, by its code.",
);
pub const FAILED_REQUESTS: Definition = define(
    "weir_failed_requests_total",
    &["route", "platform"],
    "Answers of 500 or more, or cut short by the backend, without their end, or with an error inside: what the error rate counts.",
);
pub const IN_FLIGHT: Definition = define(
    "weir_requests_in_flight",
    &[],
    "Requests that are being worked on.",
);
pub const CONNECTIONS: Definition =
    define("weir_connections", &[], "Client connections that are open.");
pub const CONNECTIONS_LINGERING: Definition = define(
    "weir_connections_lingering",
    &[],
    "Client connections that are read on after an early answer, so that it arrives.",
);
pub const CONNECTIONS_REFUSED: Definition = define(
    "weir_connections_refused_total",
    &["outcome"],
    "Client connections past limits.connections: answered with 503, or closed because too many were.",
);
pub const HTTP2_FLOODS: Definition = define(
    "weir_http2_floods_total",
    &[],
    "HTTP/2 connections that were closed because they flooded weir with resets or other frames.",
);
pub const CERTIFICATE_NOT_AFTER: Definition = define(
    "weir_certificate_not_after_timestamp_seconds",
    &["address"],
    "When the certificate of a listener ends to be valid, since the Unix epoch.",
);
pub const SIGNATURE_CHECKS: Definition = define(
    "weir_signature_checks_total",
    &["scheme", "outcome"],
    "Signatures that were checked.",
);
pub const REPLAY_DROPPED: Definition = define(
    "weir_replay_dropped_total",
    &[],
    "Signed requests that were forgotten before their time because the memory against replay was full.",
);
pub const RATE_LIMIT_DECISIONS: Definition = define(
    "weir_rate_limit_decisions_total",
    &["policy", "outcome"],
    "Requests admitted or limited, by the limit that was nearest to its end.",
);
pub const RATE_LIMIT_KEYS: Definition = define(
    "weir_rate_limit_keys",
    &["route"],
    "Clients, addresses and whatever else rate limits tell apart that a route remembers.",
);
pub const CONCURRENCY_IN_USE: Definition = define(
    "weir_concurrency_in_use",
    &["route"],
    "Requests that have a place of a route's concurrency.",
);
pub const BUFFERED_BYTES: Definition = define(
    "weir_buffered_bytes",
    &[],
    "Bytes of request bodies that are held, of limits.buffered_bytes.",
);
pub const CACHE_LOOKUPS: Definition = define(
    "weir_cache_lookups_total",
    &["route", "tier", "outcome"],
    "Answers that were looked for in the cache.",
);
pub const CACHE_BYTES: Definition = define(
    "weir_cache_bytes",
    &["tier"],
    "Bytes of answers that the cache holds.",
);
pub const UPSTREAM_ATTEMPTS: Definition = define(
    "weir_upstream_attempts_total",
    &["backend", "outcome"],
    "Tries to get an answer from a backend, by how they ended; abandoned are those that the backend had no part in ending.",
);
pub const UPSTREAM_DURATION: Definition = define(
    "weir_upstream_duration_seconds",
    &["backend"],
    "Time that requests spent with a backend, all tries together.",
);
pub const MODEL_CALLS: Definition = define(
    "weir_model_calls_total",
    &["model", "backend", "outcome"],
    "Calls of a model that a backend was asked for.",
);
pub const TOKENS: Definition = define(
    "weir_tokens_total",
    &["model", "direction"],
    "Tokens that backends reported as used: input is all of a question, cached or not, output all of an answer, reasoning included.",
);
pub const ESTIMATED_TOKENS: Definition = define(
    "weir_estimated_tokens_total",
    &["model", "direction"],
    "Tokens of calls whose backend reported none, counted by weir out of the texts.",
);
pub const CACHED_TOKENS: Definition = define(
    "weir_cached_tokens_total",
    &["model", "kind"],
    "Of the tokens of questions: those that were read from, or written to, the provider's own cache.",
);
pub const REASONING_TOKENS: Definition = define(
    "weir_reasoning_tokens_total",
    &["model"],
    "Of the tokens of answers: those of reasoning.",
);
pub const TIME_TO_FIRST_TOKEN: Definition = define(
    "weir_time_to_first_token_seconds",
    &["model"],
    "Time from the head of a request to the first piece of a streamed answer.",
);
pub const TIME_PER_OUTPUT_TOKEN: Definition = define(
    "weir_time_per_output_token_seconds",
    &["model"],
    "Time a token of a streamed answer took after the first.",
);
pub const EVENTS: Definition = define(
    "weir_events_total",
    &["outcome"],
    "Events, by what became of them.",
);
pub const EVENTS_RETRIED: Definition = define(
    "weir_events_retried_total",
    &["reason"],
    "Events that the index did not take for now, each time, by why; they are sent again.",
);
pub const SHIPPING_BLOCKED: Definition = define(
    "weir_shipping_blocked",
    &["reason"],
    "1 for what keeps events from the index now, 0 for everything else.",
);
pub const EVENTS_IN_CHANNEL: Definition = define(
    "weir_events_in_channel",
    &[],
    "Events between their request and the spool.",
);
pub const SPOOL_EVENTS: Definition = define(
    "weir_spool_events",
    &[],
    "Events in the spool that are not known to be in the index.",
);
pub const SPOOL_BYTES: Definition = define(
    "weir_spool_bytes",
    &[],
    "Bytes that the spool takes on the disk.",
);
pub const SPOOL_OLDEST: Definition = define(
    "weir_spool_oldest_seconds",
    &[],
    "Age of the oldest event in the spool, 0 when it is empty.",
);
pub const BULK_DURATION: Definition = define(
    "weir_bulk_duration_seconds",
    &[],
    "Time that bulk requests took, answered or not.",
);
pub const DEPENDENCY_UP: Definition = define(
    "weir_dependency_up",
    &["name"],
    "Whether the last call of an outside service went well.",
);
pub const ALERT_TIER: Definition = define(
    "weir_alert_tier",
    &["rule", "route", "platform", "model", "backend"],
    "Tier of an alert: 0 none, 1 warning, 2 critical. Beside its rule it has the label that the rule tells apart.",
);
pub const ALERT_NOTIFICATIONS: Definition = define(
    "weir_alert_notifications_total",
    &["notifier", "outcome"],
    "Messages about alerts, taken or not by who is told.",
);
pub const ALERT_WRITES: Definition = define(
    "weir_alert_writes_total",
    &["target", "outcome"],
    "What alerts write down: their state and their changes as events; written, failed, late, or dropped because too many waited.",
);
pub const WORKER_RESTARTS: Definition = define(
    "weir_worker_restarts_total",
    &["name"],
    "How often a worker beside the way of requests failed and was started again.",
);
pub const WORKER_UP: Definition = define(
    "weir_worker_up",
    &["name"],
    "Whether a worker beside the way of requests runs; 0 from its failure until it is started again.",
);
pub const AUDIT_LINES: Definition = define(
    "weir_audit_lines_total",
    &["outcome"],
    "Lines of the audit log, written or dropped because the disk did not take them.",
);
pub const SPANS: Definition = define(
    "weir_spans_total",
    &["outcome"],
    "Spans of traces, by what became of them: exported, failed, or dropped because too many waited.",
);
pub const CPU_USAGE: Definition = define(
    "weir_cpu_usage_ratio",
    &[],
    "Share of the processor time that may be used: the container's where it has a limit, else the machine's.",
);
pub const MEMORY_USAGE: Definition = define(
    "weir_memory_usage_ratio",
    &[],
    "Share of the memory that may be used: the container's where it has a limit, else the machine's.",
);
pub const DISK_USAGE: Definition = define(
    "weir_disk_usage_ratio",
    &["mount"],
    "Share of a file system that is in use.",
);
pub const DISK_IO: Definition = define(
    "weir_disk_io_bytes_total",
    &["device", "direction"],
    "Bytes read from and written to a block device.",
);
pub const RUNTIME_LAG: Definition = define(
    "weir_runtime_lag_seconds",
    &[],
    "How late timers of the workers went off; up to a millisecond is none.",
);
pub const BUILD_INFO: Definition = define(
    "weir_build_info",
    &["version"],
    "Always 1; the label says what is running.",
);
pub const PROCESS_CPU: Definition = define(
    "process_cpu_seconds_total",
    &[],
    "Processor time of the process, user and system.",
);
pub const PROCESS_RESIDENT: Definition = define(
    "process_resident_memory_bytes",
    &[],
    "Memory of the process that is resident.",
);
pub const PROCESS_VIRTUAL: Definition = define(
    "process_virtual_memory_bytes",
    &[],
    "Size of the address space of the process.",
);
pub const PROCESS_OPEN_FDS: Definition = define(
    "process_open_fds",
    &[],
    "File descriptors that the process has open.",
);
pub const PROCESS_MAX_FDS: Definition = define(
    "process_max_fds",
    &[],
    "File descriptors that the process may have open.",
);
pub const PROCESS_START_TIME: Definition = define(
    "process_start_time_seconds",
    &[],
    "When the process was started, since the Unix epoch.",
);
pub const PROCESS_THREADS: Definition = define("process_threads", &[], "Threads of the process.");

/// Every metric that this version feeds.
pub const ALL: [Definition; 57] = [
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
    UPSTREAM_ATTEMPTS,
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
    BUILD_INFO,
    PROCESS_CPU,
    PROCESS_RESIDENT,
    PROCESS_VIRTUAL,
    PROCESS_OPEN_FDS,
    PROCESS_MAX_FDS,
    PROCESS_START_TIME,
    PROCESS_THREADS,
];
