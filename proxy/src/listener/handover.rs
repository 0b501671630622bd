//! Passes listening sockets from a running process to the one that replaces it (hot upgrade, zero downtime).
//!
//! Both processes talk over a Unix socket, in frames and with descriptors beside them (`SCM_RIGHTS`, unix(7)). A passed
//! descriptor refers to the same socket: it is never closed and never bound again, so no client in its accept queue is
//! lost. Only processes of the same user are listened to (`SO_PEERCRED`). The sequence of messages is in `app/upgrade.rs`.

use std::fs;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock;

/// More than any state that is handed over.
const FRAME_BYTES_MAX: u32 = 256 * 1024 * 1024;
/// More than the message of a process that has not been accepted yet.
const FIRST_BYTES_MAX: u32 = 4 * 1024;
/// Accompanies each descriptor: without a byte none is passed.
const MARKER: &[u8] = b"d";
const BACKLOG: i32 = 16;

/// The listening socket of a running process, at which its successor connects. Its file is removed when it is dropped,
/// unless another process has replaced it.
#[derive(Debug)]
pub(crate) struct UpgradeSocket {
    path: PathBuf,
    /// Device and inode of its file; `None` once it belongs to a successor.
    file: Option<(u64, u64)>,
}

impl UpgradeSocket {
    /// Binds the path, with mode 0600. The file of a process that has ended, or of the one that this process replaces,
    /// is replaced at once; there is no moment without one.
    ///
    /// # Errors
    /// When a process listens there already (unless it is the one `replaced`), or the path cannot be bound.
    pub(crate) fn bind(path: &Path, replaces: Replaces) -> io::Result<(Self, UnixListener)> {
        if let Some(directory) = path.parent()
            && !directory.as_os_str().is_empty()
        {
            fs::create_dir_all(directory)?;
        }
        if let Ok(found) = fs::symlink_metadata(path) {
            if !found.file_type().is_socket() {
                return Err(io::Error::new(
                    ErrorKind::AlreadyExists,
                    "it is not a socket",
                ));
            }
            if replaces == Replaces::Nothing && UnixStream::connect(path).is_ok() {
                let message = "another running weir listens there";
                return Err(io::Error::new(ErrorKind::AddrInUse, message));
            }
        }
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        // Left by a process that was killed in between.
        let _ = fs::remove_file(&new);
        let listener = bind_private(&new)?;
        let metadata = fs::metadata(&new)?;
        fs::rename(&new, path)?;
        let socket = UpgradeSocket {
            path: path.to_owned(),
            file: Some((metadata.dev(), metadata.ino())),
        };
        Ok((socket, listener))
    }

    /// Leaves its file to a successor, which replaces it: between a look and a removal it might already have done so.
    pub(crate) fn leave(&mut self) {
        self.file = None;
    }
}

impl Drop for UpgradeSocket {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| Some((found.dev(), found.ino())) == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whose socket may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replaces {
    Nothing,
    /// The process that has handed over to this one.
    Predecessor,
}

fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    // The file gets the mode of its socket, so that it is never accessible to others.
    rustix::fs::fchmod(&socket, rustix::fs::Mode::from_bits_truncate(0o600))?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(UnixListener::from(OwnedFd::from(socket)))
}

/// A connection between the two processes. All its operations block until the deadline.
#[derive(Debug)]
pub(crate) struct HandoverChannel {
    stream: UnixStream,
    /// The process id of the peer, if it is visible here.
    pub(crate) peer: Option<i32>,
    deadline: Option<Instant>,
}

impl HandoverChannel {
    /// # Errors
    /// When the peer is a process of another user.
    pub(crate) fn new(stream: tokio::net::UnixStream) -> io::Result<Self> {
        let peer = stream.peer_cred()?;
        let (theirs, ours) = (peer.uid(), rustix::process::geteuid().as_raw());
        if theirs != ours {
            let message = format!("the other process belongs to user {theirs}, this one to {ours}");
            return Err(io::Error::new(ErrorKind::PermissionDenied, message));
        }
        let peer_id = peer.pid().filter(|pid| *pid > 0);
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        Ok(HandoverChannel {
            stream,
            peer: peer_id,
            deadline: None,
        })
    }

    /// Every operation from now on must be done within this time in total.
    pub(crate) fn set_deadline(&mut self, within: Option<Duration>) {
        self.deadline = within.map(|within| clock::now() + within);
    }

