//! Running streams, and changed addresses.

use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::setup::Setup;

use super::drained;

/// The old process ends what runs in it, also over HTTP/2, and the new one has other addresses.
#[tokio::test]
async fn a_stream_survives_an_upgrade_to_other_addresses() {
    let backend = Backend::manual().await;
    let setup = Setup::open(&backend);
    let mut proxy = setup.start().await;
    let first = proxy.address();
    let mut streams = Vec::new();
    for two in [false, true] {
        let mut client = match two {
            true => Client::h2(first).await,
            false => Client::h1(first).await,
        };
        let opening = client.open(ClientRequest::chat_stream("hi"));
        let (mut stream, mut call) = tokio::join!(opening, async {
            let mut call = backend.next_request().await;
            call.send_event_stream_head().await;
            call
        });
        call.token("before").await;
        stream.until("before").await;
        streams.push((client, stream, call));
    }
    // The address is taken over by its number, and another one is added.
    let both = setup
        .clone()
        .listen(&format!("{first}\n- address: 127.0.0.1:0"));
    let old = proxy.upgrade(&both).await;
    let second = proxy.addresses()[1];
    assert_eq!(proxy.addresses(), [first, second]);
    let last = setup.clone().listen(&second.to_string());
    let middle = proxy.upgrade(&last).await;
    assert!(old.exit().is_none(), "it has streams");
    assert_eq!(proxy.addresses(), [second]);
    for (_client, mut stream, mut call) in streams {
        call.token("after").await;
        stream.until("after").await;
        call.end_chat(2).await;
        let rest = stream.rest().await.expect("a clean end");
        assert!(rest.ends_with(b"data: [DONE]\n\n"));
    }
    drained(&old).await;
    drained(&middle).await;
    proxy.events_when(2).await;
    let closed = std::net::TcpStream::connect(first);
    assert!(closed.is_err(), "no process listens there any more");
    let opening = std::net::TcpStream::connect(second);
    assert!(opening.is_ok());
}
