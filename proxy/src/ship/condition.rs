//! Why the index takes no events now, where that says nothing of the events: pure.
//!
//! An answer about the cluster or the credential is waited out, whether it is the answer to the whole request or
//! the status of one item inside a 200. What concerns one document is a dead letter, or it would hold up all
//! others. Statuses, types and texts are those of Elasticsearch (`RestStatus`, `ShardLimitValidator`,
//! `ClusterBlocks`, `IngestService`, `MetadataCreateIndexService`) and of OpenSearch, which kept them.
//!
//! The reason of an error may repeat text of a document, which a client can choose. So a text is only believed
//! where its type is none of a document's, and where it begins as the server writes it.

/// A reason to wait. A closed set: the label of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// No connection, no answer in time, or one that is cut short.
    Unreachable,
    /// An answer that is none of an index.
    Unreadable,
    /// 401: who weir is was not believed.
    Unauthenticated,
    /// 403: weir may not do this.
    Forbidden,
    /// A block: the index, or the cluster, is read-only, or may not make indices.
    Blocked,
    /// The flood stage of a disk: a block that ends when there is room again.
    DiskFull,
    /// There is no such index, and none may be made; or it is closed, or has no template.
    IndexMissing,
    /// The cluster has as many shards as it may have.
    ShardLimit,
    /// The pipeline that the index names does not exist.
    PipelineMissing,
    /// The index cannot be made as its templates say.
    Template,
    /// 408.
    TimedOut,
    /// 429: too much for now.
    Overloaded,
    /// Anything else of 500 and more: shards, or a master, that are not there now.
    Unavailable,
}

impl Condition {
    /// All of them.
    pub const ALL: [Condition; 13] = [
        Condition::Unreachable,
        Condition::Unreadable,
        Condition::Unauthenticated,
        Condition::Forbidden,
        Condition::Blocked,
        Condition::DiskFull,
        Condition::IndexMissing,
        Condition::ShardLimit,
        Condition::PipelineMissing,
        Condition::Template,
        Condition::TimedOut,
        Condition::Overloaded,
        Condition::Unavailable,
    ];

    /// As metrics and `/api/status` have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Condition::Unreachable => "unreachable",
            Condition::Unreadable => "unreadable_answer",
            Condition::Unauthenticated => "unauthenticated",
            Condition::Forbidden => "forbidden",
            Condition::Blocked => "blocked",
            Condition::DiskFull => "disk_full",
            Condition::IndexMissing => "index_missing",
            Condition::ShardLimit => "shard_limit",
            Condition::PipelineMissing => "pipeline_missing",
            Condition::Template => "template",
            Condition::TimedOut => "timed_out",
            Condition::Overloaded => "overloaded",
            Condition::Unavailable => "unavailable",
        }
    }

    /// What somebody can do about it; empty where it passes by itself.
    #[must_use]
    pub(super) const fn advice(self) -> &'static str {
        match self {
            Condition::Unauthenticated | Condition::Forbidden => {
                "look at username, password, api_key and what they may do"
            }
            Condition::Blocked => "remove the block of the index or the cluster",
            Condition::DiskFull => "make room on the disks of the index",
            Condition::IndexMissing => {
                "create or open the data stream, or allow action.auto_create_index for it"
            }
            Condition::ShardLimit => "delete indices, or raise cluster.max_shards_per_node",
            Condition::PipelineMissing => {
                "create the pipeline, or take it out of the settings of the index"
            }
            Condition::Template => "correct the templates of the data stream",
            Condition::Unreadable => "look at what lies between weir and the index",
            Condition::Unreachable
            | Condition::TimedOut
            | Condition::Overloaded
            | Condition::Unavailable => "",
        }
    }
}

/// The condition that a status and its error are about; `None` when they are about the document, or the
/// request as it is.
pub(super) fn of(status: u16, kind: &str, reason: &str) -> Option<Condition> {
    if let Some(block) = block(kind, reason) {
        return Some(block);
    }
    match status {
        401 => Some(Condition::Unauthenticated),
        403 => Some(Condition::Forbidden),
        404 => Some(Condition::IndexMissing),
        408 => Some(Condition::TimedOut),
        429 => Some(Condition::Overloaded),
        500.. => Some(Condition::Unavailable),
        400 => of_bad_request(kind, reason),
        _ => None,
    }
}