    /// Sends one message.
    ///
    /// # Errors
    /// When the peer has ended, or does not read within the deadline.
    pub(crate) fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        self.send_bytes(&bytes)
    }

    /// Receives one message.
    ///
    /// # Errors
    /// When the peer has ended, sends nothing within the deadline, or sends something else.
    pub(crate) fn receive<M: DeserializeOwned>(&mut self) -> io::Result<M> {
        let bytes = self.receive_bytes()?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// As [`HandoverChannel::send`].
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).ok();
        let length = length.filter(|length| *length <= FRAME_BYTES_MAX);
        let length = length.ok_or_else(|| io::Error::other("the message is too long"))?;
        self.stream.set_write_timeout(self.remaining()?)?;
        self.stream.write_all(&length.to_be_bytes())?;
        self.stream.write_all(bytes)
    }

    /// Receives one frame.
    ///
    /// # Errors
    /// As [`HandoverChannel::receive`].
    pub(crate) fn receive_bytes(&mut self) -> io::Result<Vec<u8>> {
        self.receive_up_to(FRAME_BYTES_MAX)
    }

    /// Receives the first message, which is short.
    ///
    /// # Errors
    /// As [`HandoverChannel::receive`].
    pub(crate) fn receive_first<M: DeserializeOwned>(&mut self) -> io::Result<M> {
        let bytes = self.receive_up_to(FIRST_BYTES_MAX)?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    fn receive_up_to(&mut self, bytes_max: u32) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length > bytes_max {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "the message is too long",
            ));
        }
        // The peer belongs to the same user; what it announces is nevertheless not allocated before it arrives.
        let mut bytes = Vec::new();
        let mut left = length as usize;
        while left > 0 {
            let begin = bytes.len();
            bytes.resize(begin + left.min(1024 * 1024), 0);
            self.read_exact(&mut bytes[begin..])?;
            left -= bytes.len() - begin;
        }
        Ok(bytes)
    }

    /// The timeout of a socket applies to each read, so that it is set again for each.
    fn read_exact(&mut self, mut bytes: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.set_read_timeout(self.remaining()?)?;
            match self.stream.read(bytes) {
                Ok(0) => return Err(named(ErrorKind::UnexpectedEof.into())),
                Ok(read) => bytes = &mut std::mem::take(&mut bytes)[read..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(named(error)),
            }
        }
        Ok(())
    }

    /// Passes a listening socket.
    ///
    /// # Errors
    /// As [`HandoverChannel::send`].
    pub(crate) fn send_socket(&mut self, socket: &TcpListener) -> io::Result<()> {
        self.stream.set_write_timeout(self.remaining()?)?;
        let descriptors = [socket.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let data = [IoSlice::new(MARKER)];
        retry_on_intr(|| {
            rustix::net::sendmsg(&self.stream, &data, &mut control, SendFlags::NOSIGNAL)
        })?;
        Ok(())
    }

    /// Receives a listening socket.
    ///
    /// # Errors
    /// As [`HandoverChannel::receive`].
    pub(crate) fn receive_socket(&mut self) -> io::Result<TcpListener> {
        self.stream.set_read_timeout(self.remaining()?)?;
        let mut marker = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut data = [IoSliceMut::new(&mut marker)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        retry_on_intr(|| rustix::net::recvmsg(&self.stream, &mut data, &mut control, flags))
            .map_err(|error| named(error.into()))?;
        let mut passed = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let descriptor = passed.next().and_then(|mut descriptors| descriptors.next());
        let missing = || io::Error::new(ErrorKind::InvalidData, "a socket is missing");
        let socket = TcpListener::from(descriptor.ok_or_else(missing)?);
        socket.local_addr()?;
        Ok(socket)
    }

    /// Whether the peer still has its end open. Does not wait.
    pub(crate) fn is_open(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match rustix::net::recv(&self.stream, &mut [0_u8; 1], flags) {
            Ok((received, _)) => received > 0,
            Err(error) => error == rustix::io::Errno::AGAIN,
        }
    }

    /// Waits until there is something to receive, or the peer has ended. It may be cancelled at any time.
    ///
    /// # Errors
    /// When the system cannot watch the socket.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        let watched = self.stream.try_clone()?;
        watched.set_nonblocking(true)?;
        let readable = tokio::net::UnixStream::from_std(watched)?.readable().await;
        self.stream.set_nonblocking(false)?;
        readable
    }

    fn remaining(&self) -> io::Result<Option<Duration>> {
        let Some(deadline) = self.deadline else {
            return Ok(None);
        };
        match deadline.saturating_duration_since(clock::now()) {
            Duration::ZERO => Err(ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

/// The error with a message that names what the other process did, in place of the system's.
fn named(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => io::Error::new(ErrorKind::TimedOut, "it did not respond in time"),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => {
            io::Error::new(ErrorKind::UnexpectedEof, "it has ended")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_socket_replaces_one_that_nobody_listens_at() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data/upgrade.sock");
        let bind = |replaces| UpgradeSocket::bind(&path, replaces);
        let (socket, listener) = bind(Replaces::Nothing).expect("a socket");
        let mode = fs::metadata(&path).expect("its file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let error = bind(Replaces::Nothing).expect_err("another process listens");
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let (next, _listener) = bind(Replaces::Predecessor).expect("a socket");
        drop((socket, listener));
        assert!(path.exists(), "it belongs to the next one");
        drop(next);
        assert!(!path.exists());
        // Of a process that was killed.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
        bind(Replaces::Nothing).expect("a socket");
        fs::write(&path, "not a socket").expect("a file");
        bind(Replaces::Predecessor).expect_err("a file in the way");
        assert!(path.exists());
    }

    #[tokio::test]
    async fn messages_and_sockets_arrive_in_their_order() {
        let (ours, theirs) = tokio::net::UnixStream::pair().expect("a pair");
        let mut ours = HandoverChannel::new(ours).expect("the same user");
        let mut theirs = HandoverChannel::new(theirs).expect("the same user");
        let own_id = std::process::id();
        assert_eq!(ours.peer.map(i32::unsigned_abs), Some(own_id));
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("its address");
        let long = "x".repeat(3 * 1024 * 1024);
        let sending = std::thread::spawn(move || {
            ours.set_deadline(Some(Duration::from_secs(60)));
            ours.send(&1).expect("sent");
            ours.send_socket(&socket).expect("sent");
            ours.send(&long).expect("sent");
            ours
        });
        assert_eq!(theirs.receive::<u32>().expect("a number"), 1);
        let passed = theirs.receive_socket().expect("a socket");
        assert_eq!(passed.local_addr().expect("its address"), address);
        assert_eq!(theirs.receive::<String>().expect("a text").len(), 3 << 20);
        let ours = sending.join().expect("sent");
        // The sender has closed its descriptor: the socket still accepts.
        std::net::TcpStream::connect(address).expect("a connection");
        passed.accept().expect("a connection");
        theirs.set_deadline(Some(Duration::from_millis(10)));
        let error = theirs.receive::<u32>().expect_err("nothing is sent");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(theirs.is_open());
        drop(ours);
        assert!(!theirs.is_open());
    }
}
