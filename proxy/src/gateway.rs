//! START HERE: the way of a request, top to bottom, each line calling its stage.
//!
//! ```text
//! listener -> route -> body -> signature -> limit -> cache -> backend -> answer -> record
//! ```
//!
//! A request is *carried*: weir reads it, asks the backend with its own client and writes the
//! answer as it comes. Or it is *passed*: what weir only watches (upgrades, gRPC, uploads nobody
//! looks into) goes through pingora's own proxying; see [`passed`]. Stages do not call each other:
//! they meet here and in the [`Exchange`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use pingora::server::ShutdownWatch;

use crate::answer::deliver::deliver;
use crate::answer::{Delivered, local};
use crate::body::{self, Body, Unread};
use crate::clock;
use crate::exchange::{Exchange, Recorder, Stage};
use crate::limit::concurrency::Permit;
use crate::listener::Connection;
use crate::listener::session::Session;
use crate::record::metrics::{Counted, Gauges, Held};
use crate::refusal::{ErrorCode, Refusal};
use crate::signature::PlatformAnswer;

pub(crate) mod arrival;
pub(crate) mod asking;
pub(crate) mod checks;
pub mod lane;
pub mod passed;

use checks::Remembered;
use lane::{Lane, Lanes};

/// Up to so many requests in flight none of them waits for another.
const ALONE_MAX: i64 = 4;

/// The way of all requests: built once from a checked configuration.
pub struct Gateway {
    lanes: Lanes,
    budget: Arc<body::Budget>,
    recorder: Arc<dyn Recorder>,
    gauges: Gauges,
}

/// How the serving of a request ended, for whoever holds its connection.
pub(crate) enum Served {
    /// Answered to the end: the connection can be used again.
    Whole,
    /// Refused before its body was read: the connection ends, gently.
    Refused,
    /// The client left, or the answer was cut: the connection ends at once.
    Broken,
    /// To be passed through pingora's own proxying.
    Pass(Box<Passage>),
}

/// A request on its way to pingora's proxying, with all that is known of it.
pub(crate) struct Passage {
    pub(crate) exchange: Exchange,
    pub(crate) lane: Arc<Lane>,
    pub(crate) connection: Connection,
    pub(crate) remembered: Option<Remembered>,
    pub(crate) _permit: Option<Permit>,
}

/// Why the way of a request ended before its end.
pub(crate) enum Stop {
    Refused(Refusal),
    /// A platform's own request, answered here.
    Platform(PlatformAnswer),
    ClientLeft,
}

