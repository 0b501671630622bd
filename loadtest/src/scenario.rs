//! What is asked: each scenario makes the request with a number, the same at every run with its seed.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use ulid::Ulid;

use crate::door::{Door, Signer};
use crate::wanted::{Expect, Wanted};

mod file;
mod replay;

pub use file::read;
pub use replay::recorded;

/// The names of those that are built in.
pub const BUILT_IN: [&str; 6] = ["chat", "stream", "platforms", "abuse", "burst", "mixed"];

/// How questions are.
#[derive(Clone, Copy, Debug)]
pub struct Questions {
    /// The share of questions that were asked before.
    pub repeats: f64,
    /// Of a question's body.
    pub bytes: usize,
    pub seed: u64,
}

/// A scenario.
#[derive(Debug)]
pub struct Scenario {
    kind: Kind,
    doors: Vec<Door>,
    questions: Questions,
    /// A request that was sent before, for those who send it again.
    sent: Mutex<Option<Wanted>>,
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
                    "there is no scenario {name:?}: one of {}, or a file that ends with .yaml",
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
        if matches!(kind, Kind::Burst) && !doors.iter().any(|door| door.is_limited) {
            return Err(
                "the scenario burst needs --config: a weir.yaml with a route that is limited"
                    .to_owned(),
            );
        }
        Ok(Scenario {
            kind,
            doors,
            questions,
            sent: Mutex::default(),
        })
    }

    /// One of somebody's own.
    #[must_use]
    pub fn of_file(requests: Vec<file::Request>, doors: Vec<Door>, questions: Questions) -> Self {
        Scenario {
            kind: Kind::File(requests),
            doors,
            questions,
            sent: Mutex::default(),
        }
    }

    /// One that was recorded.
    #[must_use]
    pub fn of_recording(
        requests: Vec<replay::Recorded>,
        doors: Vec<Door>,
        questions: Questions,
    ) -> Self {
        Scenario {
            kind: Kind::Recording(requests),
            doors,
            questions,
            sent: Mutex::default(),
        }
    }

    /// The request with this number.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn wanted(&self, number: u64) -> Result<Wanted, String> {
        let seed = self.questions.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = SmallRng::seed_from_u64(seed ^ number);
        match &self.kind {
            Kind::Chat => self.chat("chat", number, false, Expect::Success, &mut random),
            Kind::Stream => self.chat("stream", number, true, Expect::Success, &mut random),
            Kind::Burst => self.burst(number, &mut random),
            Kind::Platforms => self.platform(number, &mut random),
            Kind::Abuse => self.abuse(number, &mut random),
            Kind::Mixed => match random.random_range(0..100) {
                0..55 => self.chat("chat", number, false, Expect::SuccessOrLimited, &mut random),
                55..75 => self.chat(
                    "stream",
                    number,
                    true,
                    Expect::SuccessOrLimited,
                    &mut random,
                ),
                75..95 if self.is_signed() => self.platform(number, &mut random),
                95..100 if self.is_signed() => self.abuse(number, &mut random),
                _ => self.chat("chat", number, false, Expect::SuccessOrLimited, &mut random),
            },
            Kind::File(requests) => file::wanted(requests, &self.doors, &mut random),
            Kind::Recording(requests) => self.recorded(requests, number),
        }
    }

    fn recorded(&self, requests: &[replay::Recorded], number: u64) -> Result<Wanted, String> {
        let recorded = nth(requests, number).ok_or("the recording is empty")?;
        let method = Method::from_bytes(recorded.method.as_bytes());
        let method = method.map_err(|error| error.to_string())?;
        let mut doors = self.doors.iter();
        let door = doors.find(|door| *door.route == *recorded.route);
        let body = match recorded.body_bytes {
            0 => Bytes::new(),
            bytes => sized_question(number, bytes),
        };
        let mut headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        if let Some(signer) = door.and_then(|door| door.signers.first()) {
            headers.extend(signer.headers(&body, &Ulid::generate().to_string(), 0)?);
        }
        Ok(Wanted {
            name: Arc::from(&*recorded.route),
            method,
            path: recorded.path.clone(),
            headers,
            body,
            expect: Expect::SuccessOrLimited,
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

    /// A question: by its share one of a hundred that are asked again and again, else a new one.
    fn question(&self, number: u64, stream: bool, random: &mut SmallRng) -> Bytes {
        let subject = match random.random_bool(self.questions.repeats.clamp(0.0, 1.0)) {
            true => format!("known {}", random.random_range(0..100)),
            false => format!("new {} {number}", self.questions.seed),
        };
        let mut text = format!("What is to be said of {subject}? ");
        while text.len() < self.questions.bytes {
            text.push_str("Tell me more. ");
        }
        text.truncate(self.questions.bytes.max(1));
        let mut question = json!({
            "model": "demo",
            "messages": [{"role": "user", "content": format!("{subject}: {text}")}],
        });
        if stream {
            question["stream"] = json!(true);
        }
        Bytes::from(question.to_string())
    }

    fn chat(
        &self,
        name: &str,
        number: u64,
        stream: bool,
        expect: Expect,
        random: &mut SmallRng,
    ) -> Result<Wanted, String> {
        let door = self.chat_door()?;
        let body = self.question(number, stream, random);
        let signer = nth(&door.signers, 0);
        request(name, door, signer, body, expect, 0)
    }

    /// One client asks as much as comes: what is over its limit is 429, and counted apart.
    fn burst(&self, number: u64, random: &mut SmallRng) -> Result<Wanted, String> {
        let limited = self.doors.iter().find(|door| door.is_limited);
        let door = limited.ok_or_else(|| "no route is limited".to_owned())?;
        let body = self.question(number, false, random);
        let signer = nth(&door.signers, 0);
        request("burst", door, signer, body, Expect::SuccessOrLimited, 0)
    }

    /// Every scheme of every route in turn.
    fn platform(&self, number: u64, random: &mut SmallRng) -> Result<Wanted, String> {
        let ways: Vec<(&Door, &Signer)> = self.ways().collect();
        let (door, signer) = nth(&ways, number).ok_or("no route wants a signature")?;
        let body = match signer.scheme {
            "feishu" => feishu_event(number),
            _ => self.question(number, false, random),
        };
        let name = format!("{}:{}", door.platform, signer.scheme);
        request(&name, door, Some(signer), body, Expect::SuccessOrLimited, 0)
    }

    fn ways(&self) -> impl Iterator<Item = (&Door, &Signer)> {
        self.doors
            .iter()
            .flat_map(|door| door.signers.iter().map(move |signer| (door, signer)))
    }

    /// What must be refused, each kind in turn: unsigned, wrongly signed, stale, sent before, too large.
    fn abuse(&self, number: u64, random: &mut SmallRng) -> Result<Wanted, String> {
        let refused = Expect::Status(vec![401]);
        let body = self.question(number, false, random);
        let with_time = self.ways().find(|(_, signer)| signer.has_time());
        let with_replay = self
            .ways()
            .find(|(_, signer)| signer.has_replay_protection());
        let (door, signer) = self.ways().next().ok_or("no route wants a signature")?;
        match (number % 5, with_time, with_replay) {
            (0, _, _) => request("abuse:unsigned", door, None, body, refused, 0),
            (1, Some((door, signer)), _) => request(
                "abuse:stale",
                door,
                Some(signer),
                body,
                refused,
                10 * 86_400,
            ),
            (2, _, Some((door, signer))) => {
                let fresh = request("abuse:replayed", door, Some(signer), body, refused, 0)?;
                let mut sent = self.sent.lock();
                match &*sent {
                    Some(before) => Ok(before.clone()),
                    None => {
                        let first = Wanted {
                            name: "abuse:first".into(),
                            expect: Expect::Success,
                            ..fresh.clone()
                        };
                        *sent = Some(fresh);
                        Ok(first)
                    }
                }
            }
            (3, _, _) if door.body_bytes_max < 64 * 1024 * 1024 => {
                let bytes = usize::try_from(door.body_bytes_max).unwrap_or(0) + 1;
                let body = Bytes::from(vec![b' '; bytes]);
                request(
                    "abuse:oversized",
                    door,
                    Some(signer),
                    body,
                    Expect::TooLarge,
                    0,
                )
            }
            _ => {
                let mut wrong = request("abuse:wrong", door, Some(signer), body, refused, 0)?;
                for (_, value) in &mut wrong.headers {
                    // The credential is a character off; what is said about it stays.
                    if value.len() > 32 || value.starts_with("Bearer ") {
                        value.push('0');
                    }
                }
                Ok(wrong)
            }
        }
    }
}

/// One after the other.
fn nth<T>(all: &[T], number: u64) -> Option<&T> {
    let place = number.checked_rem(all.len() as u64)?;
    all.get(usize::try_from(place).ok()?)
}

fn request(
    name: &str,
    door: &Door,
    signer: Option<&Signer>,
    body: Bytes,
    expect: Expect,
    ago_s: u64,
) -> Result<Wanted, String> {
    let mut headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    if let Some(signer) = signer {
        let id = Ulid::generate().to_string();
        headers.extend(signer.headers(&body, &id, ago_s)?);
    }
    Ok(Wanted {
        name: Arc::from(name),
        method: Method::clone(&door.method),
        path: door.path.clone(),
        headers,
        body,
        expect,
    })
}

/// A question whose body has about so many bytes.
fn sized_question(number: u64, bytes: usize) -> Bytes {
    let question = |text: &str| {
        json!({"model": "demo", "messages": [{"role": "user", "content": text}]}).to_string()
    };
    let start = format!("{number} ");
    let rest = bytes.saturating_sub(question(&start).len());
    Bytes::from(question(&(start + &"x".repeat(rest))))
}

fn feishu_event(number: u64) -> Bytes {
    let event = json!({
        "schema": "2.0",
        "header": {"event_id": Ulid::generate().to_string(), "event_type": "im.message.receive_v1"},
        "event": {"message": {"content": format!("{{\"text\":\"hello {number}\"}}")}},
    });
    Bytes::from(event.to_string())
}

#[cfg(test)]
#[path = "scenario/tests.rs"]
mod tests;
