//! The passed way: what weir only watches goes through pingora's own proxying, with its phases.
//!
//! The stages before the backend have been asked already (see `gateway.rs`). Here the endpoint is
//! chosen, the head is written, bytes are counted, and the exchange is recorded when it ends.

use async_trait::async_trait;
use bytes::Bytes;
use http::request::Parts;
use http::{StatusCode, header};
use parking_lot::Mutex;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::ServerSession;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::{H1UpgradePolicy, HttpPeer};
use pingora::{Error, ErrorType};
use std::any::Any;
use std::sync::Arc;

use super::{Passage, asking};
use crate::answer::{head, local};
use crate::backend::outgoing;
use crate::body;
use crate::clock;
use crate::exchange::{Stage, UpstreamNote};
use crate::record::metrics::{Counted, Gauges};
use crate::refusal::{ErrorCode, Refusal};
use failure::{read_on, refusal_of, refuse};

mod failure;

/// pingora's proxying, as weir uses it.
pub struct Passed {
    gauges: Gauges,
}

/// What is known of one passed request. There is always a passage: it comes with the session.
#[derive(Default)]
pub struct Context {
    passage: Option<Box<Passage>>,
    refusal: Option<Refusal>,
    _in_flight: Option<Counted>,
}

impl Passed {
    #[must_use]
    pub fn new(gauges: Gauges) -> Self {
        Passed { gauges }
    }
}

/// The upgrade a client asks for, when it asks for one that weir passes. HTTP/2 in clear text by
/// upgrade (RFC 7540) is gone since RFC 9113: such a request is served over HTTP/1.1.
pub(crate) fn asks_for_upgrade(head: &Parts) -> bool {
    head.headers
        .get(header::UPGRADE)
        .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"h2c"))
}

