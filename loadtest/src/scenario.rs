//! What is asked: each scenario makes the request with a number, the same at every run with its seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::Method;
use rand::RngExt as _;
use ulid::Ulid;
use weir::clock;
use weir::signature::signer::{Distinct, Signer};

use crate::door::Door;
use crate::schedule;
use crate::wanted::{Expect, Judged, Wanted};

mod abuse;
mod file;
mod question;
mod replay;

pub use file::{read, schema};
pub use question::{Questions, Wants, lengths};
pub use replay::{Recording, Source, recorded};

/// The names of those that are built in.
pub const BUILT_IN: [&str; 6] = ["chat", "stream", "platforms", "abuse", "burst", "mixed"];

/// A scenario.
#[derive(Debug)]
pub struct Scenario {
    kind: Kind,
    doors: Vec<Door>,
    questions: Questions,
    before: abuse::Before,
    /// Of each way in, the last second in which its signature was used that is good for one request a
    /// second.
    seconds: Vec<AtomicU64>,
}

#[derive(Clone, Debug)]
enum Kind {
    Chat,
    Stream,
    Platforms,
    Abuse,
    Burst,
    /// Shares of the others, that add up to one.
    Mixed,
    File(Vec<file::Request>),
    Recording(Vec<replay::Recorded>),
}

impl Scenario {
    /// A built-in one.
    ///
    /// # Errors
    /// When there is none of this name, or the target has nothing that it could ask.
    pub fn built_in(name: &str, doors: Vec<Door>, questions: Questions) -> Result<Self, String> {
        let kind = match name {
            "chat" => Kind::Chat,
            "stream" => Kind::Stream,
            "platforms" => Kind::Platforms,
            "abuse" => Kind::Abuse,
            "burst" => Kind::Burst,
            "mixed" => Kind::Mixed,
            _ => {
                return Err(format!(
                    "there is no scenario {name:?}: one of {}, replay, or a file that ends with .yaml",
                    BUILT_IN.join(", ")
                ));
            }
        };
        let is_signed = doors.iter().any(|door| !door.signers.is_empty());
        if matches!(kind, Kind::Platforms | Kind::Abuse) && !is_signed {
            return Err(format!(
                "the scenario {name} needs --config: a weir.yaml whose routes want signatures"
            ));
        }
        if matches!(kind, Kind::Burst) && !doors.iter().any(|door| !door.limits.is_empty()) {
            return Err(
                "the scenario burst needs --config: a weir.yaml with a route that is limited"
                    .to_owned(),
            );
        }
        Ok(Self::new(kind, doors, questions))
    }

