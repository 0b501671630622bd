//! Configured failures and delays, and the graceful shutdown.

use super::*;

#[tokio::test]
async fn errors_have_the_configured_rate_and_repeat_with_the_seed() {
    let statuses = async |seed| {
        let running = start(
            Options {
                error_rate: 0.5,
                seed,
                ..without_delay()
            },
            Protocol::Http1,
        )
        .await;
        let mut statuses = Vec::new();
        for _ in 0..60 {
            let reply = running.chat(chat_request("why")).await;
            if reply.status != StatusCode::OK {
                assert_eq!(reply.json()["error"]["type"], "server_error");
            }
            statuses.push(reply.status.as_u16());
        }
        statuses
    };
    let first = statuses(7).await;
    let count = |status| first.iter().filter(|&&other| other == status).count();
    assert!(
        count(500) > 3 && count(503) > 3 && count(200) > 15,
        "{first:?}"
    );
    assert_eq!(first, statuses(7).await);
    assert_ne!(first, statuses(8).await);
}

#[tokio::test]
async fn latency_jitter_and_token_interval_are_applied() {
    let options = Options {
        latency: Duration::from_millis(100),
        jitter: Duration::from_millis(50),
        token_interval: Duration::from_millis(10),
        ..without_delay()
    };
    let random = random::Random::seeded(3);
    let waits: Vec<_> = (0..200)
        .map(|_| random.around(options.latency, options.jitter))
        .collect();
    let ms = Duration::from_millis;
    assert!(waits.iter().all(|wait| (ms(50)..ms(150)).contains(wait)));
    assert!(waits.iter().any(|wait| *wait < ms(70)) && waits.iter().any(|wait| *wait > ms(130)));
    assert_eq!(random.around(ms(0), ms(0)), ms(0));
    assert!(random.around(ms(1), ms(50)) <= ms(51));

    let mut request = chat_request("why");
    request["stream"] = json!(true);
    let body = request.to_string();
    let started = crate::clock::now();
    let response = calls::Assistant::new(options).chat(body.as_bytes(), 1);
    let mut body = response.into_body();
    let mut frames = 0;
    while let Some(frame) = body.frame().await {
        frames += usize::from(frame.expect("a frame").is_data());
    }
    assert_eq!(frames, 8);
    // Four intervals between five tokens; a busy machine may add to them.
    assert!(started.elapsed() >= ms(40), "{:?}", started.elapsed());
}

#[tokio::test]
async fn active_streams_complete_after_a_stop() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let options = Options {
            token_interval: Duration::from_millis(5),
            tokens: 20,
            ..without_delay()
        };
        let mut running = start(options, protocol).await;
        let mut request = chat_request("why");
        request["stream"] = json!(true);
        // The head has arrived, so the stream has begun, but most of its tokens are still to come.
        let begun = running
            .begin(
                Method::POST,
                "/v1/chat/completions",
                &[],
                request.to_string(),
            )
            .await;
        let stop = running.stop.take().expect("not stopped yet");
        stop.send(()).expect("running");
        let reply = whole(begun).await;
        assert_eq!(streamed(&reply).1["choices"][0]["finish_reason"], "stop");
        let ended = tokio::time::timeout(Duration::from_secs(10), running.task).await;
        ended.expect("stopped in time").expect("no panic");
    }
}
