"""The results, as tables and as target/bench/report.json."""

import datetime
import platform
import re
import statistics
import subprocess
from pathlib import Path

from measure import CASES, Case, Sample
from subjects import find

SUBJECTS = ["bare_pingora", "nginx", "weir"]
AGAINST = "against"
# Student's t for 95 %, by degrees of freedom up to 30: the interval of a mean over rounds.
T_95 = [12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13,
        2.12, 2.11, 2.10, 2.09, 2.09, 2.08, 2.07, 2.07, 2.06, 2.06, 2.06, 2.05, 2.05, 2.05, 2.04]
MIB = 1024
IDLE_MIB_MAX = 40
LOADED_MIB_MAX = 64
# The size of the cache in configs/weir-all.yaml; it is allowed in addition.
CACHE_MIB = 32


def spread(values: list[float], digits: int) -> dict[str, float]:
    return {
        "min": round(min(values), digits),
        "median": round(statistics.median(values), digits),
        "max": round(max(values), digits),
    }


def subject_figures(samples: list[Sample]) -> dict:
    return {
        "us_per_request": {**spread([s.us_per_request for s in samples], 2),
                           "rounds": [round(s.us_per_request, 2) for s in samples]},
        "requests_per_s": spread([s.requests_per_s for s in samples], 0),
        "processor_busy": spread([s.busy for s in samples], 3),
        "resident_mib": {"idle": round(max(s.idle_kib for s in samples) / MIB, 1),
                         "loaded": round(max(s.loaded_kib for s in samples) / MIB, 1)},
    }


def ratios(samples: dict[str, list[Sample]], subject: str) -> dict[str, float] | None:
    """The ratio of a subject's cost to that of bare pingora, pair by pair within each round."""
    if not samples.get(subject) or not samples.get("bare_pingora"):
        return None
    pairs = zip(samples[subject], samples["bare_pingora"], strict=True)
    return spread([one.us_per_request / bare.us_per_request for one, bare in pairs], 3)


def difference(samples: dict[str, list[Sample]]) -> dict[str, float] | None:
    """How much more this build costs than the one it is compared with, in costs of bare pingora: the mean of the
    rounds, each a pair, and its 95 % confidence interval."""
    ours, theirs, bare = (samples.get(subject) or [] for subject in ("weir", AGAINST, "bare_pingora"))
    if len(ours) < 2 or len(theirs) != len(ours) or len(bare) != len(ours):
        return None
    rounds = zip(ours, theirs, bare, strict=True)
    more = [(one.us_per_request - other.us_per_request) / b.us_per_request for one, other, b in rounds]
    mean = statistics.fmean(more)
    half = T_95[min(len(more) - 1, len(T_95)) - 1] * statistics.stdev(more) / len(more) ** 0.5
    return {"mean": round(mean, 4), "from": round(mean - half, 4), "to": round(mean + half, 4), "rounds": len(more)}


def case_figures(case: Case, samples: dict[str, list[Sample]]) -> dict:
    weir = ratios(samples, "weir")
    return {
        "title": case.title,
        "subjects": {subject: subject_figures(of) for subject, of in samples.items() if of},
        "ratio_weir_to_bare": weir,
        "ratio_nginx_to_bare": ratios(samples, "nginx"),
        "ratio_against_to_bare": ratios(samples, AGAINST),
        "more_than_against": difference(samples),
        "target_ratio_max": case.target,
        "ok": None if weir is None else weir["median"] <= case.target,
    }


def memory_figures(cases: dict) -> dict | None:
    resident = [case["subjects"]["weir"]["resident_mib"] for case in cases.values() if "weir" in case["subjects"]]
    if not resident:
        return None
    idle, loaded = max(r["idle"] for r in resident), max(r["loaded"] for r in resident)
    loaded_max = LOADED_MIB_MAX + CACHE_MIB
    return {
        "idle_mib": idle, "idle_mib_max": IDLE_MIB_MAX, "loaded_mib": loaded, "loaded_mib_max": loaded_max,
        "ok": idle <= IDLE_MIB_MAX and loaded <= loaded_max,
    }


def latency_figures(rate: int, rounds: dict[str, list[dict]]) -> dict:
    """What each subject adds to the backend's own P50 and P99, pair by pair within each round."""
    figures: dict = {"requests_per_s": rate, "direct": {}, "added": {}}
    for key in ("p50_us", "p99_us"):
        direct = [r[key] for r in rounds["direct"]]
        figures["direct"][key] = spread(direct, 1)
        for subject, results in rounds.items():
            if subject != "direct" and results:
                added = [r[key] - d for r, d in zip(results, direct, strict=True)]
                figures["added"].setdefault(subject, {})[key] = spread(added, 1)
    weir, bare = figures["added"].get("weir"), figures["added"].get("bare_pingora")
    both = weir and bare
    figures["ok"] = all(weir[k]["median"] <= bare[k]["median"] for k in ("p50_us", "p99_us")) if both else None
    return figures


