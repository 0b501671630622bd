"""The load generators as subjects: how each is started on its processor, and what it reports as sent."""

import json
import os
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

import pool
from subjects import Bench, CouldNotRun, last_lines, which

HERE = Path(__file__).resolve().parent
SEED = 1
# The length of the text of a request in weir-load's scenario `chat`.
TEXT_BYTES = 500
# Longer than any sender needs for what is due, unless it hangs.
PATIENCE_S = 60
# How oha reports a request that was in flight at the end.
OHA_UNDER_WAY = "aborted due to deadline"


@dataclass(frozen=True)
class Sent:
    """What one sender did in one run."""

    requests: int
    # From its first request to its last response.
    seconds: float
    # User and system time of the whole process, including its start and end.
    cpu_s: float

    @property
    def us_per_request(self) -> float:
        return self.cpu_s * 1e6 / self.requests

    @property
    def requests_per_s(self) -> float:
        return self.requests / self.seconds

    @property
    def busy(self) -> float:
        """The share of one processor; below about 0.95 the sender was waiting for the backend."""
        return self.cpu_s / self.seconds


def fixed_body() -> str:
    """weir-load's request number 0: the text is cut to its length, and keys are sorted."""
    text = f"new {SEED} 0: what is to be said of it? " + "Tell me more. " * TEXT_BYTES
    message = {"content": text[:TEXT_BYTES], "role": "user"}
    return json.dumps({"messages": [message], "model": "demo"}, separators=(",", ":"))


class Senders:
    """Starts each sender against the backend of `bench`, with the same number of connections."""

    def __init__(self, bench: Bench, connections: int, oha: str | None):
        self.bench, self.connections, self.oha_program = bench, connections, oha
        self.url = f"http://{bench.backend_address()}"
        self.body = bench.run / "sender-body.json"
        self.body.write_text(fixed_body())
        self.template = bench.run / "sender-request.http"
        self.template.write_text(pool.request(fixed_body(), {}))

    def run(self, name: str, command: list[str], seconds: float) -> tuple[str, float]:
        """What it printed, and its processor time in seconds."""
        out, log = self.bench.run / f"{name}.out", self.bench.run / f"{name}.log"
        # Proxy settings of the machine must not apply, and oha starts one thread for each processor that it may use.
        environment = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "TOKIO_WORKER_THREADS": "1"}
        with out.open("wb") as output, log.open("wb") as errors:
            child = subprocess.Popen(
                ["taskset", "-c", str(self.bench.subject_cpu), *command],
                stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment,
            )
        watch = threading.Timer(seconds + PATIENCE_S, os.kill, (child.pid, signal.SIGKILL))
        watch.start()
        try:
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        finally:
            watch.cancel()
            if child.returncode is None:
                child.kill()
                child.wait()
        if child.returncode != 0:
            raise CouldNotRun(f"{name} ended with {child.returncode}: {last_lines(log)} {last_lines(out)}")
        return out.read_text(errors="replace"), usage.ru_utime + usage.ru_stime

    def checked(self, name: str, asked_before: int, sent: Sent) -> Sent:
        """Checks that the backend got as many requests as a sender counts; the rest were in flight at the end."""
        asked = self.bench.questions_asked() - asked_before
        if sent.requests == 0:
            raise CouldNotRun(f"no request of {name} was answered")
        if not sent.requests <= asked <= sent.requests + self.connections:
            raise CouldNotRun(f"{name} counts {sent.requests} answers, and the backend was asked {asked} times")
        return sent

    def weir_load_at(self, rate: int, seconds: float, users: int | None) -> tuple[dict, float]:
        """What weir-load reports with --json about a run at this rate, and its processor time."""
        path = self.bench.run / "weir-load.json"
        path.unlink(missing_ok=True)
        command = [
            str(self.bench.binaries / "weir-load"), "run", "--target", self.url, "--scenario", "chat",
            "--rate", f"{rate}/s", "--duration", f"{round(seconds * 1000)}ms", "--repeats", "0%",
            # Requests that are late when the schedule ends are still sent, within this time.
            "--timeout", f"{PATIENCE_S}s", "--drain", f"{PATIENCE_S}s", "--seed", str(SEED), "--json", str(path),
        ]
        if users is not None:
            command += ["--users", str(users)]
        _, cpu_s = self.run("weir-load", command, seconds)
        report = json.loads(path.read_text())
        if report["errors"] or report["unsent"]:
            raise CouldNotRun(f"weir-load: {report['errors']} errors, {report['unsent']} requests unsent")
        return report, cpu_s

    def weir_load(self, seconds: int, rate: int) -> Sent:
        """Saturated: twice as much is due as it can send, so it sends for twice as long."""
        before = self.bench.questions_asked()
        report, cpu_s = self.weir_load_at(rate, seconds / 2, self.connections)
        sent = Sent(report["requests"], report["requests"] / report["achieved_rps"], cpu_s)
        return self.checked("weir-load", before, sent)

    def plain_goose(self, seconds: int) -> Sent:
        before = self.bench.questions_asked()
        command = [str(self.bench.binaries / "examples/plain_goose"), self.url, str(self.connections), str(seconds),
                   str(SEED)]
        text, cpu_s = self.run("plain_goose", command, seconds)
        said = last_object("plain_goose", text)
        return self.checked("plain_goose", before, Sent(said["requests"], said["seconds"], cpu_s))

    def wrk(self, seconds: int) -> Sent:
        before = self.bench.questions_asked()
        command = [which("wrk"), "-t1", f"-c{self.connections}", f"-d{seconds}s", "--timeout", "5s",
                   "-s", str(HERE / "questions.lua"), self.url, "--", str(self.template)]
        text, cpu_s = self.run("wrk", command, seconds)
        said = last_object("wrk", text)
        if said["socket_errors"] or said["status_errors"]:
            raise CouldNotRun(f"wrk: {said['socket_errors']} connections and {said['status_errors']} requests failed")
        return self.checked("wrk", before, Sent(said["requests"], said["duration_us"] / 1e6, cpu_s))

    def oha(self, seconds: int) -> Sent:
        before = self.bench.questions_asked()
        command = [self.oha_program, "--no-tui", "-c", str(self.connections), "-z", f"{seconds}s",
                   "--output-format", "json", "-m", "POST", "-T", "application/json", "-D", str(self.body),
                   f"{self.url}{pool.PATH}"]
        text, cpu_s = self.run("oha", command, seconds)
        said = json.loads(text)
        failed = {why: count for why, count in said["errorDistribution"].items() if why != OHA_UNDER_WAY}
        if failed:
            raise CouldNotRun(f"oha: {failed}")
        sent = Sent(said["statusCodeDistribution"].get("200", 0), said["summary"]["total"], cpu_s)
        return self.checked("oha", before, sent)


def last_object(name: str, text: str) -> dict:
    lines = [line for line in text.splitlines() if line.startswith("{")]
    if not lines:
        raise CouldNotRun(f"{name} did not say what it sent: {text.strip()[-500:]}")
    return json.loads(lines[-1])