    fn new(kind: Kind, doors: Vec<Door>, questions: Questions) -> Self {
        let ways: usize = doors.iter().map(|door| door.signers.len()).sum();
        Scenario {
            kind,
            doors,
            questions,
            before: abuse::Before::default(),
            seconds: (0..ways).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// One of somebody's own.
    #[must_use]
    pub fn of_file(requests: Vec<file::Request>, doors: Vec<Door>, questions: Questions) -> Self {
        Self::new(Kind::File(requests), doors, questions)
    }

    /// One that was recorded.
    #[must_use]
    pub fn of_recording(
        requests: Vec<replay::Recorded>,
        doors: Vec<Door>,
        questions: Questions,
    ) -> Self {
        Self::new(Kind::Recording(requests), doors, questions)
    }

    /// The request with this number.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn wanted(&self, number: u64) -> Result<Wanted, String> {
        let may_limit = Expect::SuccessOrLimited;
        match &self.kind {
            Kind::Chat => self.chat("chat", number, Wants::Whole, Expect::Success),
            Kind::Stream => self.chat("stream", number, Wants::Stream, Expect::Success),
            Kind::Burst => self.burst(number),
            Kind::Platforms => self.platform(number),
            Kind::Abuse => self.abuse(number),
            Kind::Mixed => match self.questions.random(!number).random_range(0..100) {
                0..55 => self.chat("chat", number, Wants::Whole, may_limit),
                55..75 => self.chat("stream", number, Wants::Stream, may_limit),
                75..95 if self.is_signed() => self.platform(number),
                95..100 if self.is_signed() => self.abuse(number),
                _ => self.chat("chat", number, Wants::Whole, may_limit),
            },
            Kind::File(requests) => {
                file::wanted(requests, &self.doors, &mut self.questions.random(number))
            }
            Kind::Recording(requests) => self.recorded(requests, number),
        }
    }

    /// The names that its requests have, where they are known before it runs.
    #[must_use]
    pub fn names(&self) -> Option<Vec<Arc<str>>> {
        let mut names: Vec<Arc<str>> = match &self.kind {
            Kind::Chat => vec!["chat".into()],
            Kind::Stream => vec!["stream".into()],
            Kind::Burst => vec!["burst".into()],
            Kind::File(requests) => file::names(requests).collect(),
            Kind::Recording(requests) => requests.iter().map(|one| (&*one.route).into()).collect(),
            Kind::Platforms | Kind::Abuse | Kind::Mixed => return None,
        };
        names.sort();
        names.dedup();
        Some(names)
    }

    /// What is to be known where more is sent than the route takes: an answer of 429 is an error here.
    #[must_use]
    pub fn over_the_limit(&self, rate: f64) -> Option<String> {
        if !matches!(self.kind, Kind::Chat | Kind::Stream) {
            return None;
        }
        let door = self.chat_door().ok()?;
        let limit = door.limit().filter(|limit| limit.rate < rate)?;
        let shown = |rate: f64| schedule::shown(&[(rate, rate)]);
        Some(format!(
            "the route {} takes {} from this client (its rate limit {}), and up to {} are sent: what is over the \
             limit is answered with 429, which is an error here; send less, raise the limit for the test, or count \
             them apart with --scenario burst",
            door.route,
            shown(limit.rate),
            limit.name,
            shown(rate)
        ))
    }

    /// Is told what became of a request.
    pub fn answered(&self, wanted: &Wanted, judged: Judged) {
        if &*wanted.name == abuse::FIRST {
            self.before.answered(wanted, judged);
        }
    }

    fn recorded(&self, requests: &[replay::Recorded], number: u64) -> Result<Wanted, String> {
        let recorded = nth(requests, number).ok_or("the recording is empty")?;
        let method = Method::from_bytes(recorded.method.as_bytes());
        let method = method.map_err(|error| error.to_string())?;
        let mut doors = self.doors.iter();
        let door = doors.find(|door| *door.route == *recorded.route);
        let signer = door.and_then(Door::signer);
        let body = match (recorded.body_bytes, signer) {
            (0, _) => Bytes::new(),
            (bytes, signer) => {
                let question = question::sized(self.questions.seed, number, bytes, recorded.wants);
                let delivered = signer.and_then(|signer| {
                    signer.delivery(&"x".repeat(bytes.saturating_sub(200)), &fresh_id())
                });
                delivered.map_or(question, Bytes::from)
            }
        };
        Ok(Wanted {
            name: Arc::from(&*recorded.route),
            method,
            path: recorded.path.clone(),
            headers: headers(signer, &body, 0)?,
            body,
            wants: match recorded.status {
                200..300 => recorded.wants,
                // It may have been refused, and be refused again.
                _ => Wants::Whole,
            },
            expect: Expect::SuccessOr(recorded.status),
        })
    }

    fn is_signed(&self) -> bool {
        self.doors.iter().any(|door| !door.signers.is_empty())
    }

    /// The first door that takes the chat format, else the first.
    fn chat_door(&self) -> Result<&Door, String> {
        let mut doors = self.doors.iter();
        let chat = doors.find(|door| door.path.ends_with("/chat/completions"));
        chat.or(self.doors.first())
            .ok_or_else(|| "the target has no route".to_owned())
    }

    fn chat(
        &self,
        name: &str,
        number: u64,
        wants: Wants,
        expect: Expect,
    ) -> Result<Wanted, String> {
        let door = self.chat_door()?;
        let mut random = self.questions.random(number);
        let body = self.questions.body(number, wants, &mut random);
        let wanted = request(Sent::now(name, expect), door, door.signer(), body)?;
        Ok(Wanted { wants, ..wanted })
    }

    /// One client asks as much as comes: what is over its limit is 429, and counted apart.
    fn burst(&self, number: u64) -> Result<Wanted, String> {
        let limited = self.doors.iter().find(|door| !door.limits.is_empty());
        let door = limited.ok_or_else(|| "no route is limited".to_owned())?;
        let mut random = self.questions.random(number);
        let body = self.questions.body(number, Wants::Whole, &mut random);
        let sent = Sent::now("burst", Expect::SuccessOrLimited);
        request(sent, door, door.signer(), body)
    }

    /// Every scheme of every route in turn. One whose signature is good for one request a second takes
    /// its turn once a second; where there is no other, what comes sooner has to be refused.
    fn platform(&self, number: u64) -> Result<Wanted, String> {
        let ways: Vec<(&Door, &Signer)> = self.ways().collect();
        let first = nth(&ways, number).ok_or("no route wants a signature")?;
        let is_free = first.1.distinct == Distinct::Always || self.is_new_second(number);
        let always = |way: &&(&Door, &Signer)| way.1.distinct == Distinct::Always;
        let instead: Vec<_> = ways.iter().filter(always).collect();
        let (way, expect) = match nth(&instead, number) {
            _ if is_free => (first, Expect::SuccessOrLimited),
            Some(way) => (*way, Expect::SuccessOrLimited),
            None => (first, Expect::Status(vec![401])),
        };
        let (door, signer) = way;
        let random = &mut self.questions.random(number);
        let body = match signer.delivery(&format!("hello {number}"), &fresh_id()) {
            Some(delivery) => Bytes::from(delivery),
            None => self.questions.body(number, Wants::Whole, random),
        };
        let name = format!("{}:{}", door.platform, signer.scheme());
        request(Sent::now(&name, expect), door, Some(signer), body)
    }

    /// Whether the way whose turn it is has not been used in this second.
    fn is_new_second(&self, number: u64) -> bool {
        let now_s = clock::unix_now().as_secs();
        let last = nth(&self.seconds, number);
        last.is_some_and(|last| last.fetch_max(now_s, Ordering::Relaxed) < now_s)
    }

    fn ways(&self) -> impl Iterator<Item = (&Door, &Signer)> {
        self.doors
            .iter()
            .flat_map(|door| door.signers.iter().map(move |signer| (door, signer)))
    }
}

/// One after the other.
fn nth<T>(all: &[T], number: u64) -> Option<&T> {
    let place = number.checked_rem(all.len() as u64)?;
    all.get(usize::try_from(place).ok()?)
}

/// How a request is sent.
struct Sent<'a> {
    name: &'a str,
    expect: Expect,
    /// Signed so long ago.
    ago_s: u64,
}

impl<'a> Sent<'a> {
    fn now(name: &'a str, expect: Expect) -> Self {
        Sent {
            name,
            expect,
            ago_s: 0,
        }
    }
}

fn request(
    sent: Sent<'_>,
    door: &Door,
    signer: Option<&Signer>,
    body: Bytes,
) -> Result<Wanted, String> {
    Ok(Wanted {
        name: Arc::from(sent.name),
        method: Method::clone(&door.method),
        path: door.path.clone(),
        headers: headers(signer, &body, sent.ago_s)?,
        body,
        wants: Wants::Whole,
        expect: sent.expect,
    })
}

fn headers(
    signer: Option<&Signer>,
    body: &[u8],
    ago_s: u64,
) -> Result<Vec<(String, String)>, String> {
    let mut headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    if let Some(signer) = signer {
        let at_s = clock::unix_now().as_secs().saturating_sub(ago_s);
        let signed = signer.headers(at_s, &fresh_id(), body);
        headers.extend(signed.map_err(|error| error.to_string())?);
    }
    Ok(headers)
}

fn fresh_id() -> String {
    Ulid::generate().to_string()
}

#[cfg(test)]
#[path = "scenario/tests.rs"]
mod tests;
