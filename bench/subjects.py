"""The processes that are measured: how each is started on its processor, read and stopped."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from pool import SECRET

HERE = Path(__file__).resolve().parent
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
# Those with a file of their own; the others are weir-all.yaml and an addition.
OWN_CONFIGS = ("plain", "http")
CACHE_MEMORY = "memory: 32MiB"
# What a configuration adds to weir-all.yaml, as lines at its end.
SHIPPED = """  spool: {path: "${BENCH_SPOOL}"}
  elasticsearch: {urls: ["http://%s"]}
"""
ADDED = {
    # The event of each request is also shipped to an index.
    "ship": SHIPPED % "${BENCH_BACKEND}",
    # The index accepts connections and never responds.
    "hung": SHIPPED % "${BENCH_HUNG}",
    # A memory of 16 KiB keeps only the last few answers.
    "redis": 'redis: {url: "redis://127.0.0.1:${BENCH_REDIS}"}\n',
    # Without alerts.
    "unwatched": "alerts: {rules: []}\n",
    # The spans of a tenth of the requests are exported to a collector.
    "traced": 'traces: {otlp: "http://${BENCH_BACKEND}", sample: 10%}\n',
}


# What nginx's own cache is compared by.
NGINX_CACHE = "proxy_cache pages; proxy_cache_lock on;"


class CouldNotRun(Exception):
    """Something that the comparison needs is missing or did not work."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Process:
    """A running process with its children: processor time and memory are sums."""

    child: subprocess.Popen
    port: int
    log: Path
    stop_signal: int = signal.SIGTERM
    events: Path | None = None
    pids: list[int] = field(default_factory=list)

    def wait_until_listening(self, name: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=0.2).close()
            except OSError:
                time.sleep(0.02)
                continue
            children = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text().split()
            self.pids = [self.child.pid, *map(int, children)]
            return
        self.stop()
        raise CouldNotRun(f"{name} did not listen on 127.0.0.1:{self.port}: {last_lines(self.log)}")

    def cpu_ns(self) -> int:
        """User and system time of all threads, also of those that ended.

        The same sum as utime + stime of /proc/PID/stat, from the clock that does not count in ticks of
        10 ms: a process's processor clock is numbered from its id (clock_getcpuclockid(3)).
        """
        try:
            return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in self.pids)
        except OSError:
            raise CouldNotRun(f"it ended under the load: {last_lines(self.log)}") from None

    def memory_kib(self, name: str) -> int:
        """`VmRSS` (resident now) or `VmHWM` (its peak)."""
        total = 0
        for pid in self.pids:
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                raise CouldNotRun(f"it ended under the load: {last_lines(self.log)}") from None
            # A process that has ended but was not waited for has no memory lines.
            total += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:"))
        return total

    def stop(self) -> None:
        if self.child.poll() is None:
            self.child.send_signal(self.stop_signal)
            try:
                self.child.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def recorded_events(self) -> int:
        if self.events is None:
            return 0
        total = 0
        for path in self.events.parent.iterdir():
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    total += block.count(b"\n")
        return total


