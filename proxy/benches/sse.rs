//! The cost of parsing model calls: a response as a stream of 20 events, as it arrives from a socket; a JSON response of
//! usual size; and a request.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use weir::model::operation::Operation;
use weir::model::request::RequestReader;
use weir::model::response::{ResponseFormat, ResponseReader};
use weir::model::sse::SseDataReader;

const EVENTS: usize = 20;

fn stream() -> Vec<Vec<u8>> {
    let mut chunks: Vec<Vec<u8>> = (0..EVENTS)
        .map(|index| {
            format!(
                "data: {{\"id\":\"chatcmpl-00000000\",\"object\":\"chat.completion.chunk\",\"created\":1764059400,\"model\":\"glm-4\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"word{index} \"}},\"finish_reason\":null}}]}}\n\n"
            )
            .into_bytes()
        })
        .collect();
    chunks.push(b"data: {\"id\":\"chatcmpl-00000000\",\"object\":\"chat.completion.chunk\",\"model\":\"glm-4\",\"choices\":[],\"usage\":{\"prompt_tokens\":128,\"completion_tokens\":20,\"total_tokens\":148}}\n\ndata: [DONE]\n\n".to_vec());
    chunks
}

fn reading(criterion: &mut Criterion) {
    let chunks = stream();
    let bytes: usize = chunks.iter().map(Vec::len).sum();
    let now = weir::clock::now();
    let mut group = criterion.benchmark_group("sse");
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("scan_20_events", |bencher| {
        bencher.iter(|| {
            let mut scanner = SseDataReader::new();
            let mut data_bytes = 0;
            for chunk in &chunks {
                scanner.feed(black_box(chunk), |data| data_bytes += data.len());
            }
            data_bytes
        });
    });
    group.bench_function("usage_of_20_events", |bencher| {
        bencher.iter(|| {
            let mut reader = ResponseReader::new(ResponseFormat::Sse, None);
            for chunk in &chunks {
                reader.feed(black_box(chunk), now);
            }
            reader.finish()
        });
    });
    group.finish();

    let body = format!(
        "{{\"id\":\"chatcmpl-00000000\",\"object\":\"chat.completion\",\"created\":1764059400,\"model\":\"glm-4\",\"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{}\"}},\"finish_reason\":\"stop\"}}],\"usage\":{{\"prompt_tokens\":128,\"completion_tokens\":64,\"total_tokens\":192}}}}",
        "word ".repeat(70)
    );
    criterion.bench_function("usage_of_json", |bencher| {
        bencher.iter(|| {
            let mut reader = ResponseReader::new(ResponseFormat::Json, None);
            reader.feed(black_box(body.as_bytes()), now);
            reader.finish()
        });
    });
    let asked = format!(
        "{{\"model\":\"glm-4\",\"messages\":[{{\"role\":\"user\",\"content\":\"{}\"}}],\"stream\":true}}",
        "why ".repeat(105)
    );
    criterion.bench_function("question", |bencher| {
        bencher.iter(|| {
            let mut reader = RequestReader::new(Operation::Chat, "/v1/chat/completions");
            reader.feed(black_box(asked.as_bytes()));
            reader.finish()
        });
    });
}

criterion_group!(benches, reading);
criterion_main!(benches);