/// A block has its own type, with whatever status its kind has: 403, 429, 503.
fn block(kind: &str, reason: &str) -> Option<Condition> {
    if !matches!(
        kind,
        "cluster_block_exception" | "index_create_block_exception"
    ) {
        return None;
    }
    let is_full = reason.contains("flood-stage") || reason.contains("FORBIDDEN/12/");
    Some(match is_full {
        true => Condition::DiskFull,
        false => Condition::Blocked,
    })
}

/// Of all that is answered with 400, what is not about the document.
fn of_bad_request(kind: &str, reason: &str) -> Option<Condition> {
    match kind {
        "security_exception" => Some(Condition::Forbidden),
        "index_not_found_exception" | "index_closed_exception" | "invalid_index_name_exception" => {
            Some(Condition::IndexMissing)
        }
        // Somebody else made it at the same time.
        "resource_already_exists_exception" => Some(Condition::Unavailable),
        "invalid_index_template_exception" => Some(Condition::Template),
        // A document that cannot be read has this type, too, and a reason in small letters.
        "mapper_parsing_exception" if reason.starts_with("Failed to parse mapping") => {
            Some(Condition::Template)
        }
        "validation_exception" | "illegal_argument_exception" => of_argument(reason),
        _ => None,
    }
}

fn of_argument(reason: &str) -> Option<Condition> {
    let is_limit = reason.starts_with("Validation Failed: ")
        && reason.contains("this action would add [")
        && reason.contains("shards open");
    let is_pipeline = reason.starts_with("pipeline with id [")
        && reason
            .trim_end_matches(['.', ' '])
            .ends_with("does not exist");
    // Elasticsearch, where the name is an alias; and where a stream has lost its template.
    let is_index = reason.starts_with("no write index is defined for alias [")
        || reason.starts_with("no matching index template found for data stream [");
    let is_template = reason.starts_with("unknown setting [");
    match (is_limit, is_pipeline, is_index, is_template) {
        (true, ..) => Some(Condition::ShardLimit),
        (_, true, ..) => Some(Condition::PipelineMissing),
        (_, _, true, _) => Some(Condition::IndexMissing),
        (_, _, _, true) => Some(Condition::Template),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status, type and reason as servers send them.
    const CONDITIONS: &[(u16, &str, &str, Condition)] = &[
        (
            401,
            "security_exception",
            "missing authentication credentials for REST request [/_bulk]",
            Condition::Unauthenticated,
        ),
        (
            403,
            "security_exception",
            "action [indices:data/write/bulk[s]] is unauthorized for user [weir]",
            Condition::Forbidden,
        ),
        // OpenSearch's security plugin.
        (
            403,
            "security_exception",
            "no permissions for [indices:data/write/bulk[s]] and User [name=weir, backend_roles=[]]",
            Condition::Forbidden,
        ),
        (
            404,
            "index_not_found_exception",
            "no such index [logs-weir.access-default] and [action.auto_create_index] is [false]",
            Condition::IndexMissing,
        ),
        (
            404,
            "shard_not_found_exception",
            "no such shard",
            Condition::IndexMissing,
        ),
        (
            400,
            "index_closed_exception",
            "closed",
            Condition::IndexMissing,
        ),
        (408, "", "", Condition::TimedOut),
        // Elasticsearch 7.1, 7.14, 8, its serverless form, OpenSearch 2.
        (
            400,
            "illegal_argument_exception",
            "Validation Failed: 1: this action would add [10] total shards, but this cluster currently has [2402]/[2000] maximum shards open;",
            Condition::ShardLimit,
        ),
        (
            400,
            "validation_exception",
            "Validation Failed: 1: this action would add [2] shards, but this cluster currently has [1000]/[1000] maximum normal shards open;",
            Condition::ShardLimit,
        ),
        (
            400,
            "illegal_argument_exception",
            "Validation Failed: 1: this action would add [3] shards, but this cluster currently has [56]/[1] maximum index shards open; for more information, see https://www.elastic.co/docs;",
            Condition::ShardLimit,
        ),
        (
            400,
            "illegal_argument_exception",
            "pipeline with id [weir] does not exist",
            Condition::PipelineMissing,
        ),
        (
            403,
            "cluster_block_exception",
            "index [.ds-logs-weir.access-default-000001] blocked by: [FORBIDDEN/8/index write (api)];",
            Condition::Blocked,
        ),
        (
            429,
            "cluster_block_exception",
            "index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block];",
            Condition::DiskFull,
        ),
        (
            403,
            "cluster_block_exception",
            "blocked by: [FORBIDDEN/12/index read-only / allow delete (api)];",
            Condition::DiskFull,
        ),
        (
            403,
            "index_create_block_exception",
            "blocked by: [FORBIDDEN/10/cluster create-index blocked (api)];",
            Condition::Blocked,
        ),
        (
            503,
            "cluster_block_exception",
            "blocked by: [SERVICE_UNAVAILABLE/2/no master];",
            Condition::Blocked,
        ),
        (
            429,
            "es_rejected_execution_exception",
            "rejected execution of coordinating operation",
            Condition::Overloaded,
        ),
        (
            429,
            "circuit_breaking_exception",
            "[parent] Data too large",
            Condition::Overloaded,
        ),
        (
            503,
            "unavailable_shards_exception",
            "[x][0] primary shard is not active Timeout: [1m]",
            Condition::Unavailable,
        ),
        (
            503,
            "process_cluster_event_timeout_exception",
            "",
            Condition::Unavailable,
        ),
        (
            500,
            "illegal_state_exception",
            "There are no ingest nodes in this cluster",
            Condition::Unavailable,
        ),
        (
            400,
            "resource_already_exists_exception",
            "index [x] already exists",
            Condition::Unavailable,
        ),
        (
            400,
            "mapper_parsing_exception",
            "Failed to parse mapping [_doc]: No handler for type [flattened] declared on field [labels]",
            Condition::Template,
        ),
        (
            400,
            "illegal_argument_exception",
            "unknown setting [index.lifecycle.name] please check that any required plugins are installed",
            Condition::Template,
        ),
        (
            400,
            "illegal_argument_exception",
            "no write index is defined for alias [logs]. The write index may be explicitly disabled",
            Condition::IndexMissing,
        ),
    ];

    /// What is wrong with one document, and with no other.
    const DOCUMENTS: &[(u16, &str, &str)] = &[
        (
            400,
            "document_parsing_exception",
            "[1:23] failed to parse field [response_time] of type [double]",
        ),
        (
            400,
            "mapper_parsing_exception",
            "failed to parse field [client.ip] of type [ip]",
        ),
        (
            400,
            "strict_dynamic_mapping_exception",
            "mapping set to strict, dynamic introduction of [x]",
        ),
        (
            400,
            "illegal_argument_exception",
            "mapper [a] cannot be changed from type [long] to [keyword]",
        ),
        (
            400,
            "illegal_argument_exception",
            "Document contains at least one immense term in field=\"x\"",
        ),
        (
            400,
            "illegal_argument_exception",
            "field [content] not present as part of path [content]",
        ),
        (400, "script_exception", "runtime error"),
        (400, "", ""),
        (413, "", ""),
        (422, "x", "y"),
    ];

    #[test]
    fn what_the_cluster_or_the_credential_is_about_is_waited_for() {
        for (status, kind, reason, expected) in CONDITIONS {
            assert_eq!(
                of(*status, kind, reason),
                Some(*expected),
                "{status} {kind}: {reason}"
            );
        }
    }

    #[test]
    fn what_a_document_is_about_is_not() {
        for (status, kind, reason) in DOCUMENTS {
            assert_eq!(of(*status, kind, reason), None, "{status} {kind}: {reason}");
        }
    }

    #[test]
    fn a_text_that_a_client_chose_holds_nothing_up() {
        for text in [
            "pipeline with id [x] does not exist",
            "Validation Failed: 1: this action would add [2] shards, 1/1 maximum normal shards open;",
            "cluster_block_exception flood-stage FORBIDDEN/12/",
            "Failed to parse mapping",
            "unknown setting [",
        ] {
            for (kind, reason) in [
                (
                    "document_parsing_exception",
                    format!(
                        "[1:9] failed to parse field [a] of type [ip]. Preview of field's value: '{text}'"
                    ),
                ),
                (
                    "mapper_parsing_exception",
                    format!("failed to parse field [a]: '{text}'"),
                ),
                (
                    "illegal_argument_exception",
                    format!("immense term in field=\"a\", prefix: '{text}'"),
                ),
                ("document_parsing_exception", text.to_owned()),
                ("script_exception", text.to_owned()),
            ] {
                assert_eq!(of(400, kind, &reason), None, "{kind}: {reason}");
            }
        }
    }

    #[test]
    fn each_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Condition::ALL
            .iter()
            .map(|condition| condition.as_str())
            .collect();
        assert_eq!(names.len(), Condition::ALL.len());
    }
}
