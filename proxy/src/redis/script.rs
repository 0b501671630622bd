//! Lua scripts that Redis runs atomically, in one round trip.

use std::sync::LazyLock;

use ::redis::aio::ConnectionManager;
use ::redis::{Cmd, ErrorKind, FromRedisValue, ServerErrorKind, Value, cmd};
use sha1::{Digest as _, Sha1};

use super::{Redis, RedisUser, Unavailable};

/// A script, named by its SHA-1: its text is only sent to a server that does not know it yet.
pub(crate) struct LuaScript {
    text: &'static str,
    hash: LazyLock<String>,
}

/// A call of a script.
pub(crate) struct ScriptCall<'a> {
    pub(crate) keys: &'a [&'a str],
    pub(crate) arguments: &'a [&'a [u8]],
}

impl LuaScript {
    pub(crate) const fn new(text: &'static str, hash: fn() -> String) -> Self {
        LuaScript {
            text,
            hash: LazyLock::new(hash),
        }
    }
}

/// The name of a script at the server.
pub(crate) fn hash(text: &str) -> String {
    base16ct::lower::encode_string(&Sha1::digest(text))
}

impl Redis {
    /// Runs a script, unless the circuit is open, and waits for its reply until the deadline.
    ///
    /// # Errors
    /// There is no reply.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        user: RedisUser,
        script: &LuaScript,
        call: &ScriptCall<'_>,
    ) -> Result<T, Unavailable> {
        let send = async |connection: &mut ConnectionManager| {
            let by_hash = command("EVALSHA", &script.hash, call);
            let reply = connection.send_packed_command(&by_hash).await;
            match reply.and_then(Value::extract_error) {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    let whole = command("EVAL", script.text, call);
                    connection.send_packed_command(&whole).await
                }
                reply => reply,
            }
        };
        self.exchange(user, send).await
    }
}

fn command(name: &str, script: &str, call: &ScriptCall<'_>) -> Cmd {
    let mut command = cmd(name);
    command.arg(script).arg(call.keys.len());
    for key in call.keys {
        command.arg(*key);
    }
    for argument in call.arguments {
        command.arg(*argument);
    }
    command
}
