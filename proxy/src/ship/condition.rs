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
mod tests;
