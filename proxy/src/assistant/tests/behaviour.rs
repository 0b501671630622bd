//! How the assistant misbehaves when told to, and how it stops.

use super::*;

#[tokio::test]
async fn it_fails_as_often_as_it_is_told_and_the_same_way_again() {
    let statuses = async |seed| {
        let running = start(
            Options {
                error_rate: 0.5,
                seed,
                ..at_once()
            },
            Over::Http1,
        )
        .await;
        let mut statuses = Vec::new();
        for _ in 0..60 {
            let got = running.chat(question("why")).await;
            if got.status != StatusCode::OK {
                assert_eq!(got.json()["error"]["type"], "server_error");
            }
            statuses.push(got.status.as_u16());
        }
        statuses
    };
    let first = statuses(7).await;
    let count = |status| first.iter().filter(|&&got| got == status).count();
    assert!(
        count(500) > 3 && count(503) > 3 && count(200) > 15,
        "{first:?}"
    );
    assert_eq!(first, statuses(7).await);
    assert_ne!(first, statuses(8).await);
}

#[tokio::test]
async fn latency_and_token_interval_are_kept() {
    let options = Options {
        latency: Duration::from_millis(100),
        jitter: Duration::from_millis(50),
        token_interval: Duration::from_millis(10),
        ..at_once()
    };
    let assistant = random::Random::seeded(3);
    let waits: Vec<_> = (0..200)
        .map(|_| assistant.around(options.latency, options.jitter))
        .collect();
    let ms = Duration::from_millis;
    assert!(waits.iter().all(|wait| (ms(50)..ms(150)).contains(wait)));
    assert!(waits.iter().any(|wait| *wait < ms(70)) && waits.iter().any(|wait| *wait > ms(130)));
    assert_eq!(assistant.around(ms(0), ms(0)), ms(0));
    assert!(assistant.around(ms(1), ms(50)) <= ms(51));

    let mut asked = question("why");
    asked["stream"] = json!(true);
    let body = asked.to_string();
    let started = crate::clock::now();
    let response = calls::Assistant::new(options).chat(body.as_bytes(), 1);
    let mut body = response.into_body();
    let mut frames = 0;
    while let Some(frame) = body.frame().await {
        frames += usize::from(frame.expect("a frame").is_data());
    }
    assert_eq!(frames, 8);
    // Four pauses between five tokens; the machine may add to them.
    assert!(started.elapsed() >= ms(40), "{:?}", started.elapsed());
}

#[tokio::test]
async fn told_to_stop_it_ends_its_streams_whole() {
    for over in [Over::Http1, Over::Http2] {
        let options = Options {
            token_interval: Duration::from_millis(5),
            tokens: 20,
            ..at_once()
        };
        let mut running = start(options, over).await;
        let mut asked = question("why");
        asked["stream"] = json!(true);
        // The head is here, so the stream has begun; most of its tokens are yet to come.
        let begun = running
            .begin(Method::POST, "/v1/chat/completions", &[], asked.to_string())
            .await;
        let stop = running.stop.take().expect("not stopped yet");
        stop.send(()).expect("it runs");
        let got = whole(begun).await;
        assert_eq!(streamed(&got).1["choices"][0]["finish_reason"], "stop");
        let ended = tokio::time::timeout(Duration::from_secs(10), running.task).await;
        ended.expect("it ends in time").expect("it does not panic");
    }
}