def first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return "unknown"
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].strip() if lines else "unknown"


def locked_version(root: Path, package: str) -> str:
    found = re.search(rf'name = "{package}"\nversion = "([^"]+)"', (root / "Cargo.lock").read_text())
    return found.group(1) if found else "unknown"


def machine() -> dict:
    models = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "processor": models[0] if models else platform.machine(),
        "processors": len(models),
        "memory_mib": int(memory.group(1)) // MIB if memory else None,
        "kernel": platform.release(),
    }


def version_of(program: str | None, flag: str) -> str:
    return first_line([program, flag]) if program else "not installed"


def header(root: Path, settings: dict, oha: str | None) -> dict:
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {
            "weir": locked_version(root, "weir"),
            "commit": first_line(["git", "-C", str(root), "describe", "--always", "--dirty"]),
            "pingora": locked_version(root, "pingora"),
            "rustc": first_line(["rustc", "--version"]),
            "goose": locked_version(root, "goose"),
            "nginx": version_of(find("nginx"), "-v").removeprefix("nginx version: "),
            "wrk": version_of(find("wrk"), "-v").split(" Copyright")[0],
            "oha": version_of(oha, "--version"),
        },
        "settings": settings,
    }


def verdict(ok: bool | None) -> str:
    return "not measured" if ok is None else "ok" if ok else "NOT OK"


def three(figures: dict | None, digits: int, sign: str = "") -> str:
    if figures is None:
        return "-"
    return " / ".join(f"{figures[key]:{sign}.{digits}f}" for key in ("min", "median", "max"))


def case_lines(cases: dict) -> list[str]:
    row = "{:<28} {:>21} {:>21} {:>21} {:>19} {:>8} {:>7}"
    lines = ["processor time a request in us: min / median / max of the rounds; ratio: pair by pair in a round", "",
             row.format("", "bare pingora", "nginx, JSON log", "weir", "weir/bare", "target", "").rstrip()]
    for case in (cases[case.name] for case in CASES if case.name in cases):
        costs = [case["subjects"].get(subject, {}).get("us_per_request") for subject in SUBJECTS]
        ratio, target = case["ratio_weir_to_bare"], f"<= {case['target_ratio_max']:.2f}"
        cells = [*(three(cost, 1) for cost in costs), three(ratio, 2), target, verdict(case["ok"]) if ratio else ""]
        lines.append(row.format(case["title"], *cells).rstrip())
    return lines


def difference_lines(cases: dict, other: str) -> list[str]:
    """The cost of this build and of the other one, where two were measured."""
    lines = []
    for case in cases.values():
        if (more := case["more_than_against"]) is not None:
            ours, theirs = case["ratio_weir_to_bare"]["median"], case["ratio_against_to_bare"]["median"]
            lines.append(f"  {case['title']:<28} {theirs:.3f} -> {ours:.3f}, {more['mean']:+.3f} a round "
                         f"({more['from']:+.3f} to {more['to']:+.3f}, 95 % of {more['rounds']} rounds)")
    return [f"{other} -> this build, as ratios to bare pingora", *lines] if lines else []


def latency_lines(latency: dict) -> list[str]:
    lines = [f"added to the backend's own latency at {latency['requests_per_s']} requests a second, in us"]
    for key in ("p50_us", "p99_us"):
        added = ", ".join(f"{subject} {three(of[key], 0, '+')}" for subject, of in latency["added"].items())
        lines.append(f"  {key[:3].upper()}: backend {three(latency['direct'][key], 0)}, {added}")
    return [*lines, f"  weir adds no more than bare pingora: {verdict(latency['ok'])}"]


def tables(report: dict) -> list[str]:
    """A table for each figure of the proxies."""
    found = []
    if report["cases"]:
        found.append("\n".join(case_lines(report["cases"])))
        if lines := difference_lines(report["cases"], report["against"]):
            found.append("\n".join(lines))
    if memory := report["memory"]:
        found.append(
            f"resident memory of weir: idle {memory['idle_mib']} MiB (<= {memory['idle_mib_max']}), under load "
            f"{memory['loaded_mib']} MiB (<= {memory['loaded_mib_max']}, {CACHE_MIB} of it the cache): "
            f"{verdict(memory['ok'])}"
        )
    if latency := report["latency"]:
        found.append("\n".join(latency_lines(latency)))
    return found