/// Where the way of a request led.
enum Way {
    Answered(Delivered),
    Pass(Arc<Lane>, Option<Permit>),
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
        lanes: Lanes,
        budget: Arc<body::Budget>,
        recorder: Arc<dyn Recorder>,
        gauges: Gauges,
    ) -> Self {
        Gateway {
            lanes,
            budget,
            recorder,
            gauges,
        }
    }

    /// The lanes, for what looks after them on a timer.
    #[must_use]
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// What is held for requests now, for the metrics.
    #[must_use]
    pub fn held(&self) -> Held {
        Held {
            buffered_bytes: self.budget.held(),
            ..self.lanes.held()
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
        let mut remembered = None;
        let way = self
            .carry(
                session,
                &mut exchange,
                connection,
                &mut remembered,
                stopping,
            )
            .await;
        let delivered = match way {
            Ok(Way::Pass(lane, permit)) => {
                return Served::Pass(Box::new(Passage {
                    exchange,
                    lane,
                    connection: connection.clone(),
                    remembered,
                    _permit: permit,
                }));
            }
            Ok(Way::Answered(delivered)) => delivered,
            Err(Stop::Refused(refusal)) => {
                let unread = is_unread(session, &refusal);
                if unread {
                    session.close_after_answer();
                }
                self.before_answer(session, stopping);
                match local::refuse(session, &mut exchange, &refusal).await {
                    Delivered::Whole if unread => {
                        settle(&mut exchange, Delivered::Whole);
                        return Served::Refused;
                    }
                    delivered => delivered,
                }
            }
            Err(Stop::Platform(told)) => {
                self.before_answer(session, stopping);
                local::platform(session, &mut exchange, told).await
            }
            Err(Stop::ClientLeft) => Delivered::ClientLeft,
        };
        let served = settle(&mut exchange, delivered);
        if let Some(remembered) = remembered {
            remembered.settle(exchange.status);
        }
        served
    }

    /// The way of a carried request.
    async fn carry(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        connection: &Connection,
        remembered: &mut Option<Remembered>,
        stopping: &ShutdownWatch,
    ) -> Result<Way, Stop> {
        // route
        let lane = self.route(session, exchange, connection)?;
        checks::admit_address(&lane, session, exchange)?;

        if lane.passes(session) {
            return self.check_passed(lane, session, exchange, remembered);
        }

        // body
        exchange.timing.enter(Stage::Body, clock::now());
        let route = &lane.config;
        let body = body::read(session, route.body_bytes, route.body_timeout, &self.budget).await?;
        note_body(exchange, &body);

        // signature
        exchange.timing.enter(Stage::Signature, clock::now());
        *remembered = checks::verify(&lane, session, exchange, &body.bytes)?;

        // limit
        exchange.timing.enter(Stage::Limit, clock::now());
        checks::admit(&lane, session, exchange)?;
        let _permit = checks::enter(&lane)?;

        // cache
        exchange.timing.enter(Stage::Cache, clock::now());
        asking::note_question(exchange, &body.bytes);
        asking::keep_question(exchange, self.lanes.content, &body.bytes);
        let using = checks::look_up(&lane, session, exchange, &body.bytes);
        let using = match using {
            checks::Known::Answer(stored, age_s) => {
                asking::keep_stored(exchange, &stored);
                self.before_answer(session, stopping);
                let replayed = local::replay(session, exchange, &stored, age_s).await;
                return Ok(Way::Answered(replayed));
            }
            checks::Known::Ask(using) => using,
        };

        // backend
        self.take_turns().await;
        let asked_at = clock::now();
        exchange.timing.enter(Stage::Backend, asked_at);
        // Boxed, for the answer may take hours, and this is the largest part of the way.
        let asking = asking::ask(&lane, session, exchange, connection, &body.bytes, asked_at);
        let answer = Box::pin(asking).await?;

        // answer
        self.take_turns().await;
        exchange.timing.enter(Stage::Answer, clock::now());
        self.before_answer(session, stopping);
        let keep = asking::keeping(&lane, using);
        let mut reading = asking::reading(&lane, exchange, &answer, using, asked_at, &keep);
        let delivered = deliver(session, exchange, answer, &mut reading).await;
        asking::note_usage(exchange, &mut reading);
        asking::keep_answer(exchange, &mut reading);
        Ok(Way::Answered(delivered))
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

    /// The stages of a request that weir only watches: its head is checked, its body is not read.
    fn check_passed(
        &self,
        lane: Arc<Lane>,
        session: &Session,
        exchange: &mut Exchange,
        remembered: &mut Option<Remembered>,
    ) -> Result<Way, Stop> {
        body::check_announced(session, lane.config.body_bytes)?;
        session.check_arrived_body()?;
        exchange.timing.enter(Stage::Signature, clock::now());
        *remembered = checks::verify(&lane, session, exchange, &[])?;
        exchange.timing.enter(Stage::Limit, clock::now());
        checks::admit(&lane, session, exchange)?;
        let permit = checks::enter(&lane)?;
        exchange.timing.enter(Stage::Backend, clock::now());
        Ok(Way::Pass(lane, permit))
    }

    fn begin(&self, peer: IpAddr, started: Instant) -> Exchange {
        Exchange::begin(
            started,
            peer,
            self.lanes.default_platform.clone(),
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
        arrival::sketch(&mut exchange, bytes, &self.lanes.sampling);
        session.close_after_answer();
        let delivered = local::refuse(session, &mut exchange, &refusal).await;
        settle(&mut exchange, delivered);
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

fn note_body(exchange: &mut Exchange, body: &Body) {
    exchange.request_body_bytes = body.bytes.len() as u64;
    exchange.timing.waited_for_client(body.client_wait);
}

/// Books the last of the time, and what became of the request.
fn settle(exchange: &mut Exchange, delivered: Delivered) -> Served {
    exchange.timing.finish(clock::now());
    match delivered {
        Delivered::Whole => Served::Whole,
        Delivered::CutShort => Served::Broken,
        Delivered::ClientLeft => {
            exchange.error_code = Some(ErrorCode::ClientClosed);
            exchange.status = ErrorCode::ClientClosed.status().as_u16();
            Served::Broken
        }
    }
}
