"""The official conformance suite against the fixture, direct and through the gateway.

    python conformance.py [--leg NAME]... [--edition NAME]... [--scenario NAME]

Where client and server have an era in common, through must equal direct. Where they have none,
the gateway is the bridge, and every scored scenario has to be clean. Without arguments everything
runs; `--scenario` runs one scenario and shows what the suite prints about it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from replicas import replicas
from world import FIXTURE, NODE, NODE_DIR, Tally, World, gateway_exists, run, suite_main

TIMEOUT_S = 300.0
MODULES = NODE_DIR / "node_modules"
TOTAL = re.compile(r"^Total: (\d+) passed, (\d+) failed", re.MULTILINE)
SCENARIO = re.compile(r"^[✓✗] ([\w-]+): (\d+) passed, (\d+) failed", re.MULTILINE)
UNSCORED = re.compile(r"^  [✓✗] ([\w-]+) \(", re.MULTILINE)
BAD = ("FAILURE", "WARNING")

# Whether a server closes a stream in mid-call is its own choice: the fixture does so over HTTP, a
# stdio server cannot, and the gateway answers on the stream it has. No check is lost by that.
# So is whether an answer that is ready at once is one JSON text or a stream.
FREE_CHOICE = {
    ("server-sse-polling", "server-sse-disconnect-resume"),
    ("server-sse-multiple-streams", "server-sse-streams-functional"),
}


@dataclass(frozen=True)
class Edition:
    """One version of the suite, what is asked of it, and what a direct run must show."""

    name: str
    script: Path
    arguments: tuple[str, ...]
    passed: int
    required: int | None


CURRENT = MODULES / "@modelcontextprotocol/conformance/dist/index.js"
STABLE = MODULES / "conformance-stable/dist/index.js"
LEGACY, MODERN, OLDEST = "2025-11-25", "2026-07-28", "0.1.16"
EDITIONS = {
    LEGACY: Edition(LEGACY, CURRENT, ("--requirements", LEGACY), 83, 30),
    MODERN: Edition(MODERN, CURRENT, ("--requirements", MODERN), 197, 37),
    OLDEST: Edition(OLDEST, STABLE, (), 40, None),
}


@dataclass(frozen=True)
class Leg:
    """A way to the fixture: what it speaks, where it stands, and what is asked through it.

    In the editions of `scored_only` the rest is not asked for: a server of one era has no words
    for the other's tasks, and a task of one server is nothing to all of them as one.
    """

    name: str
    era: str
    kind: str
    editions: tuple[str, ...]
    scored_only: tuple[str, ...] = ()


TASKS = {"env": {"FIXTURE_TASKS": "1"}}

# What a server is called in the configuration is the name of its leg.
LEGS = [
    Leg("direct", "both", "direct", (LEGACY, MODERN, OLDEST)),
    Leg("gateway-stdio", "legacy", "stdio", (LEGACY, OLDEST, MODERN), (MODERN,)),
    Leg("gateway-http", "legacy", "http", (LEGACY, OLDEST, MODERN), (MODERN,)),
    Leg("gateway-pooled", "legacy", "pooled", (LEGACY, OLDEST)),
    Leg("gateway-aggregate", "legacy", "aggregate", (LEGACY, OLDEST)),
    Leg("both-stdio", "both", "stdio", (LEGACY, MODERN)),
    Leg("both-http", "both", "http", (LEGACY, MODERN)),
    Leg("both-aggregate", "both", "aggregate", (LEGACY, MODERN), (MODERN,)),
    Leg("modern-stdio", "modern", "stdio", (MODERN, LEGACY), (LEGACY,)),
    Leg("modern-http", "modern", "http", (MODERN, LEGACY), (LEGACY,)),
    Leg("replicas-stdio", "legacy", "replicas", (LEGACY,)),
]


@dataclass(frozen=True)
class Check:
    """How one check ended, and what the suite said about it."""

    scenario: str
    id: str
    status: str
    message: str


@dataclass
class Outcome:
    """What one run printed and recorded."""

    passed: int
    failed: int
    code: int
    scenarios: dict[str, tuple[int, int]]
    unscored: set[str]
    checks: list[Check]
    output: str

    def clean(self) -> int:
        """How many scored scenarios passed without a failed check."""
        scored = {name: it for name, it in self.scenarios.items() if name not in self.unscored}
        return sum(1 for passed, failed in scored.values() if passed and not failed)

    def said(self, scenario: str) -> str:
        """What the failed checks of a scenario say."""
        bad = [it for it in self.checks if it.scenario == scenario and it.status == "FAILURE"]
        return "; ".join(f"{it.id}: {it.message}" for it in bad) or "no check says why"


def run_edition(edition: Edition, url: str, results: Path) -> Outcome:
    command = [str(NODE), str(edition.script), "server", "--url", url, "-o", str(results)]
    code, output = run([*command, *edition.arguments], TIMEOUT_S)
    total = TOTAL.search(output)
    passed, failed = (int(total[1]), int(total[2])) if total else (0, 0)
    scenarios = {m[1]: (int(m[2]), int(m[3])) for m in SCENARIO.finditer(output)}
    unscored = set(UNSCORED.findall(output))
    return Outcome(passed, failed, code, scenarios, unscored, read_checks(results), output)


def read_checks(results: Path) -> list[Check]:
    """Every check the suite recorded."""
    checks = []
    for path in sorted(results.glob("**/checks.json")):
        folder = path.parent.name.removeprefix("server-")
        scenario = re.sub(r"-\d{4}-\d\d-\d\dT.*$", "", folder)
        for check in json.loads(path.read_text()):
            message = " ".join(str(check.get("errorMessage") or "").split())[:400]
            checks.append(Check(scenario, check["id"], check["status"], message))
    return checks


def worse_checks(direct: Outcome, through: Outcome, but: set[str]) -> list[str]:
    """The checks that succeed less often, or fail or warn more often, than direct."""
    worse = []
    before, after = counted(direct), counted(through)
    for key, statuses in before.items():
        if key[0] in but:
            continue
        found = after.get(key, Counter())
        lost = statuses["SUCCESS"] > found["SUCCESS"] and key not in FREE_CHOICE
        if lost or any(found[status] > statuses[status] for status in BAD):
            said = [it.message for it in through.checks if (it.scenario, it.id) == key]
            why = "; ".join(message for message in said if message)
            worse.append(f"{key[0]}/{key[1]} {dict(statuses)} -> {dict(found)} {why}")
    return worse


def counted(outcome: Outcome) -> dict[tuple[str, str], Counter[str]]:
    """How often each check of each scenario ended how."""
    checks: dict[tuple[str, str], Counter[str]] = {}
    for check in outcome.checks:
        checks.setdefault((check.scenario, check.id), Counter())[check.status] += 1
    return checks


def judge(tally: Tally, leg: Leg, edition: Edition, outcome: Outcome, direct: Outcome) -> None:
    name = f"{leg.name} {edition.name}"
    scored_only = edition.name in leg.scored_only
    excused = direct.unscored if scored_only else set()
    for scenario, (passed, failed) in outcome.scenarios.items():
        figures = f"{passed} passed, {failed} failed"
        if scenario in excused:
            print(f"# {name} {scenario} (unscored): {figures}")
        elif failed:
            tally.not_ok(f"{name} {scenario}", f"{figures}: {outcome.said(scenario)}")
        else:
            tally.ok(f"{name} {scenario}")
    for scenario in direct.scenarios.keys() - outcome.scenarios.keys() - excused:
        tally.not_ok(f"{name} {scenario}", "did not run")
    if not scored_only:
        figures = f"{outcome.passed} passed, {outcome.failed} failed"
        wanted = f"{edition.passed} passed, 0 failed"
        equal = outcome.passed >= edition.passed and not outcome.failed and outcome.code == 0
        tally.check(f"{name} total {figures}", equal, f"wanted {wanted}, exit {outcome.code}")
    if edition.required:
        clean = outcome.clean()
        enough = clean >= edition.required
        tally.check(f"{name} clean scenarios {clean}", enough, f"wanted {edition.required}")
    if leg.kind != "direct":
        worse = worse_checks(direct, outcome, excused)
        tally.check(f"{name} no check worse than direct", not worse, "; ".join(worse))
    if not outcome.scenarios:
        print(outcome.output)


def addresses(world: World, legs: list[Leg]) -> dict[str, str]:
    """Starts what the legs need; the URL of each. The suite wants to say `localhost`."""
    found, servers, aggregates = {}, {}, []
    for leg in legs:
        stdio: dict[str, object] = {"command": [str(FIXTURE), "--stdio", "--era", leg.era]}
        if leg.kind == "replicas":
            many = replicas(world, {leg.name: {**stdio, **TASKS}})
            found[leg.name] = many.url(f"/mcp/{leg.name}", host="localhost")
        elif leg.kind == "stdio":
            # Whatever it is asked for, it can run tools as tasks in its era's way.
            tasks = TASKS if leg.era == "legacy" else {}
            servers[leg.name] = {**stdio, **tasks}
        elif leg.kind == "pooled":
            servers[leg.name] = {**stdio, "isolation": "pooled", "pool_size": 1}
        elif leg.kind == "aggregate":
            aggregates.append((leg.name, stdio))
        else:
            url = world.fixture(f"fixture-{leg.name}", era=leg.era)
            if leg.kind == "direct":
                found[leg.name] = url.replace("127.0.0.1", "localhost")
            else:
                servers[leg.name] = {"url": url}
    # A shared server's logs go to the only session that has a call there, so that a session whose
    # client has closed its event stream must not outlive it for long.
    settings: dict[str, object] = {"session": {"resume_window": "100ms"}}
    if servers:
        gateway = world.gateway(servers, settings=settings)
        found |= {name: gateway.url(f"/mcp/{name}", host="localhost") for name in servers}
    for name, stdio in aggregates:
        gateway = world.gateway({"fixture": stdio}, name)
        found[name] = gateway.url("/mcp", host="localhost")
    return found


def suite(options: argparse.Namespace, world: World, tally: Tally) -> None:
    legs = [leg for leg in LEGS if leg.kind == "direct" or not options.leg or leg.name in options.leg]
    if not gateway_exists():
        print("# no gateway binary: direct only")
        legs = legs[:1]
    urls = addresses(world, legs)
    for name in options.edition or EDITIONS:
        edition = EDITIONS[name]
        if options.scenario:
            show(edition, options.scenario, legs, urls)
            continue
        direct = None
        for leg in legs:
            if name not in leg.editions:
                continue
            results = world.logs / f"{name}-{leg.name}"
            outcome = run_edition(edition, urls[leg.name], results)
            direct = direct or outcome
            (world.logs / f"{name}-{leg.name}.txt").write_text(outcome.output)
            judge(tally, leg, edition, outcome, direct)
    if options.scenario:
        tally.ok(f"{options.scenario} was shown")


def show(edition: Edition, scenario: str, legs: list[Leg], urls: dict[str, str]) -> None:
    """Runs one scenario everywhere and prints all that the suite says."""
    version = [] if edition.name == OLDEST else ["--spec-version", edition.name]
    for leg in legs:
        if edition.name in leg.editions:
            command = [str(NODE), str(edition.script), "server", "--url", urls[leg.name]]
            _code, output = run([*command, "--scenario", scenario, *version], TIMEOUT_S)
            print(f"# {leg.name} {edition.name} {scenario}\n{output}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The official conformance suite.")
    parser.add_argument("--leg", action="append", choices=[leg.name for leg in LEGS])
    parser.add_argument("--edition", action="append", choices=list(EDITIONS))
    parser.add_argument("--scenario")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(suite_main("conformance", partial(suite, arguments())))
