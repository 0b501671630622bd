//! Why a command has no reply, in one line for logs and errors: what the server replied, and what to do about it.
//!
//! Of what the server says, only its code and the name of a command are repeated: a detail might contain an argument, a
//! reply or a password.

use ::redis::{ErrorKind, RedisError};

use super::Config;

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum ConnectError {
    Failed(RedisError),
    TimedOut,
}

impl From<RedisError> for ConnectError {
    fn from(error: RedisError) -> Self {
        ConnectError::Failed(error)
    }
}

/// What an error says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// This command failed; the server works.
    Command,
    /// The connection broke off, or the server is not ready.
    Connection,
    /// The server does not accept writes: after a failover another server has the address.
    Server,
}

pub(super) fn severity(error: &RedisError) -> Severity {
    match (code(error), error.kind()) {
        (Some("READONLY" | "LOADING" | "MASTERDOWN" | "CLUSTERDOWN"), _) => Severity::Server,
        (Some(_), _) | (None, ErrorKind::UnexpectedReturnType) => Severity::Command,
        (None, _) => Severity::Connection,
    }
}

/// The code of an error that the server replied.
fn code(error: &RedisError) -> Option<&str> {
    let code = error.code()?;
    // Before Redis 7, that of a command in a script is in the detail: `ERR Error running script (...): -OOM command ...`.
    let words = error.detail().unwrap_or_default().split_ascii_whitespace();
    let mut inner = words.filter_map(|word| word.strip_prefix('-'));
    match code {
        "ERR" => inner
            .find(|word| CODES_IN_SCRIPTS.contains(word))
            .or(Some(code)),
        code => Some(code),
    }
}

const CODES_IN_SCRIPTS: [&str; 7] = [
    "OOM",
    "READONLY",
    "MISCONF",
    "NOREPLICAS",
    "NOPERM",
    "MASTERDOWN",
    "WRONGTYPE",
];

/// Why the connection could not be opened.
pub(super) fn of_connecting(config: &Config, error: &ConnectError) -> String {
    let scheme = config.url.expose_secret().split(':').next();
    let is_tls = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("rediss"));
    let error = match error {
        ConnectError::Failed(error) if !error.is_timeout() => error,
        // A server without TLS waits for the end of what it takes for a command.
        _ if is_tls => {
            return format!(
                "{LATE}; is `redis.url` its address, and does it use TLS on this port, as `rediss://` requires?"
            );
        }
        _ => {
            return format!("{LATE}; is `redis.url` its address, and can it be reached from here?");
        }
    };
    let reason = describe(error);
    let hint = match error.kind() {
        ErrorKind::Io if reason.contains("peer certificate") => {
            "the host of `redis.url` must be a name in its certificate, whose issuer is trusted by the system or in the \
             file that SSL_CERT_FILE names"
        }
        ErrorKind::Io if is_tls && reason.contains("corrupt message") => {
            "does it use TLS on this port, as `rediss://` requires?"
        }
        ErrorKind::Io if error.is_connection_refusal() => "does it listen there?",
        ErrorKind::Io if reason.contains("lookup address") => "is the host of `redis.url` right?",
        ErrorKind::Io if error.is_connection_dropped() && !is_tls => {
            "does it require TLS on this port, as in `rediss://`, or is `redis.url` the address of another server?"
        }
        _ => return reason,
    };
    format!("{reason}; {hint}")
}

const LATE: &str = "it did not reply in time";

/// The error in one line.
pub(super) fn describe(error: &RedisError) -> String {
    match (code(error), error.kind()) {
        (Some(code), _) => replied(code, error.detail().unwrap_or_default()),
        (None, ErrorKind::AuthenticationFailed) => WRONG_PASSWORD.to_owned(),
        // The error quotes the reply.
        (None, ErrorKind::Parse | ErrorKind::UnexpectedReturnType) => {
            "its reply is not that of a Redis; is `redis.url` the address of another server?"
                .to_owned()
        }
        (None, _) => crate::outbound::root_cause(error),
    }
}

