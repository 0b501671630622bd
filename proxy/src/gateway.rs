//! START HERE: the way of a request, top to bottom, each line calling its stage.
//!
//! ```text
//! listener -> route -> body -> signature -> limit -> cache -> backend -> answer -> record
//! ```
//!
//! A request is *buffered*: weir reads its body, asks the backend with its own client and writes the
//! answer as it comes. Or its body is *passed through*, piece by piece, where no stage looks into it
//! (upgrades, gRPC, large uploads); all else is the same. Stages do not call each other: they meet here
//! and in the [`Exchange`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use pingora::server::ShutdownWatch;

use crate::answer::{Delivered, local};
use crate::body::{self, Unread};
use crate::clock;
use crate::exchange::{ClientEnd, Exchange, Recorder, Stage};
use crate::http::Connection;
use crate::http::relay::Relay;
use crate::http::session::Session;
use crate::metrics::{Counted, Gauges, Held};
use crate::refusal::{ErrorCode, Refusal};
use crate::route::address;
use crate::signature::PlatformAnswer;
use crate::signature::delivery::Delivery;

pub(crate) mod guards;
mod inbound;
pub mod pipeline;
mod question;
mod reading;
pub(crate) mod routing;
mod tunnel;
pub(crate) mod upstream;

use guards::Known;
use pipeline::RoutePipelines;
use upstream::Asking;

/// Up to so many requests in flight none of them waits for another.
const ALONE_MAX: i64 = 4;

/// The way of all requests: built once from a checked configuration.
pub struct Gateway {
    pipelines: RoutePipelines,
    budget: Arc<body::Budget>,
    recorder: Arc<dyn Recorder>,
    gauges: Gauges,
}

/// How the serving of a request ended, for whoever holds its connection.
pub(crate) enum Served {
    /// Answered to the end: the connection can be used again.
    Whole,
    /// Answered before its body was read: the connection ends, gently.
    Refused,
    /// The client left, or the answer was cut: the connection ends at once.
    Broken,
}

/// Why the way of a request ended before its end.
pub(crate) enum Stop {
    Refused(Refusal),
    /// A platform's own request, answered here.
    Platform(PlatformAnswer),
    /// Asked for weir as a whole (`OPTIONS *`): the methods it takes.
    ServerOptions(String),
    ClientLeft,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

impl From<Unread> for Stop {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Refused(refusal) => Stop::Refused(refusal),
            Unread::ClientLeft => Stop::ClientLeft,
        }
    }
}

impl Gateway {
    #[must_use]
    pub fn new(
        pipelines: RoutePipelines,
        budget: Arc<body::Budget>,
        recorder: Arc<dyn Recorder>,
        gauges: Gauges,
    ) -> Self {
        Gateway {
            pipelines,
            budget,
            recorder,
            gauges,
        }
    }

    /// The pipelines, for what looks after them on a timer.
    #[must_use]
    pub fn pipelines(&self) -> &RoutePipelines {
        &self.pipelines
    }

    /// What is held for requests now, for the metrics.
    #[must_use]
    pub fn held(&self) -> Held {
        Held {
            buffered_bytes: self.budget.held(),
            ..self.pipelines.held()
        }
    }

