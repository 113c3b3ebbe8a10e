"""The official conformance suite, direct and through the gateway; through must equal direct."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from legs import legs
from world import NODE, NODE_DIR, Tally, World, run, suite_main

TIMEOUT_S = 300.0
MODULES = NODE_DIR / "node_modules"
TOTAL = re.compile(r"^Total: (\d+) passed, (\d+) failed", re.MULTILINE)
SCENARIO = re.compile(r"^[✓✗] ([\w-]+): (\d+) passed, (\d+) failed", re.MULTILINE)
UNSCORED = re.compile(r"^  [✓✗] ([\w-]+) \(", re.MULTILINE)

# Whether a server closes a stream in mid-call is its own choice: the fixture does so over HTTP, a
# stdio server cannot, and the gateway answers on the stream it has. No check is lost by that.
FREE_CHOICE = {("server-sse-polling", "server-sse-disconnect-resume")}


@dataclass(frozen=True)
class Edition:
    """One version of the suite, what is asked of it, and what a direct run must show."""

    name: str
    script: Path
    arguments: tuple[str, ...]
    passed: int
    required: int | None


EDITIONS = [
    Edition(
        "2025-11-25",
        MODULES / "@modelcontextprotocol/conformance/dist/index.js",
        ("--requirements", "2025-11-25"),
        83,
        30,
    ),
    Edition("0.1.16", MODULES / "conformance-stable/dist/index.js", (), 40, None),
]


@dataclass
class Outcome:
    """What one run printed and recorded."""

    passed: int
    failed: int
    code: int
    scenarios: dict[str, tuple[int, int]]
    checks: dict[tuple[str, str], Counter[str]]
    output: str

    def clean(self) -> int:
        """How many scored scenarios passed without a failed check."""
        unscored = set(UNSCORED.findall(self.output))
        scored = {name: counts for name, counts in self.scenarios.items() if name not in unscored}
        return sum(1 for passed, failed in scored.values() if passed and not failed)


def run_edition(edition: Edition, url: str, results: Path) -> Outcome:
    command = [str(NODE), str(edition.script), "server", "--url", url, "-o", str(results)]
    code, output = run([*command, *edition.arguments], TIMEOUT_S)
    total = TOTAL.search(output)
    passed, failed = (int(total[1]), int(total[2])) if total else (0, 0)
    scenarios = {m[1]: (int(m[2]), int(m[3])) for m in SCENARIO.finditer(output)}
    return Outcome(passed, failed, code, scenarios, read_checks(results), output)


def read_checks(results: Path) -> dict[tuple[str, str], Counter[str]]:
    """How often each check of each scenario ended how."""
    checks: dict[tuple[str, str], Counter[str]] = {}
    for path in sorted(results.glob("**/checks.json")):
        folder = path.parent.name.removeprefix("server-")
        scenario = re.sub(r"-\d{4}-\d\d-\d\dT.*$", "", folder)
        for check in json.loads(path.read_text()):
            checks.setdefault((scenario, check["id"]), Counter())[check["status"]] += 1
    return checks


def worse_checks(direct: Outcome, through: Outcome) -> list[str]:
    """The checks that succeed less often, or fail or warn more often, than direct."""
    worse = []
    for key, before in direct.checks.items():
        after = through.checks.get(key, Counter())
        lost = before["SUCCESS"] > after["SUCCESS"] and key not in FREE_CHOICE
        gained = any(after[status] > before[status] for status in ("FAILURE", "WARNING"))
        if lost or gained:
            worse.append(f"{key[0]}/{key[1]} {dict(before)} -> {dict(after)}")
    return worse


def judge(tally: Tally, leg: str, edition: Edition, outcome: Outcome, direct: Outcome) -> None:
    name = f"{leg} {edition.name}"
    for scenario, (passed, failed) in outcome.scenarios.items():
        tally.check(f"{name} {scenario}", not failed, f"{passed} passed, {failed} failed")
    for scenario in direct.scenarios.keys() - outcome.scenarios.keys():
        tally.not_ok(f"{name} {scenario}", "did not run")
    figures = f"{outcome.passed} passed, {outcome.failed} failed"
    wanted = f"{edition.passed} passed, 0 failed"
    equal = outcome.passed >= edition.passed and not outcome.failed and outcome.code == 0
    tally.check(f"{name} total {figures}", equal, f"wanted {wanted}, exit {outcome.code}")
    if edition.required:
        clean = outcome.clean()
        enough = clean >= edition.required
        tally.check(f"{name} clean scenarios {clean}", enough, f"wanted {edition.required}")
    if leg != "direct":
        worse = worse_checks(direct, outcome)
        tally.check(f"{name} no check worse than direct", not worse, "; ".join(worse))
    if not outcome.scenarios:
        print(outcome.output)


def suite(world: World, tally: Tally) -> None:
    ways = legs(world, host="localhost")
    for edition in EDITIONS:
        direct = None
        for leg in ways:
            results = world.logs / f"{edition.name}-{leg.name}"
            outcome = run_edition(edition, leg.mcp, results)
            direct = direct or outcome
            (world.logs / f"{edition.name}-{leg.name}.txt").write_text(outcome.output)
            judge(tally, leg.name, edition, outcome, direct)


if __name__ == "__main__":
    sys.exit(suite_main("conformance", suite))
