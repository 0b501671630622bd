//! Reports the state of the process to systemd, if that has started it (sd_notify(3)).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// This process serves.
pub(crate) fn ready() {
    notify("READY=1");
}

/// This process stops, and no other takes its place.
pub(crate) fn stopping() {
    notify("STOPPING=1");
}

/// Another process takes the place of this one, which may now end.
pub(crate) fn replaced_by(id: i32) {
    notify(&format!("MAINPID={id}"));
}

fn notify(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(&path, state) {
        log::warn!("cannot report {state} to systemd: {error}");
    }
}

fn send(path: &OsStr, state: &str) -> io::Result<()> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}
