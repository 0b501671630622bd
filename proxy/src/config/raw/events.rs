//! `events` and `traces`.

use http::HeaderName;
use serde_json::{Value, json};

use crate::settings::declare::{choice, settings};
use crate::settings::decode::{FromScalar, Invalid};
use crate::settings::lists::{List, NamedValues};
use crate::settings::url::ServiceUrl;
use crate::settings::values::{
    Count, HeaderText, Percentage, PlainText, SecretText, Size, TimeSpan,
};

settings! {
    /// One structured event a request.
    struct Events {
        /// To the standard output.
        stdout: bool [default "false"] restart,
        /// To a file; left out: none.
        file: EventFile [optional] restart,
        /// What is not yet in Elasticsearch.
        spool: Spool [default "{}"] restart,
        /// Left out: file and stdout only.
        elasticsearch: Elasticsearch [optional] restart,
        /// What is kept of prompts and responses.
        content: Content [default "none"] reload,
        /// Of successful requests; errors and slow ones are always kept.
        sample: Percentage [default "100%"] reload,
        /// A request that took longer is slow.
        slow: TimeSpan [default "1s"] reload,
        /// The value of service.environment.
        environment: PlainText [default "production"] restart,
        /// Log of rejected requests and of starts; left out: no such log.
        audit: Audit [optional] restart,
    }
}

settings! {
    /// The event file.
    struct EventFile {
        /// Where it is.
        path: PlainText [default "data/events.ndjson"] restart,
        /// The size at which it is rotated.
        rotate_at: Size [default "100MiB"] restart,
        /// Rotated files older than this are removed.
        keep: TimeSpan [default "30d"] restart,
    }
}

settings! {
    /// The log of rejections, chained by hashes.
    struct Audit {
        /// Where it is.
        path: PlainText [default "data/audit.ndjson"] restart,
        /// Files older than this are removed.
        keep: TimeSpan [default "30d"] restart,
    }
}

settings! {
    /// What is not yet in Elasticsearch.
    struct Spool {
        /// A folder.
        path: PlainText [default "data/spool"] restart,
        /// The most it may take.
        bytes: Size [default "1GiB"] restart,
        /// The longest time until an event is safe on the disk.
        sync: TimeSpan [default "500ms"] restart,
    }
}

settings! {
    /// Where events are searched.
    struct Elasticsearch {
        /// Its nodes.
        urls: List<ServiceUrl, 1> [required] restart,
        /// Left out: no authentication.
        username: PlainText [optional] restart,
        /// Of the user.
        password: SecretText [optional] restart,
        /// An API key as Elasticsearch encodes it, instead of a user.
        api_key: SecretText [optional] restart,
        /// Certificates of your own that are trusted, in PEM.
        ca_file: PlainText [optional] restart,
        /// Where access events go.
        data_stream: DataStream [default "logs-weir.access-default"] restart,
        /// How long they are kept there.
        retention: TimeSpan [default "30d"] restart,
        /// How many are sent at once.
        batch: Batch [default "{}"] restart,
        /// Of one bulk request.
        timeout: TimeSpan [default "30s"] restart,
    }
}

settings! {
    /// A bulk request is sent when one of them is reached.
    struct Batch {
        /// Events in it.
        events: Count [default "1600"] restart,
        /// Bytes in it.
        bytes: Size [default "5MiB"] restart,
        /// The longest time an event waits for others.
        wait: TimeSpan [default "1s"] restart,
    }
}

settings! {
    /// Spans of requests.
    struct Traces {
        /// Where spans go; left out: nothing is exported.
        otlp: ServiceUrl [optional] restart,
        /// Of traces that begin here; the decision of an incoming trace is kept.
        sample: Percentage [default "10%"] reload,
        /// Whether an incoming trace is continued.
        trust_incoming: bool [default "true"] reload,
        /// Sent to the collector with every request, never logged.
        headers: NamedValues<HeaderName, HeaderText> [optional] restart,
    }
}

choice! {
    /// What is kept of prompts and responses.
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