    /// Serves one request whose head has been read. It is recorded when its exchange is dropped,
    /// whatever became of it.
    pub(crate) async fn serve(
        &self,
        session: &mut Session,
        connection: &Connection,
        started: Instant,
        stopping: &ShutdownWatch,
    ) -> Served {
        let _in_flight = Counted::on(&self.gauges.in_flight);
        let mut exchange = self.begin(connection.peer, started);
        let mut delivery = None;
        let way = self
            .carry(session, &mut exchange, connection, &mut delivery, stopping)
            .await;
        let delivered = match way {
            Ok(delivered) => delivered,
            Err(Stop::Refused(refusal)) => {
                let unread = is_unread(session, &refusal);
                if unread {
                    session.close_after_answer();
                }
                self.before_answer(session, stopping);
                match local::refuse(session, &mut exchange, &refusal).await {
                    Delivered::Whole if unread => {
                        settle(session, &mut exchange, Delivered::Whole);
                        return Served::Refused;
                    }
                    delivered => delivered,
                }
            }
            Err(Stop::Platform(told)) => {
                self.before_answer(session, stopping);
                local::platform(session, &mut exchange, told).await
            }
            Err(Stop::ServerOptions(methods)) => {
                self.before_answer(session, stopping);
                local::options(session, &mut exchange, &methods).await
            }
            Err(Stop::ClientLeft) => Delivered::ClientLeft,
        };
        if let Some(delivery) = delivery
            && is_well(delivered, exchange.status)
        {
            delivery.taken(clock::unix_now()).await;
        }
        let served = match session.is_client_gone() {
            // What became of its call stands in the attempt.
            true => settle(session, &mut exchange, Delivered::ClientLeft),
            false => settle(session, &mut exchange, delivered),
        };
        match served {
            // A backend that answered before it had all of the body.
            Served::Whole if !session.is_body_done() => Served::Refused,
            served => served,
        }
    }

    /// The way of a request, stage by stage.
    async fn carry(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        connection: &Connection,
        delivery: &mut Option<Delivery>,
        stopping: &ShutdownWatch,
    ) -> Result<Delivered, Stop> {
        // route
        let pipeline = self.route(session, exchange, connection)?;
        guards::admit_address(&pipeline, session, exchange).await?;

        // body
        exchange.timing.enter(Stage::Body, clock::now());
        let kind = pipeline.kind(session);
        let mut body = inbound::read(&pipeline, kind, session, exchange, &self.budget).await?;
        let bytes = body.bytes();

        // signature
        exchange.timing.enter(Stage::Signature, clock::now());
        *delivery = guards::verify(&pipeline, session, exchange, bytes).await?;

        // limit
        exchange.timing.enter(Stage::Limit, clock::now());
        guards::admit(&pipeline, session, exchange).await?;
        let _permit = guards::enter(&pipeline)?;

        // cache
        exchange.timing.enter(Stage::Cache, clock::now());
        let question = question::read(&pipeline, exchange, session, &body, &self.budget).await?;
        question::keep(
            exchange,
            self.pipelines.content,
            &session.head().headers,
            bytes,
        );
        let using = match guards::look_up(&pipeline, session, exchange, &body) {
            Known::Answer(stored, age_s) => {
                reading::keep_stored(exchange, &stored);
                self.before_answer(session, stopping);
                return Ok(local::replay(session, exchange, &stored, age_s).await);
            }
            Known::Ask(using) => using,
        };

        // backend
        self.take_turns().await;
        let asked_at = clock::now();
        exchange.timing.enter(Stage::Backend, asked_at);
        let asking = Asking {
            connection,
            kind,
            asked_at,
            usage: inbound::ask_usage(&pipeline, session, exchange, &mut body),
        };
        let idle = self.pipelines.upgrade_idle_timeout;
        let (body, mut relay) =
            inbound::send_on(&pipeline, kind, body, question, session, idle).await?;
        let body = inbound::on_errand(delivery.as_ref(), body, session, connection);
        // Boxed, for the answer may take hours, and this is the largest part of the way.
        let asked = Box::pin(upstream::ask(
            &pipeline, session, exchange, &asking, body, &mut relay,
        ))
        .await;
        note_relayed(exchange, &relay);
        let (mut answer, framing) = asked?;

        // answer
        self.take_turns().await;
        let answered_at = clock::now();
        exchange.timing.enter(Stage::Answer, answered_at);
        self.before_answer(session, stopping);
        if answer.head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(tunnel::run(session, exchange, answer, idle).await);
        }
        relay.answered();
        let keep = reading::keeping(&pipeline, using);
        let waits = asking.waits(&pipeline, idle, answered_at);
        let withheld = reading::withheld(asking.usage, &mut answer);
        let length = framing.length.filter(|_| withheld.is_none());
        let mut reading =
            reading::reading(&pipeline, exchange, &answer, length, waits, using, &keep);
        reading.withheld = withheld;
        let passing = (&mut reading, &mut relay);
        let delivered = reading::pass_on(session, exchange, answer, passing, using).await;
        note_relayed(exchange, &relay);
        reading::note_usage(exchange, &mut reading, delivered);
        reading::keep_answer(exchange, &mut reading);
        Ok(delivered)
    }

    /// Lets whoever else is ready on this worker go first, when there is anybody: what is written
    /// together wakes its reader once, which under load saves an eighth of a request.
    async fn take_turns(&self) {
        if self.gauges.in_flight.get() > ALONE_MAX {
            tokio::task::yield_now().await;
        }
    }

    /// A client of a stopping proxy is told not to use its connection again.
    fn before_answer(&self, session: &mut Session, stopping: &ShutdownWatch) {
        if *stopping.borrow() {
            session.close_after_answer();
        }
    }

    fn begin(&self, peer: IpAddr, started: Instant) -> Exchange {
        Exchange::begin(
            started,
            address::counted(peer),
            self.pipelines.default_platform.clone(),
            self.recorder.clone(),
        )
    }

    /// Refuses a request whose head could not be read, or whose body is malformed from its start;
    /// `bytes` begins with what came of its first line.
    pub(crate) async fn refuse_unread(
        &self,
        session: &mut Session,
        connection: &Connection,
        bytes: &[u8],
        refusal: Refusal,
        started: Instant,
    ) {
        let _in_flight = Counted::on(&self.gauges.in_flight);
        let mut exchange = self.begin(connection.peer, started);
        exchange.scheme = connection.scheme;
        routing::sketch(&mut exchange, bytes, &self.pipelines.sampling);
        session.close_after_answer();
        let delivered = local::refuse(session, &mut exchange, &refusal).await;
        settle(session, &mut exchange, delivered);
    }
}

