//! The copies of responses that are being delivered.

use super::super::http::{HttpCache, HttpLookup, HttpRequest, ReceiptTimes, ResourceName};
use super::*;

#[test]
fn copies_in_progress_are_bounded_together_but_for_short_responses() {
    // A quarter: two long ones, of which one takes up to an eighth.
    let cache = cache(1 << 20, Scope::Route);
    let mut headers = HeaderMap::new();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    let copy_of = |bytes: usize| {
        let copy = cache.copy(200, &headers, &[], NOW);
        let mut copy = copy.expect("storable");
        copy.push(vec![b'x'; bytes]);
        copy
    };
    let is_whole = |copy: &mut CopyBuffer| copy.stored(NOW).is_some();
    let mut long: Vec<_> = (0..10).map(|_| copy_of(120_000)).collect();
    let whole = long.iter_mut().map(is_whole).filter(|whole| *whole);
    assert_eq!(whole.count(), 2);
    let mut short: Vec<_> = (0..10).map(|_| copy_of(SEGMENT_BYTES)).collect();
    assert!(short.iter_mut().all(is_whole));
    drop((long, short));
    assert!(is_whole(&mut copy_of(120_000)));
}

#[test]
fn copies_of_an_http_cache_are_bounded_alike() {
    let cache = HttpCache::new(&super::super::http::Config {
        memory_bytes: 1 << 20,
        scope: Scope::Route,
        coalescing: Coalescing::Enabled,
    });
    let headers = HeaderMap::new();
    let request = HttpRequest {
        method: &Method::GET,
        name: ResourceName {
            scheme: "http",
            host: b"weir.test",
            path: "/",
            query: "",
            client: "",
        },
        headers: &headers,
        is_forwarded: &|_| true,
        is_replaced: |_| false,
    };
    let HttpLookup::Forward(request_key, ..) = cache.look_up(&request, NOW) else {
        panic!("nothing is stored");
    };
    let mut fresh = HeaderMap::new();
    fresh.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("max-age=60"),
    );
    let times = ReceiptTimes {
        asked_at: NOW,
        received_at: NOW,
    };
    let copy_of = |bytes: usize| {
        let copy = cache.copy(
            &request,
            &request_key,
            ::http::StatusCode::OK,
            &fresh,
            times,
        );
        let mut copy = copy.expect("storable");
        copy.push(&vec![b'x'; bytes]);
        copy
    };
    let mut long: Vec<_> = (0..10).map(|_| copy_of(120_000)).collect();
    assert!(copy_of(SEGMENT_BYTES).finish().is_some());
    let whole = long.iter_mut().filter_map(|copy| copy.finish());
    assert_eq!(whole.count(), 2);
    drop(long);
    assert!(copy_of(120_000).finish().is_some());
}
