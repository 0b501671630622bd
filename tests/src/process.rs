//! A child process: its output, memory, signals and exit.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::wait;

/// The binary under test: `WEIR_BIN`, else `weir` in the target directory of this test.
///
/// # Panics
/// There is none.
#[must_use]
pub fn weir() -> PathBuf {
    if let Some(path) = std::env::var_os("WEIR_BIN") {
        return PathBuf::from(path);
    }
    let this = std::env::current_exe().expect("the path of the test binary");
    this.ancestors()
        .skip(1)
        .map(|directory| directory.join("weir"))
        .find(|path| path.is_file())
        .expect("no weir binary in the target directory: run `cargo build -p weir --bin weir`, or set WEIR_BIN")
}

/// A program that the tests use: from `PATH`, or as installed by `build/setup.sh`.
#[must_use]
pub fn tool(name: &str) -> Option<PathBuf> {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([fetched])
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// Output that a thread appends to.
#[derive(Clone, Debug, Default)]
struct Transcript(Arc<Mutex<String>>);

impl Transcript {
    fn text(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn follow(&self, source: impl Read + Send + 'static) {
        let transcript = self.clone();
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                transcript
                    .0
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
    }
}

/// A running child; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Mutex<Child>,
    id: u32,
    stdout: Transcript,
    stderr: Transcript,
}

/// The result of a child that has ended.
#[derive(Debug)]
pub struct Finished {
    /// `None`: it was ended by a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Process {
    /// Starts `weir` in `directory` with these arguments and variables, and `input` on stdin.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(
        directory: &Path,
        arguments: &[&str],
        environment: &[(String, String)],
        input: &[u8],
    ) -> Self {
        let mut command = Command::new(weir());
        command
            .args(arguments)
            .env_remove("RUST_LOG")
            .env_remove("WEIR_ADMIN_TOKEN")
            .envs(environment.iter().map(|(name, value)| (name, value)));
        Self::spawn(command, directory, input)
    }

    /// Starts another program in `directory`.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn program(program: &Path, directory: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::spawn(command, directory, b"")
    }

    fn spawn(mut command: Command, directory: &Path, input: &[u8]) -> Self {
        let mut child = command
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (stdout, stderr) = (Transcript::default(), Transcript::default());
        stdout.follow(child.stdout.take().expect("stdout is piped"));
        stderr.follow(child.stderr.take().expect("stderr is piped"));
        let mut standard_input = child.stdin.take().expect("stdin is piped");
        // A child that does not read its input closes the pipe.
        let _ = standard_input.write_all(input);
        Process {
            id: child.id(),
            child: Mutex::new(child),
            stdout,
            stderr,
        }
    }

    /// Runs `weir` until it ends.
    ///
    /// # Panics
    /// It does not end in time.
    pub async fn run(directory: &Path, arguments: &[&str], input: &[u8]) -> Finished {
        let process = Process::start(directory, arguments, &[], input);
        process.finished(wait::PATIENCE).await
    }

    /// Its stderr so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Its stdout so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// SIGTERM, with the `kill` of the shell: the standard library cannot send signals without unsafe code.
    ///
    /// # Panics
    /// There is no shell.
    pub fn sigterm(&self) {
        self.signal("TERM");
    }

    /// SIGHUP.
    ///
    /// # Panics
    /// The child has ended.
    pub fn sighup(&self) {
        self.signal("HUP");
    }

    /// SIGQUIT.
    ///
    /// # Panics
    /// The child has ended.
    pub fn sigquit(&self) {
        self.signal("QUIT");
    }

    /// SIGSTOP: it hangs from now on.
    ///
    /// # Panics
    /// The child has ended.
    pub fn sigstop(&self) {
        self.signal("STOP");
    }

    /// SIGCONT, after SIGSTOP.
    ///
    /// # Panics
    /// The child has ended.
    pub fn sigcont(&self) {
        self.signal("CONT");
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    fn signal(&self, name: &str) {
        let status = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.id)])
            .status()
            .expect("a shell");
        assert!(status.success(), "the child has ended before its SIG{name}");
    }

    /// SIGKILL.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }

    /// `None` while it is running.
    #[must_use]
    pub fn exit(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.try_wait().ok().flatten()
    }

    /// Waits until it ends.
    ///
    /// # Panics
    /// It does not end within `deadline`.
    pub async fn wait_exit(&self, deadline: Duration) -> ExitStatus {
        wait::found("the end of the process", deadline, || self.exit()).await
    }

    /// As [`Process::wait_exit`], with its output.
    ///
    /// # Panics
    /// It does not end within `deadline`.
    pub async fn finished(&self, deadline: Duration) -> Finished {
        let code = self.wait_exit(deadline).await.code();
        // The threads that read the pipes are done once they have dropped their transcripts.
        wait::eventually("the last of its output", deadline, || {
            Arc::strong_count(&self.stdout.0) == 1 && Arc::strong_count(&self.stderr.0) == 1
        })
        .await;
        Finished {
            code,
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }

    /// Current resident memory in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// Peak resident memory in bytes.
    #[must_use]
    pub fn resident_bytes_max(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// How many file descriptors are open.
    ///
    /// # Panics
    /// The child has ended.
    #[must_use]
    pub fn open_descriptors(&self) -> usize {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", self.id));
        descriptors.expect("the child's /proc entry").count()
    }

    /// How many threads it has.
    #[must_use]
    pub fn threads(&self) -> u64 {
        self.status_number("Threads:")
    }

    fn status_bytes(&self, field: &str) -> u64 {
        self.status_number(field) * 1024
    }

    fn status_number(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id))
            .expect("the child's /proc entry");
        status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse().ok())
            .expect("a number in /proc/PID/status")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
