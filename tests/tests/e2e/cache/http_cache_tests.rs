//! The npm package http-cache-tests against a route with `cache: {http: true}`. Its results are recorded in
//! `tests/http-cache-tests/results.txt`: the test fails when one of them gets worse, and when one gets better and the
//! file is not updated, so that the score only rises. `WEIR_WRITE_RESULTS=1` updates the file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use weir_tests::http_cache_tests::{HttpCacheTests, Kind, TestResult};
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;

const ROUTE: &str = "- {name: files, path: /*, backend: files, cache: {http: true, memory: 64MiB}}";

/// The backend of the tests sends failures on purpose, each of which has to arrive.
const OPTIONS: [&str; 2] = [
    "retry: {attempts: 1}",
    "circuit_breaker: {minimum_requests: 1000000}",
];

const HEAD: &str = "\
# The results of http-cache-tests 0.4.5, against a route with `cache: {http: true}`. With WEIR_WRITE_RESULTS=1 the test
# http_cache_tests (tests/tests/e2e/cache/http_cache_tests.rs) writes them. A test with the result `varies`, which is
# set by hand, may pass or fail. docs/http-caching.md explains those that fail.
";

/// A recorded result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recorded {
    Passes,
    Fails,
    Varies,
}

impl Recorded {
    const ALL: [Recorded; 3] = [Recorded::Passes, Recorded::Fails, Recorded::Varies];

    fn name(self) -> &'static str {
        match self {
            Recorded::Passes => "passes",
            Recorded::Fails => "fails",
            Recorded::Varies => "varies",
        }
    }

    fn of(result: &TestResult) -> Self {
        match result.failure {
            None => Recorded::Passes,
            Some(_) => Recorded::Fails,
        }
    }

    /// Whether a run with this result contradicts it.
    fn contradicts(self, result: &TestResult) -> bool {
        self != Recorded::Varies && self != Recorded::of(result)
    }
}

/// The recorded results, by the ids of their tests.
fn recorded() -> BTreeMap<String, Recorded> {
    let text = std::fs::read_to_string(file()).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [_, name, id] = words[..] else {
                panic!("not `KIND RESULT ID`: {line}")
            };
            let result = Recorded::ALL.into_iter().find(|it| it.name() == name);
            (id.to_owned(), result.expect("passes, fails or varies"))
        })
        .collect()
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("http-cache-tests/results.txt")
}

/// `required 140 of 157, optimal 80 of 86, check 40 of 86`.
fn score(results: &[TestResult]) -> String {
    let of_kind = Kind::ALL.map(|kind| {
        let results = results.iter().filter(|result| result.kind == kind);
        let (passed, failed): (Vec<_>, Vec<_>) =
            results.partition(|result| result.failure.is_none());
        let all = passed.len() + failed.len();
        format!("{} {} of {all}", kind.name(), passed.len())
    });
    of_kind.join(", ")
}

fn write(results: &[TestResult], recorded: &BTreeMap<String, Recorded>) {
    let mut text = format!("{HEAD}#\n# {}\n", score(results));
    for kind in Kind::ALL {
        text.push('\n');
        for result in results.iter().filter(|result| result.kind == kind) {
            let result_now = match recorded.get(&result.id) {
                Some(Recorded::Varies) => Recorded::Varies,
                _ => Recorded::of(result),
            };
            let _ = writeln!(text, "{} {} {}", kind.name(), result_now.name(), result.id);
        }
    }
    std::fs::write(file(), text).expect("the results are written");
}

/// Runs the tests whose results differ from the recorded ones again, without the load of the others.
async fn run_again(
    tests: &HttpCacheTests,
    proxy: &Proxy,
    results: &mut [TestResult],
    recorded: &BTreeMap<String, Recorded>,
) {
    let ids = contradictions(results, recorded, |result| result.id.clone());
    if ids.is_empty() {
        return;
    }
    for again in tests.run(proxy.address(), &ids).await {
        let result = results.iter_mut().find(|result| result.id == again.id);
        *result.expect("one of the first run") = again;
    }
}

fn contradictions<T>(
    results: &[TestResult],
    recorded: &BTreeMap<String, Recorded>,
    of: impl Fn(&TestResult) -> T,
) -> Vec<T> {
    let differ = results.iter().filter(|result| {
        let recorded = recorded.get(&result.id);
        recorded.is_none_or(|recorded| recorded.contradicts(result))
    });
    differ.map(of).collect()
}

#[tokio::test]
async fn the_score_of_http_cache_tests_only_rises() {
    let Some(tests) = HttpCacheTests::start("http-cache-tests").await else {
        return;
    };
    let proxy = Setup::without_backend()
        .backend("files", &[tests.url()], &OPTIONS)
        .routes(ROUTE)
        .start()
        .await;
    let recorded = recorded();
    let mut results = tests.run(proxy.address(), &[]).await;
    run_again(&tests, &proxy, &mut results, &recorded).await;
    // Not captured by the test runner.
    let _ = writeln!(std::io::stderr(), "http-cache-tests: {}", score(&results));
    if std::env::var_os("WEIR_WRITE_RESULTS").is_some() {
        write(&results, &recorded);
        return;
    }
    let different = contradictions(&results, &recorded, |result| match &result.failure {
        Some(failure) => format!("{} fails now: {failure}", result.id),
        None => format!(
            "{} passes now: record it with WEIR_WRITE_RESULTS=1",
            result.id
        ),
    });
    assert!(different.is_empty(), "{different:#?}");
    let gone = recorded
        .keys()
        .filter(|id| results.iter().all(|result| result.id != **id));
    assert_eq!(gone.collect::<Vec<_>>(), [""; 0], "recorded, but not run");
}
