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

/// Errors that concern one document only.
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
fn errors_of_the_cluster_or_the_credential_are_retried() {
    for (status, kind, reason, expected) in CONDITIONS {
        assert_eq!(
            of(*status, kind, reason),
            Some(*expected),
            "{status} {kind}: {reason}"
        );
    }
}

#[test]
fn errors_of_a_document_are_not_retried() {
    for (status, kind, reason) in DOCUMENTS {
        assert_eq!(of(*status, kind, reason), None, "{status} {kind}: {reason}");
    }
}

#[test]
fn text_controlled_by_a_client_is_not_taken_for_a_condition() {
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
fn names_of_conditions_are_distinct() {
    let names: std::collections::BTreeSet<_> = Condition::ALL
        .iter()
        .map(|condition| condition.as_str())
        .collect();
    assert_eq!(names.len(), Condition::ALL.len());
}