/// Whether what the client sends behind this refusal cannot be told from the next request.
fn is_unread(session: &mut Session, refusal: &Refusal) -> bool {
    let code = refusal.code;
    !session.is_body_done()
        || matches!(
            code,
            ErrorCode::BadRequest | ErrorCode::BodyTooLarge | ErrorCode::BodyTimeout
        )
}

/// Books what went on of a body that was passed through, and what it has asked.
fn note_relayed(exchange: &mut Exchange, relay: &Relay) {
    exchange.request_body_bytes = exchange.request_body_bytes.max(relay.bytes());
    if let Some(question) = relay.question() {
        question::note(exchange, question);
    }
}

/// Whether a delivery need not come again. Its platform reads no more of an answer than the status, so what
/// its body says does not count; that it came whole does.
fn is_well(delivered: Delivered, status: u16) -> bool {
    let is_whole = match delivered {
        Delivered::Whole | Delivered::LeftAtEnd => true,
        Delivered::CutShort | Delivered::ClientLeft => false,
    };
    is_whole && (200..300).contains(&status)
}

/// Books the last of the time, and what became of the request. Once the head of an answer has gone out its
/// status stands, whatever the client does then.
fn settle(session: &Session, exchange: &mut Exchange, delivered: Delivered) -> Served {
    exchange.finish(clock::now());
    match delivered {
        Delivered::Whole => Served::Whole,
        Delivered::CutShort | Delivered::LeftAtEnd => Served::Broken,
        Delivered::ClientLeft => {
            match session.has_begun_answer() {
                true => exchange.client = ClientEnd::Aborted,
                false => {
                    exchange.response_body_bytes = 0;
                    exchange.error_code = Some(ErrorCode::ClientClosed);
                    exchange.status = ErrorCode::ClientClosed.status().as_u16();
                }
            }
            Served::Broken
        }
    }
}