def last_lines(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()[-5:]
    return " | ".join(lines) if lines else "it said nothing"


class Bench:
    """Where the binaries are, on which processor each runs, and the backend of all subjects."""

    def __init__(self, binaries: Path, run: Path, against: Path | None = None):
        processors = sorted(os.sched_getaffinity(0))
        if len(processors) < 2:
            raise CouldNotRun("two processors are needed: one for the subject, one for load and backend")
        self.load_cpu, self.subject_cpu = processors[0], processors[1]
        self.binaries, self.run, self.other_weir = binaries, run, against
        self.backend: Process | None = None
        self.redis: Process | None = None
        # The system accepts connections, and there is never a response.
        self.hung = socket.create_server(("127.0.0.1", 0), backlog=64)

    def start(self, name: str, command: list[str], cpu: int, port: int, environment=None, **rest) -> Process:
        log = self.run / f"{name}.log"
        with log.open("wb") as output:
            child = subprocess.Popen(
                ["taskset", "-c", str(cpu), *command],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **(environment or {})},
            )
        process = Process(child, port, log, **rest)
        process.wait_until_listening(name)
        return process

    def start_backend(self) -> None:
        port = free_port()
        command = [str(self.binaries / "examples/bench_backend"), f"127.0.0.1:{port}"]
        self.backend = self.start("backend", command, self.load_cpu, port)

    def start_redis(self) -> bool:
        """On the processor of load and backend, without a disk; `False` if it is not installed."""
        program = find("redis-server")
        if program is None:
            return False
        if self.redis is None:
            port = free_port()
            command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
            self.redis = self.start("redis", command, self.load_cpu, port)
        return True

    def stop_redis(self) -> None:
        if self.redis is not None:
            self.redis.stop()

    def backend_address(self) -> str:
        return f"127.0.0.1:{self.backend.port}"

    def questions_asked(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.backend.port, timeout=5)
        connection.request("GET", "/count")
        text = connection.getresponse().read().decode()
        connection.close()
        return int("".join(filter(str.isdigit, text)))

    def bare_pingora(self, _config: str) -> Process:
        port = free_port()
        # Built with cargo's default settings, as by a user of the framework, instead of weir's.
        command = [str(self.binaries.parent / "stock/examples/bare_pingora"), f"127.0.0.1:{port}", self.backend_address()]
        # On SIGTERM pingora waits five minutes for connections; there are none here.
        return self.start("bare_pingora", command, self.subject_cpu, port, stop_signal=signal.SIGKILL)

    def nginx(self, config: str) -> Process:
        port = free_port()
        values = {
            "{run}": str(self.run), "{listen}": f"127.0.0.1:{port}", "{backend}": self.backend_address(),
            "{cache}": NGINX_CACHE if config == "cache" else "",
            "{buffering}": "off" if config == "stream" else "on", "{user}": "user root;" if os.geteuid() == 0 else "",
        }
        text = (HERE / "nginx.conf.template").read_text()
        for mark, value in values.items():
            text = text.replace(mark, value)
        path = self.run / "nginx.conf"
        path.write_text(text)
        (self.run / "nginx-access.log").unlink(missing_ok=True)
        shutil.rmtree(self.run / "nginx-cache", ignore_errors=True)
        return self.start("nginx", [which("nginx"), "-c", str(path), "-p", str(self.run)], self.subject_cpu, port)

    def weir(self, config: str) -> Process:
        return self.start_weir("weir", self.binaries / "weir", config)

    def against(self, config: str) -> Process:
        return self.start_weir("against", self.other_weir.resolve(), config)

    def start_weir(self, name: str, binary: Path, config: str) -> Process:
        port = free_port()
        events = self.run / "events"
        shutil.rmtree(events, ignore_errors=True)
        events.mkdir()
        spool = self.run / "spool"
        shutil.rmtree(spool, ignore_errors=True)
        environment = {
            "BENCH_LISTEN": f"127.0.0.1:{port}", "BENCH_ADMIN": f"127.0.0.1:{free_port()}",
            "BENCH_BACKEND": self.backend_address(), "BENCH_SECRET": SECRET,
            "BENCH_EVENTS": str(events / "events.ndjson"),
            "BENCH_SPOOL": str(spool),
            "BENCH_REDIS": str(self.redis.port if self.redis else 0),
            "BENCH_HUNG": f"127.0.0.1:{self.hung.getsockname()[1]}",
        }
        base = config if config in OWN_CONFIGS else "all"
        text = (HERE / "configs" / f"weir-{base}.yaml").read_text() + ADDED.get(config, "")
        if config == "redis":
            text = text.replace(CACHE_MEMORY, "memory: 16KiB")
        path = self.run / "weir.yaml"
        path.write_text(text)
        command = [str(binary), "run", "--config", str(path)]
        recorded = None if config == "plain" else events / "events.ndjson"
        return self.start(name, command, self.subject_cpu, port, environment, events=recorded)


def find(name: str) -> str | None:
    # Debian keeps nginx in /usr/sbin, which an ordinary user's PATH may lack.
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def which(name: str) -> str:
    found = find(name)
    if found is None:
        raise CouldNotRun(f"{name} is not installed: apt-get install -y wrk nginx-light")
    return found
