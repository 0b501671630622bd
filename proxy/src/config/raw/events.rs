//! `events` and `traces`.

use http::HeaderName;
use serde_json::{Value, json};

use crate::settings::declare::{choice, settings};
use crate::settings::decode::{FromScalar, Invalid};
use crate::settings::lists::{List, NamedValues};
use crate::settings::url::{IndexUrl, ServiceUrl};
use crate::settings::values::{
    Count, HeaderText, Percentage, PlainText, SecretText, Size, TimeSpan,
};

settings! {
    /// One structured event per request.
    struct Events {
        /// Writes events to the standard output.
        stdout: bool [default "false"] restart,
        /// Writes events to a file; left out: no file.
        file: EventFile [optional] restart,
        /// Events that are not yet in Elasticsearch.
        spool: Spool [default "{}"] restart,
        /// Ships events to Elasticsearch or OpenSearch; left out: file and stdout only.
        elasticsearch: Elasticsearch [optional] restart,
        /// How prompts and responses are recorded.
        content: Content [default "none"] reload,
        /// Share of successful requests; failed and slow ones are always recorded.
        sample: Percentage [default "100%"] reload,
        /// A request that takes longer is slow.
        slow: TimeSpan [default "1s"] reload,
        /// The value of `service.environment` in events and spans.
        environment: PlainText [default "production"] restart,
        /// Audit log of rejected requests and of starts; left out: no audit log.
        audit: Audit [optional] restart,
    }
}

settings! {
    /// The event file.
    struct EventFile {
        /// The path of the file.
        path: PlainText [default "data/events.ndjson"] restart,
        /// The size at which it is rotated.
        rotate_at: Size [default "100MiB"] restart,
        /// Rotated files that are older are removed.
        keep: TimeSpan [default "30d"] restart,
    }
}

settings! {
    /// The audit log, chained by hashes.
    struct Audit {
        /// The path of the file.
        path: PlainText [default "data/audit.ndjson"] restart,
        /// Rotated files that are older are removed.
        keep: TimeSpan [default "30d"] restart,
    }
}

settings! {
    /// Events that are not yet in Elasticsearch.
    struct Spool {
        /// The folder of the spool.
        path: PlainText [default "data/spool"] restart,
        /// The largest size of the spool.
        bytes: Size [default "1GiB"] restart,
        /// The longest time until an event is synced to disk.
        sync: TimeSpan [default "500ms"] restart,
    }
}

settings! {
    /// An Elasticsearch or OpenSearch cluster.
    struct Elasticsearch {
        /// The addresses of its nodes.
        urls: List<IndexUrl, 1> [required] restart,
        /// The user; left out: no authentication.
        username: PlainText [optional] restart,
        /// The password of the user.
        password: SecretText [optional] restart,
        /// An API key as Elasticsearch encodes it, instead of a user.
        api_key: SecretText [optional] restart,
        /// Additional trusted certificates, in PEM.
        ca_file: PlainText [optional] restart,
        /// The data stream of access events.
        data_stream: DataStream [default "logs-weir.access-default"] restart,
        /// How long events are kept there.
        retention: TimeSpan [default "30d"] restart,
        /// The size of a bulk request.
        batch: Batch [default "{}"] restart,
        /// Timeout of one bulk request.
        timeout: TimeSpan [default "30s"] restart,
    }
}

settings! {
    /// A bulk request is sent when one of these is reached.
    struct Batch {
        /// Events in a bulk request.
        events: Count [default "1600"] restart,
        /// Bytes in a bulk request.
        bytes: Size [default "5MiB"] restart,
        /// The longest time an event waits for others.
        wait: TimeSpan [default "1s"] restart,
    }
}

settings! {
    /// Spans of requests.
    struct Traces {
        /// The address of the OTLP collector; left out: nothing is exported.
        otlp: ServiceUrl [optional] restart,
        /// Share of traces that begin here; the sampling decision of an incoming trace is respected.
        sample: Percentage [default "10%"] reload,
        /// Whether an incoming trace is continued.
        trust_incoming: bool [default "true"] reload,
        /// Headers of every request to the collector; never logged.
        headers: NamedValues<HeaderName, HeaderText> [optional] restart,
    }
}

choice! {
    /// How prompts and responses are recorded.
    enum Content {
        None = "none",
        Hash = "hash",
        Redacted = "redacted",
    }
}

/// `type-dataset-namespace`, as Elasticsearch names data streams.
pub(crate) struct DataStream(pub(crate) String);

impl FromScalar for DataStream {
    fn expected() -> String {
        "a data stream such as logs-weir.access-default (type-dataset-namespace, lower case)"
            .to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        let is_part = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| {
                    byte.is_ascii_lowercase()
                        || byte.is_ascii_digit()
                        || byte == b'.'
                        || byte == b'_'
                })
        };
        if text.len() <= 100 && text.split('-').count() == 3 && text.split('-').all(is_part) {
            return Ok(DataStream(text.to_owned()));
        }
        Err(Invalid::Unexpected)
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^[a-z0-9._]+-[a-z0-9._]+-[a-z0-9._]+$"})
    }
}
