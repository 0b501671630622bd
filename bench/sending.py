"""The cost of sending: weir-load, a plain goose attack, wrk and oha; and how well weir-load keeps its schedule."""

import statistics
from collections.abc import Callable

from report import spread, three
from senders import Senders, Sent
from subjects import Bench, CouldNotRun

TITLES = {"weir_load": "weir-load", "plain_goose": "plain goose", "wrk": "wrk, one body", "oha": "oha, one body"}
# Long enough that a sender's start and end, which are included, do not matter.
SECONDS_MIN = 4
COST_MAX = 1.0
LATE_MS_MAX = 0.5
OFF_RATE_MAX = 0.01
FIXED_RATES = [50, 1000]
CALIBRATE_AT, CALIBRATE_SECONDS, CALIBRATE_TRIES = 20_000, 1, 6
SATURATED_BELOW = 0.9


def saturating_rate(senders: Senders) -> int:
    """About twice the rate that weir-load reaches, from short runs."""
    rate = CALIBRATE_AT
    for _ in range(CALIBRATE_TRIES):
        report, _ = senders.weir_load_at(rate, CALIBRATE_SECONDS, senders.connections)
        if report["achieved_rps"] < SATURATED_BELOW * report["offered_rps"]:
            return round(2 * report["achieved_rps"])
        rate *= 2
    raise CouldNotRun(f"weir-load still sends all that is due at {rate // 2}/s")


def run_rounds(senders: Senders, rounds: int, seconds: int, problems: list[str]) -> tuple[dict, list[int]]:
    """A B C D, A B C D, like the proxies; and the rates that saturated weir-load."""
    rates = [saturating_rate(senders)]

    def weir_load() -> Sent:
        sent = senders.weir_load(seconds, rates[-1])
        # The next round also demands twice what weir-load reaches, even if the machine was slow before.
        rates.append(round(2 * sent.requests_per_s))
        return sent

    ways: dict[str, Callable[[], Sent]] = {
        "weir_load": weir_load,
        "plain_goose": lambda: senders.plain_goose(seconds),
        "wrk": lambda: senders.wrk(seconds),
    }
    if senders.oha_program is not None:
        ways["oha"] = lambda: senders.oha(seconds)
    samples: dict[str, list[Sent]] = {name: [] for name in ways}
    failed: set[str] = set()
    for number in range(1, rounds + 1):
        for name, way in ways.items():
            if name in failed:
                continue
            try:
                sent = way()
            except CouldNotRun as problem:
                problems.append(f"sender: {problem}")
                print(f"could not run: {problems[-1]}", flush=True)
                failed.add(name)
                samples[name] = []
                continue
            samples[name].append(sent)
            print(f"sender {number}/{rounds} {name}: {sent.us_per_request:.1f} us a request,"
                  f" {sent.requests_per_s:.0f}/s, {sent.busy:.0%} busy", flush=True)
    return samples, rates[:rounds]


def run_pacing(senders: Senders, highest: float, rounds: int, seconds: int, problems: list[str]) -> list[dict]:
    """How late requests leave, and how well the rate is held, with the number of users that weir-load chooses."""
    rates = {**{f"{rate}/s": rate for rate in FIXED_RATES},
             "a quarter of the highest": round(highest / 4), "half of the highest": round(highest / 2)}
    taken: dict[str, list[dict]] = {name: [] for name in rates}
    try:
        for number in range(1, rounds + 1):
            for name, rate in rates.items():
                report, cpu_s = senders.weir_load_at(rate, seconds, None)
                off = report["achieved_rps"] / report["offered_rps"] - 1
                late_ms = report["late_ms"]["p50"]
                taken[name].append({"late": late_ms, "late_p99": report["late_ms"]["p99"], "off": off,
                                    "us": cpu_s * 1e6 / report["requests"]})
                print(f"sender pacing {number}/{rounds} at {rate}/s: {late_ms:.2f} ms late in the median,"
                      f" {off:+.2%} off the rate", flush=True)
    except CouldNotRun as problem:
        problems.append(f"sender pacing: {problem}")
        print(f"could not run: {problems[-1]}", flush=True)
        return []
    return [{
        "name": name,
        "rate": rates[name],
        "late_p50_ms": spread([one["late"] for one in all_of], 3),
        "late_p99_ms": spread([one["late_p99"] for one in all_of], 3),
        "off_rate": spread([one["off"] for one in all_of], 5),
        "off_rate_median": round(statistics.median(abs(one["off"]) for one in all_of), 5),
        "us_per_request": spread([one["us"] for one in all_of], 1),
    } for name, all_of in taken.items()]


