//! Classifies errors of the index that are not caused by the events themselves. Pure functions.
//!
//! A response about the cluster or the credential is retried until the condition ends, whether it is the response
//! to the whole request or the status of one item inside a 200. A document with an error of its own becomes a dead
//! letter, otherwise it would block all others. Statuses, types and texts are those of Elasticsearch (`RestStatus`,
//! `ShardLimitValidator`, `ClusterBlocks`, `IngestService`, `MetadataCreateIndexService`) and of OpenSearch, which
//! kept them.
//!
//! The reason of an error may quote a document, whose text a client controls. A reason is therefore matched only if
//! the type of the error is not one that concerns documents, and only at its beginning.

/// Why events are retried. A closed set: it is a label of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// No connection, no response in time, or a truncated one.
    Unreachable,
    /// A response that no index sends.
    Unreadable,
    /// 401: the credential was rejected.
    Unauthenticated,
    /// 403: the credential lacks a privilege.
    Forbidden,
    /// A block: the index or the cluster is read-only, or may not create indices.
    Blocked,
    /// The disk is past its flood-stage watermark: the block ends when there is space again.
    DiskFull,
    /// The index does not exist and may not be created, is closed, or has no template.
    IndexMissing,
    /// The cluster has reached its shard limit.
    ShardLimit,
    /// The ingest pipeline of the index does not exist.
    PipelineMissing,
    /// The index cannot be created from its templates.
    Template,
    /// 408.
    TimedOut,
    /// 429: the index signals backpressure.
    Overloaded,
    /// Any other status of 500 or more: shards or the master are unavailable.
    Unavailable,
}

impl Condition {
    /// All conditions, in order.
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

    /// The name in metrics and `/api/status`.
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

    /// What an operator can do about it; empty if it is transient.
    #[must_use]
    pub(super) const fn advice(self) -> &'static str {
        match self {
            Condition::Unauthenticated | Condition::Forbidden => {
                "check username, password, api_key and their privileges"
            }
            Condition::Blocked => "remove the block of the index or the cluster",
            Condition::DiskFull => "free space on the disks of the index",
            Condition::IndexMissing => {
                "create or open the data stream, or allow action.auto_create_index for it"
            }
            Condition::ShardLimit => "delete indices, or raise cluster.max_shards_per_node",
            Condition::PipelineMissing => {
                "create the pipeline, or remove it from the settings of the index"
            }
            Condition::Template => "correct the templates of the data stream",
            Condition::Unreadable => "check what is between weir and the index",
            Condition::Unreachable
            | Condition::TimedOut
            | Condition::Overloaded
            | Condition::Unavailable => "",
        }
    }
}

/// The condition for a status and its error; `None` if the document or the request itself is at fault.
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

/// A block has its own error types; its status depends on its kind: 403, 429 or 503.
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

/// The errors with status 400 that do not concern the document.
fn of_bad_request(kind: &str, reason: &str) -> Option<Condition> {
    match kind {
        "security_exception" => Some(Condition::Forbidden),
        "index_not_found_exception" | "index_closed_exception" | "invalid_index_name_exception" => {
            Some(Condition::IndexMissing)
        }
        // Another client created it at the same time.
        "resource_already_exists_exception" => Some(Condition::Unavailable),
        "invalid_index_template_exception" => Some(Condition::Template),
        // A document that cannot be parsed has the same type, with a reason in lower case.
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
    // Elasticsearch: the name is an alias, or the data stream has lost its template.
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
mod tests;
