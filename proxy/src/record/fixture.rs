//! Exchanges for the tests of the record stage.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Version};

use crate::clock;
use crate::exchange::{
    Attempt, CacheNote, CacheOutcome, CacheTier, Exchange, LimitNote, LimitOutcome, ModelCall,
    Recorder, RequestId, SignatureNote, SignatureOutcome, Stage, UpstreamNote,
};
use crate::model::estimate::TokenEstimator;
use crate::model::operation::Operation;
use crate::model::usage::Usage;
use crate::refusal::ErrorCode;

#[derive(Debug)]
struct Nobody;

impl Recorder for Nobody {
    fn record(&self, _exchange: &Exchange, _duration: Duration) {}
}

/// An exchange of which only the head is known.
pub(crate) fn plain() -> Exchange {
    Exchange::begin(
        clock::now(),
        [203, 0, 113, 7].into(),
        Arc::from("api"),
        Arc::new(Nobody),
    )
}

/// Two attempts: a connection that broke, then a response that stalled.
fn upstream(exchange: &Exchange) -> UpstreamNote {
    let started = exchange.timing.started();
    let trace = &exchange.trace;
    let endpoint: Arc<str> = Arc::from("http://127.0.0.1:8000");
    let mut note = UpstreamNote::begin(Arc::from("assistant"));
    let attempt = || Attempt::begin(note.backend.clone(), endpoint.clone(), trace, started);
    let (first, second) = (attempt(), attempt());
    note.begin_attempt(first).fail(ErrorCode::UpstreamReset);
    let second = note.begin_attempt(second);
    second.connect = Some(Duration::from_micros(210));
    second.responded(200, started + Duration::from_micros(602_400));
    second.fail(ErrorCode::UpstreamTimeout);
    note
}

/// The exchange of `proxy/tests/vectors/event.json`.
pub(crate) fn filled() -> Exchange {
    let mut exchange = plain();
    exchange.id = RequestId::fixed("01KAN0X3S8Q5V4R8C9J2M7T6ZB");
    exchange.received_at = Duration::from_micros(1_795_336_200_123_456);
    exchange.platform = Arc::from("feishu");
    exchange.route = Some(Arc::from("feishu"));
    exchange.route_path = Some(Arc::from("/hooks/*"));
    exchange.client_name = Some(Arc::from("tenant-17"));
    exchange.method = Method::POST;
    exchange.version = Version::HTTP_11;
    exchange.path = "/hooks/feishu".into();
    exchange.domain = Some("bot.example.com".into());
    exchange.user_agent = Some(HeaderValue::from_static("Feishu/1.0"));
    exchange.trace.trace_id = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes();
    exchange.trace.span_id = 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes();
    exchange.request_body_bytes = 512;
    exchange.response_body_bytes = 318;
    exchange.status = 504;
    exchange.error_code = Some(ErrorCode::UpstreamTimeout);
    exchange.signature = Some(SignatureNote {
        scheme: "feishu",
        outcome: SignatureOutcome::Valid,
        key: Some(0),
    });
    exchange.limit = Some(LimitNote {
        reset_s: 1,
        outcome: LimitOutcome::Admitted,
        policy: Arc::from("per-client"),
        remaining: 37,
    });
    exchange.cache = Some(CacheNote {
        outcome: CacheOutcome::Miss,
        tier: CacheTier::None,
        age_s: 0,
        key: None,
        bypass: None,
    });
    exchange.upstream = Some(upstream(&exchange));
    exchange.model = ModelCall {
        operation: Some(Operation::Chat),
        request_model: Some("glm-4".into()),
        request_stream: true,
        request_text: TokenEstimator::default(),
        response_model: Some("glm-4".into()),
        finish_reasons: vec!["stop".into()],
        time_to_first_chunk: Some(Duration::from_micros(602_400)),
        generation: Some(Duration::from_millis(600)),
        usage: Usage {
            input_tokens: Some(128),
            output_tokens: Some(356),
            cache_read_tokens: Some(64),
            reasoning_tokens: Some(40),
            ..Usage::default()
        },
    };
    let mut at = exchange.timing.started();
    for stage in Stage::ALL {
        at += match stage {
            Stage::Backend => Duration::from_micros(1_203_900),
            _ => Duration::from_micros(40),
        };
        exchange.timing.lap(stage, at);
    }
    exchange
}