fn is_websocket(head: &Parts) -> bool {
    head.headers
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// What travels with a request's head: pingora keeps a connection's context over HTTP/1 only.
#[derive(Clone)]
struct Carrier(Arc<Mutex<Option<Box<Passage>>>>);

/// Gives a session what is known of its request, for [`Passed`] to find.
pub(crate) fn hand_over(session: &mut ServerSession, passage: Box<Passage>) {
    if session.is_http2() {
        let carrier = Carrier(Arc::new(Mutex::new(Some(passage))));
        session.req_header_mut().extensions_mut().insert(carrier);
    } else {
        session.set_connection_user_context(Some(passage));
    }
}

fn no_passage() -> Box<Error> {
    Error::explain(
        ErrorType::InternalError,
        "a passed request without its passage",
    )
}

/// Refuses with an error that only carries the status: the refusal itself waits in the context.
fn refused(context: &mut Context, refusal: Refusal) -> Box<Error> {
    let status = refusal.code.status().as_u16();
    context.refusal.get_or_insert(refusal);
    Error::new(ErrorType::HTTPStatus(status))
}

#[async_trait]
impl ProxyHttp for Passed {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context {
            _in_flight: Some(Counted::on(&self.gauges.in_flight)),
            ..Context::default()
        }
    }

    fn on_connection_reuse(
        &self,
        _session: &mut Session,
        context: &mut Context,
        before: Box<dyn Any + Send + Sync>,
    ) {
        context.passage = before.downcast::<Passage>().ok();
    }

    async fn early_request_filter(
        &self,
        session: &mut Session,
        context: &mut Context,
    ) -> pingora::Result<()> {
        let head = session.req_header_mut();
        if let Some(Carrier(carried)) = head.extensions_mut().remove::<Carrier>() {
            context.passage = carried.lock().take();
        }
        match &context.passage {
            Some(_) => Ok(()),
            None => Err(no_passage()),
        }
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        context: &mut Context,
    ) -> pingora::Result<Box<HttpPeer>> {
        let Some(passage) = &mut context.passage else {
            return Err(no_passage());
        };
        let lane = passage.lane.clone();
        let config = lane.backend.config();
        let note = passage
            .exchange
            .upstream
            .get_or_insert_with(|| UpstreamNote::begin(config.name.clone()));
        note.attempts += 1;
        note.begin_try(&passage.exchange.trace, clock::now());
        let endpoint = match lane.backend.pick() {
            Ok(picked) => picked.endpoint,
            Err(refusal) => return Err(refused(context, refusal)),
        };
        note.endpoint = Some(endpoint.text.clone());
        let tls = endpoint.uri.scheme_str() == Some("https");
        let host = endpoint
            .uri
            .host()
            .unwrap_or_default()
            .trim_matches(['[', ']']);
        let port = endpoint
            .uri
            .port_u16()
            .unwrap_or(if tls { 443 } else { 80 });
        // pingora would resolve the name in a blocking way, and panic where there is none.
        let resolved = pingora::time::timeout(
            config.connect_timeout,
            tokio::net::lookup_host((host, port)),
        )
        .await;
        let Some(address) = resolved
            .ok()
            .and_then(Result::ok)
            .and_then(|mut all| all.next())
        else {
            let detail = format!("backend {}: its host has no address", config.name);
            return Err(refused(
                context,
                Refusal::new(ErrorCode::UpstreamConnect, detail),
            ));
        };
        let mut peer = HttpPeer::new(address, tls, host.to_owned());
        let options = &mut peer.options;
        options.connection_timeout = Some(config.connect_timeout);
        options.total_connection_timeout = Some(config.connect_timeout);
        options.idle_timeout = Some(config.pool_idle_timeout);
        // An upgraded connection may be silent for as long as both sides like.
        let head = session.req_header();
        if asks_for_upgrade(head) {
            if !is_websocket(head) {
                options.http_upstream_request_policy.h1_upgrade = H1UpgradePolicy::Preserve;
            }
        } else {
            options.read_timeout = Some(config.first_byte_timeout.max(config.idle_timeout));
            options.write_timeout = Some(config.idle_timeout);
        }
        if session.is_http2() && super::lane::is_grpc(&head.headers) {
            options.set_http_version(2, 2);
        }
        Ok(Box::new(peer))
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        context: &mut Context,
    ) -> pingora::Result<()> {
        // An HTTP/2 body may end with an empty frame. pingora would write it as a last chunk, and
        // then the last chunk once more: the second would begin the backend's next request.
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        let (Some(passage), Some(bytes)) = (&mut context.passage, body) else {
            return Ok(());
        };
        passage.exchange.request_body_bytes += bytes.len() as u64;
        let bytes_max = passage.lane.config.body_bytes;
        let upgraded = passage.exchange.status == 101;
        if !upgraded && passage.exchange.request_body_bytes > bytes_max {
            return Err(refused(context, body::too_large(bytes_max)));
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        context: &mut Context,
    ) -> pingora::Result<()> {
        let Some(passage) = &mut context.passage else {
            return Err(no_passage());
        };
        // A try that pingora repeats counts its bytes anew.
        passage.exchange.request_body_bytes = 0;
        let head = session.req_header();
        let exchange = &passage.exchange;
        let withheld = match (&passage.lane.gate, &exchange.signature) {
            (Some(gate), Some(signature)) => gate.withheld_headers(signature.scheme),
            _ => &[],
        };
        let foreign: Vec<_> = upstream
            .headers
            .keys()
            .filter(|name| outgoing::is_ours(name) || withheld.contains(name))
            .cloned()
            .collect();
        for name in &foreign {
            upstream.remove_header(name);
        }
        let forwarded_for =
            asking::forwarded_for(&passage.connection, &head.headers, &passage.lane);
        let host = head.headers.get(header::HOST);
        let note = exchange.upstream.as_ref();
        let said = outgoing::Said {
            parent: note.map_or(exchange.trace.span_id, |note| note.parent(&exchange.trace)),
            ..asking::said(exchange, &passage.connection, &forwarded_for, host)
        };
        let mut ours = http::HeaderMap::with_capacity(16);
        outgoing::write(&mut ours, &said, passage.lane.backend.config());
        for (name, value) in &ours {
            upstream.insert_header(name.clone(), value.clone())?;
        }
        let endpoint = passage
            .exchange
            .upstream
            .as_ref()
            .and_then(|note| note.endpoint.clone());
        let target = asking::target(exchange, head.uri.query());
        let config = passage.lane.backend.config();
        let full = format!("{}{target}", config.path_prefix);
        upstream.set_uri(full.parse().map_err(|_| no_passage())?);
        let authority = endpoint.as_deref().and_then(|text| text.split_once("://"));
        if let Some((_, authority)) = authority {
            upstream.insert_header(header::HOST, authority)?;
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        context: &mut Context,
    ) -> pingora::Result<()> {
        let Some(passage) = &mut context.passage else {
            return Err(no_passage());
        };
        if answer.status.is_informational() && answer.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        let exchange = &mut passage.exchange;
        exchange.timing.enter(Stage::Answer, clock::now());
        exchange.status = answer.status.as_u16();
        if answer.status.is_server_error() {
            exchange.error_code = Some(ErrorCode::UpstreamStatus);
        }
        if let Some(note) = &mut exchange.upstream {
            note.first_byte = exchange.timing.spent(Stage::Backend);
        }
        if answer.status.as_u16() != 101 || session.is_http2() {
            let upstream_id = head::upstream_request_id(&answer.headers);
            let upstream_id = upstream_id.map(|(name, value)| (name, value.clone()));
            for (name, value) in upstream_id.into_iter().chain(head::said(exchange)) {
                answer.insert_header(name, value)?;
            }
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        context: &mut Context,
    ) -> pingora::Result<Option<std::time::Duration>> {
        if let (Some(passage), Some(bytes)) = (&mut context.passage, body) {
            passage.exchange.response_body_bytes += bytes.len() as u64;
        }
        Ok(None)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        context: &mut Context,
    ) -> FailToProxy {
        let refusal = context.refusal.take().unwrap_or_else(|| refusal_of(error));
        let status = refusal.code.status().as_u16();
        if let Some(passage) = &mut context.passage {
            let exchange = &mut passage.exchange;
            exchange.error_code = Some(refusal.code);
            if refusal.code == ErrorCode::ClientClosed {
                exchange.status = status;
            } else if exchange.status != 0 {
                exchange.cut_short = exchange.status != 101;
            } else {
                session.set_keepalive(None);
                let (answer, body) = local::refusal(exchange, &refusal);
                refuse(&mut session.downstream_session, answer, body).await;
                read_on(session).await;
            }
        }
        FailToProxy {
            error_code: status,
            can_reuse_downstream: false,
        }
    }

    async fn logging(&self, _session: &mut Session, error: Option<&Error>, context: &mut Context) {
        if let Some(mut passage) = context.passage.take() {
            passage.exchange.timing.finish(clock::now());
            if let Some(remembered) = passage.remembered.take() {
                remembered.settle(passage.exchange.status);
            }
            if let Some(error) = error {
                log::debug!("passed request {}: {error}", passage.exchange.id);
            }
        }
    }

    fn suppress_error_log(&self, _session: &Session, _context: &Context, _error: &Error) -> bool {
        // The event tells it, and a flood of failing requests must not become a flood of lines.
        true
    }
}