def subject_figures(samples: list[Sent]) -> dict:
    return {
        "us_per_request": {**spread([s.us_per_request for s in samples], 2),
                           "rounds": [round(s.us_per_request, 2) for s in samples]},
        "requests_per_s": spread([s.requests_per_s for s in samples], 0),
        "processor_busy": spread([s.busy for s in samples], 3),
    }


def ratio(samples: dict[str, list[Sent]], other: str) -> dict[str, float] | None:
    """The ratio of weir-load's cost to another's, pair by pair within each round."""
    if not samples["weir_load"] or not samples.get(other):
        return None
    pairs = zip(samples["weir_load"], samples[other], strict=True)
    return spread([one.us_per_request / its.us_per_request for one, its in pairs], 3)


def asked_and_got(cost: dict | None, pacing: list[dict]) -> list[dict]:
    """The targets of weir-load's sending, and its figures; without a figure, `ok` is `None`."""
    rows = [{
        "asked": f"saturated: processor time a request <= {COST_MAX:.2f} of plain goose's",
        "got": "-" if cost is None else f"{cost['median']:.2f}",
        "ok": None if cost is None else cost["median"] <= COST_MAX,
    }]
    for at in pacing:
        if "quarter" not in at["name"]:
            late_ms = at["late_p50_ms"]["median"]
            rows.append({"asked": f"{label(at)}: leaves within {LATE_MS_MAX} ms of due, median",
                         "got": f"{late_ms:.3f} ms", "ok": late_ms <= LATE_MS_MAX})
    for at in pacing:
        if "highest" in at["name"]:
            off = at["off_rate_median"]
            rows.append({"asked": f"{label(at)}: the rate is held within {OFF_RATE_MAX:.0%}",
                         "got": f"{off:.2%} off", "ok": off <= OFF_RATE_MAX})
    if not pacing:
        rows.append({"asked": "the schedule is kept", "got": "-", "ok": None})
    return rows


def label(at: dict) -> str:
    return at["name"] if at["name"].endswith("/s") else f"{at['name']}, {at['rate']}/s"


def measure(bench: Bench, oha: tuple[str | None, str], rounds: int, seconds: int, connections: int,
            problems: list[str]) -> dict | None:
    """All figures; `None` when no rate could be found, which is then in `problems`."""
    program, why_not = oha
    senders = Senders(bench, connections, program)
    try:
        samples, rates = run_rounds(senders, rounds, seconds, problems)
    except CouldNotRun as problem:
        problems.append(f"sender: {problem}")
        return None
    cost = ratio(samples, "plain_goose")
    reached = [sent.requests_per_s for sent in samples["weir_load"]]
    pacing = run_pacing(senders, max(reached), rounds, seconds, problems) if reached else []
    return {
        "settings": {"rounds": rounds, "seconds": seconds, "connections": connections},
        "due_per_s": rates,
        "subjects": {name: subject_figures(of) for name, of in samples.items() if of},
        "missing": {} if program else {"oha": why_not},
        "ratio_weir_load_to_plain_goose": cost,
        "ratio_weir_load_to_wrk": ratio(samples, "wrk"),
        "ratio_weir_load_to_oha": ratio(samples, "oha"),
        "highest_requests_per_s": round(max(reached)) if reached else None,
        "pacing": pacing,
        "asked": asked_and_got(cost, pacing),
    }


def table(figures: dict) -> str:
    row = "{:<16} {:>22} {:>26} {:>20} {:>22}"
    ratios = {name: figures.get(f"ratio_weir_load_to_{name}") for name in TITLES}
    lines = ["what sending costs, on one processor: min / median / max of the rounds", "",
             row.format("", "us a request", "requests a second", "busy", "weir-load/it")]
    for name, title in TITLES.items():
        if of := figures["subjects"].get(name):
            cells = [three(of["us_per_request"], 1), three(of["requests_per_s"], 0), three(of["processor_busy"], 2)]
            lines.append(row.format(title, *cells, three(ratios[name], 2) if ratios[name] else "").rstrip())
    lines += [f"{TITLES[name]}: missing: {why}" for name, why in figures["missing"].items()]
    held_back = [TITLES[name] for name, of in figures["subjects"].items() if of["processor_busy"]["median"] < 0.95]
    if held_back:
        lines.append(f"busy for less than 0.95, so the backend set the rate: {'; '.join(held_back)}")
    lines += ["", f"{'asked of weir-load':<76} {'got':>11}"]
    for asked in figures["asked"]:
        verdict = {None: "not measured", True: "had", False: "NOT HAD"}[asked["ok"]]
        lines.append(f"{asked['asked']:<76} {asked['got']:>11}  {verdict}")
    return "\n".join(lines)