/// What a code means, and what to do. The texts of the server are those of Redis 6 to 8.
fn replied(code: &str, detail: &str) -> String {
    let has = |words: &str| detail.contains(words);
    let meaning = match code {
        "OOM" => {
            "its memory is full (set its `maxmemory-policy` to `allkeys-lru`, or raise `maxmemory`)"
        }
        "READONLY" => {
            "it is a replica, which accepts no writes (`redis.url` must be the address of the primary)"
        }
        "MISCONF" => {
            "it accepts no writes because it cannot save its data (its log has the reason; or set \
             `stop-writes-on-bgsave-error` to `no`)"
        }
        "NOREPLICAS" => "it accepts no writes without more replicas (`min-replicas-to-write`)",
        "MASTERDOWN" => "it is a replica without a connection to its primary",
        "LOADING" => LOADING,
        "BUSY" => "it is busy with a script or module of another client",
        "NOAUTH" => NO_PASSWORD,
        "WRONGPASS" => WRONG_PASSWORD,
        "NOPERM" => return not_permitted(detail),
        "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN" => {
            "it is a node of a Redis Cluster, which is not supported (`redis.url` must be the address of a single \
             Redis, or of a proxy for the cluster)"
        }
        "DENIED" => {
            "its protected mode refuses remote clients (set a password, or `bind` and `protected-mode no`)"
        }
        // The client has left out the code of what it replied to the choice of a database.
        "ERR" if has("DB index is out of range") => {
            return "it has no database with the number at the end of `redis.url` (by default there are 0 to 15)"
                .to_owned();
        }
        "ERR" if has("Authentication required") => {
            return format!("it replied NOAUTH: {NO_PASSWORD}");
        }
        "ERR" if has("loading the dataset") => return format!("it replied LOADING: {LOADING}"),
        "ERR" if has("max number of clients") => "it has too many clients (raise its `maxclients`)",
        "ERR" if has("can't run this command") || has("has no permissions") => {
            return not_permitted(detail);
        }
        "ERR" if has("unknown command") => {
            let name = quoted_name(detail).unwrap_or("of weir");
            return format!(
                "it replied ERR: it does not know the command `{name}`, which weir needs"
            );
        }
        code if code.len() <= 24 && code.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            return format!("it replied {code}");
        }
        _ => return "it replied an error that is not known".to_owned(),
    };
    format!("it replied {code}: {meaning}")
}

const LOADING: &str = "it has not loaded its data yet";
const WRONG_PASSWORD: &str = "it rejected the user or the password of `redis.url`";
const NO_PASSWORD: &str =
    "it requires a password (write it into `redis.url`, as in redis://:PASSWORD@HOST:6379/0)";

/// The ACL of the user forbids a command, perhaps one in a script, or a key.
fn not_permitted(detail: &str) -> String {
    let (what, rule) = match quoted_name(detail) {
        Some(name) => (format!("run the command `{name}`"), format!("+{name}")),
        None if detail.contains("can't run this command") => {
            let of_scripts = "+get +set +del +pttl".to_owned();
            ("run a command of a script".to_owned(), of_scripts)
        }
        None => (
            "use keys that begin with `weir:`".to_owned(),
            "~weir:*".to_owned(),
        ),
    };
    format!(
        "it replied NOPERM: the user of `redis.url` may not {what} (allow it with ACL SETUSER: `{rule}`)"
    )
}

