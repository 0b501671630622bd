"""The load: wrk for the cost of a request, pace for the latency that a subject adds."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pool import Questions
from subjects import Bench, CouldNotRun, Process, which

HERE = Path(__file__).resolve().parent
WARM_UP_SECONDS = 1
# The questions of `redis_hit`, in turn: far more than the few responses that fit into its memory.
REDIS_BODIES = 64
# Faster than any subject is on one processor; a run that uses up its requests is rejected.
REQUESTS_PER_SECOND_MAX = 120_000
ASKED_AT_FIRST_MAX = 100


@dataclass(frozen=True)
class Case:
    """One kind of traffic, and what must be observed for its figure to be valid."""

    name: str
    config: str
    title: str
    target: float
    # Whether weir forwards every request to the backend, or only the first.
    reaches_backend: bool
    # Whether it surely forwards the first: the cache is empty when weir starts.
    fills_cache: bool = False
    refused: bool = False
    # The configuration of nginx; that of a proxy without a cache if it is left out.
    nginx: str = ""


CASES = [
    Case("plain", "plain", "plain forwarding", 0.70, reaches_backend=True),
    Case("all_on_miss", "all", "everything on, cache miss", 0.85, reaches_backend=True),
    Case("shipped", "ship", "the same, event shipped", 1.05, reaches_backend=True),
    Case("hung", "hung", "the same, index hangs", 0.89, reaches_backend=True),
    Case("unwatched", "unwatched", "everything on, no alerts", 0.85, reaches_backend=True),
    Case("traced", "traced", "everything on, a tenth traced", 0.88, reaches_backend=True),
    Case("memory_hit", "all", "memory hit", 0.40, reaches_backend=False, fills_cache=True),
    Case("http_hit", "http", "HTTP cache hit", 0.35, reaches_backend=False, fills_cache=True, nginx="cache"),
    Case("redis_hit", "redis", "hit in Redis", 0.75, reaches_backend=False),
    Case("bad_signature", "all", "bad signature", 0.35, reaches_backend=False, refused=True),
    Case("stream20", "stream", "everything on, stream of 20", 1.00, reaches_backend=True),
]


@dataclass(frozen=True)
class Sample:
    """One subject under one case's load in one round."""

    us_per_request: float
    requests_per_s: float
    # The share of one processor; below about 0.95 the subject was not the bottleneck.
    busy: float
    idle_kib: int
    loaded_kib: int


def pool_count(seconds: int) -> int:
    return REQUESTS_PER_SECOND_MAX * (seconds + WARM_UP_SECONDS)


def run_wrk(bench: Bench, port: int, connections: int, seconds: int, questions: Questions, use: range) -> dict:
    """One run of wrk over the records in `use`; returns what questions.lua prints at its end."""
    command = [
        "taskset", "-c", str(bench.load_cpu), which("wrk"),
        "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s", "-s", str(HERE / "questions.lua"),
        f"http://127.0.0.1:{port}/", "--", str(questions.template),
    ]
    if questions.records is not None:
        command += [str(questions.records), str(use.start), str(use.stop)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        raise CouldNotRun(f"wrk failed: {(done.stdout + done.stderr).strip()}")
    return json.loads(lines[-1])


def sample(bench: Bench, case: Case, subject: str, questions: Questions, seconds: int, connections: int) -> Sample:
    """Starts the subject, warms it up, measures and stops it, and checks that it did the work."""
    config = case.nginx or case.config if subject == "nginx" else case.config
    process: Process = getattr(bench, subject)(config)
    try:
        idle_kib = process.memory_kib("VmRSS")
        warm_records = min(questions.count, REQUESTS_PER_SECOND_MAX * WARM_UP_SECONDS)
        asked_before = bench.questions_asked()
        first, rest = range(warm_records), range(warm_records, questions.count)
        warm = run_wrk(bench, process.port, connections, WARM_UP_SECONDS, questions, first)
        before_ns = process.cpu_ns()
        result = run_wrk(bench, process.port, connections, seconds, questions, rest)
        spent_ns = process.cpu_ns() - before_ns
        loaded_kib = process.memory_kib("VmHWM")
    finally:
        process.stop()
    if result["requests"] == 0:
        raise CouldNotRun("no request was answered")
    is_weir = subject in ("weir", "against")
    check_answers(result, refused=case.refused and is_weir)
    if is_weir:
        answered = warm["requests"] + result["requests"]
        check_work(case, process, answered, bench.questions_asked() - asked_before)
    return Sample(
        us_per_request=spent_ns / 1000 / result["requests"],
        requests_per_s=result["requests"] / (result["duration_us"] / 1e6),
        busy=spent_ns / 1000 / result["duration_us"],
        idle_kib=idle_kib,
        loaded_kib=loaded_kib,
    )


def check_answers(result: dict, refused: bool) -> None:
    problem = None
    if result["socket_errors"]:
        problem = f"{result['socket_errors']} connections failed"
    elif result["wrapped"]:
        problem = "the signed requests ran out; raise REQUESTS_PER_SECOND_MAX in bench/measure.py"
    elif refused and result["status_errors"] != result["requests"]:
        problem = f"{result['requests'] - result['status_errors']} requests with an invalid signature were not rejected"
    elif not refused and result["status_errors"]:
        problem = f"{result['status_errors']} of {result['requests']} responses were not 2xx"
    if problem:
        raise CouldNotRun(problem)


def check_work(case: Case, weir: Process, answered: int, asked: int) -> None:
    """Checks that the backend and the event file have as many requests as there were responses."""
    problem = None
    if case.reaches_backend and asked < answered:
        problem = f"{answered} responses, but the backend got only {asked} requests"
    # Each connection may send the first request before its response is in the cache.
    elif not case.reaches_backend and asked > ASKED_AT_FIRST_MAX:
        problem = f"{asked} of {answered} requests reached the backend, none should"
    elif case.fills_cache and asked == 0:
        problem = f"{answered} responses, but not even the first request reached the backend: is it an older build?"
    elif weir.events is not None and weir.recorded_events() < answered:
        problem = f"{answered} responses, but only {weir.recorded_events()} events in the file"
    if problem:
        raise CouldNotRun(problem)


def run_pace(bench: Bench, port: int, requests: Path, rate: int, seconds: int) -> dict:
    command = ["taskset", "-c", str(bench.load_cpu), str(bench.binaries / "examples/pace"),
               f"127.0.0.1:{port}", str(requests), str(rate), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    if done.returncode != 0:
        raise CouldNotRun(f"pace failed: {(done.stdout + done.stderr).strip()[-500:]}")
    result = json.loads(done.stdout)
    if result["not_ok"]:
        raise CouldNotRun(f"pace: {result['not_ok']} of {result['requests']} responses were not 200")
    return result


def latency(bench: Bench, subject: str, requests: Path, rate: int, seconds: int) -> dict:
    """P50 and P99 in microseconds through a subject, or of the backend itself as `direct`."""
    if subject == "direct":
        return run_pace(bench, bench.backend.port, requests, rate, seconds)
    process: Process = getattr(bench, subject)("all")
    try:
        return run_pace(bench, process.port, requests, rate, seconds)
    finally:
        process.stop()