/// The name in `has no permissions to run the 'xadd' command`, or in `unknown command 'xadd'`.
fn quoted_name(detail: &str) -> Option<&str> {
    let after = ["run the '", "unknown command '", "unknown command `"];
    let (_, rest) = after.iter().find_map(|before| detail.split_once(*before))?;
    let name = rest.split(['\'', '`']).next()?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"|._-".contains(&byte);
    (!name.is_empty() && name.len() <= 32 && name.bytes().all(is_name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use ::redis::parse_redis_value;

    use super::*;

    fn replied_error(reply: &str) -> RedisError {
        let value = parse_redis_value(format!("-{reply}\r\n").as_bytes()).expect("a reply");
        value.extract_error().expect_err("an error")
    }

    /// The reply, the severity, and parts of the description.
    const REPLIES: &str = "
OOM command not allowed when used memory > 'maxmemory'. script: S3CRET => Command: it replied OOM: its memory is full (set its `maxmemory-policy` to `allkeys-lru`
ERR Error running script (call to f_S3CRET): @user_script:3: @user_script: 3: -OOM command not allowed => Command: replied OOM & full
READONLY You can't write against a read only replica. => Server: replied READONLY & address of the primary
ERR Error running script (call to f_S3CRET): @user_script:3: -READONLY You can't write => Server: replied READONLY
MISCONF Errors writing to the AOF file: S3CRET => Command: replied MISCONF & cannot save
NOREPLICAS Not enough good replicas to write. => Command: replied NOREPLICAS & min-replicas-to-write
LOADING Redis is loading the dataset in memory => Server: replied LOADING & not loaded its data yet
ERR Redis is loading the dataset in memory => Command: replied LOADING & not loaded its data yet
MASTERDOWN Link with MASTER is down => Server: replied MASTERDOWN & primary
CLUSTERDOWN Hash slot not served => Server: replied CLUSTERDOWN & not supported
MOVED 3999 127.0.0.1:6381 => Command: replied MOVED & Redis Cluster, which is not supported
BUSY Redis is busy running a script. => Command: replied BUSY & busy with a script
NOAUTH Authentication required. => Command: replied NOAUTH & redis://:PASSWORD@HOST
ERR Authentication required. => Command: replied NOAUTH & redis://:PASSWORD@HOST
WRONGPASS invalid username-password pair => Command: rejected the user or the password of `redis.url`
NOPERM this user has no permissions to run the 'xadd' command => Command: may not run the command `xadd` & `+xadd`
NOPERM ACL failure in script: User S3CRET has no permissions to run the 'set' command => Command: the command `set` & `+set`
ERR this user has no permissions to run the 'select' command => Command: replied NOPERM & the command `select`
NOPERM User u has no permissions to run the 'client|setinfo' command => Command: the command `client|setinfo`
NOPERM User u has no permissions to run the 'S3CRET key' command => Command: replied NOPERM
NOPERM No permissions to access a key: S3CRET => Command: keys that begin with `weir:` & `~weir:*`
ERR The user executing the script can't run this command or subcommand script: S3CRET => Command: NOPERM & a command of a script
ERR unknown command 'EVALSHA', with args beginning with: 'S3CRET' => Command: does not know the command `EVALSHA`
ERR unknown command `EVALSHA`, with args beginning with: `S3CRET` => Command: does not know the command `EVALSHA`
ERR DB index is out of range => Command: no database with the number at the end of `redis.url`
ERR max number of clients reached => Command: maxclients
DENIED Redis is running in protected mode => Command: replied DENIED & protected mode
WRONGTYPE Operation against a key holding the wrong kind of value S3CRET => Command: it replied WRONGTYPE
ERR -S3CRET S3CRET => Command: it replied ERR
S3CRET-odd thing => Command: an error that is not known
";

    #[test]
    fn an_error_of_the_server_is_described_in_one_line_without_its_details() {
        for case in REPLIES.trim().lines() {
            let (reply, expected) = case.split_once(" => ").expect("a reply");
            let (severity_of_it, parts) = expected.split_once(": ").expect("a severity");
            let error = replied_error(reply);
            let text = describe(&error);
            assert_eq!(format!("{:?}", severity(&error)), severity_of_it, "{reply}");
            for part in parts.split(" & ") {
                assert!(text.contains(part), "no `{part}` in: {text}");
            }
            assert!(!text.contains("S3CRET") && !text.contains('\n'), "{text}");
        }
    }
}
