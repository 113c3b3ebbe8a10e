"""One official SDK's clients over every transport, direct and through the gateway.

    python sdk.py ts|py1|py2 [leg]...
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from dataclasses import dataclass
from functools import partial

from legs import Leg, legs, legs_of_many
from world import (
    NODE,
    NODE_DIR,
    TESTS,
    VENV1,
    VENV2,
    Failure,
    Tally,
    World,
    gateway_exists,
    run,
    suite_main,
)

TIMEOUT_S = 240.0
QUIET_DEADLINE_S = 10.0

# A pooled process has many clients and so no roots of its own: nobody's change is its business.
POOLED_SKIPS = {"ts": "roots list_changed", "py1": "roots list changed", "py2": "roots list changed"}

# What revision 2026-07-28 has no words for: servers ping nobody, hear of no roots, and are given
# answers but no errors.
BRIDGED_SKIPS = {
    "ts": "ping from the server,roots list_changed,a refusal by the client reaches the server",
    "py1": "ping from the server,roots list changed",
    "py2": "ping from the server,roots list changed",
}


@dataclass(frozen=True)
class Sdk:
    """How to run one language's checks, and which transports its SDK has a client for."""

    command: tuple[str, ...]
    transports: frozenset[str]


PYTHON = TESTS / "python"
SDKS = {
    "ts": Sdk((str(NODE), str(NODE_DIR / "sdk.mjs")), frozenset({"mcp", "sse", "ws"})),
    "py1": Sdk(
        (str(VENV1 / "python"), str(PYTHON / "sdk1.py")), frozenset({"mcp", "sse", "ws"})
    ),
    "py2": Sdk((str(VENV2 / "python"), str(PYTHON / "sdk2.py")), frozenset({"mcp", "sse"})),
}


def wait_for_quiet(leg: Leg) -> None:
    """Until the shared process has no call left of the session before.

    While it has one, its log messages and questions could be that session's, and go to nobody.
    """
    address = leg.mcp.replace("/mcp/", "/servers/")
    deadline = time.monotonic() + QUIET_DEADLINE_S
    while time.monotonic() < deadline:
        with urllib.request.urlopen(address, timeout=QUIET_DEADLINE_S) as answer:
            if not any(it["in_flight"] for it in json.load(answer).get("running", [])):
                return
        time.sleep(0.05)
    raise Failure(f"{leg.name} still has calls of a session that is over")


def run_leg(name: str, leg: Leg, transport: str, url: str, tally: Tally) -> None:
    command = [*SDKS[name].command, "--transport", transport, "--url", url]
    if leg.paged:
        command += ["--checks", "paged"]
    if leg.pooled:
        wait_for_quiet(leg)
        command += ["--skip", POOLED_SKIPS[name]]
    if leg.bridged:
        command += ["--skip", BRIDGED_SKIPS[name]]
    code, output = run(command, TIMEOUT_S)
    tally.add_output(f"{leg.name} {transport}", output, code)


def suite(name: str, only: list[str], world: World, tally: Tally) -> None:
    run_legs(name, legs(world, paged=True), only, tally)
    if gateway_exists():
        found, replicas = legs_of_many(world)
        if run_legs(name, found, only, tally):
            replicas.judge(tally)


def run_legs(name: str, found: list[Leg], only: list[str], tally: Tally) -> bool:
    """Runs those that are wanted; whether any was."""
    wanted = [leg for leg in found if not only or leg.name in only]
    for leg in wanted:
        for transport, url in leg.transports().items():
            if transport in SDKS[name].transports:
                run_leg(name, leg, transport, url, tally)
    return bool(wanted)


if __name__ == "__main__":
    if sys.argv[1:2] not in [[name] for name in SDKS]:
        sys.exit(__doc__)
    chosen = sys.argv[1]
    sys.exit(suite_main(f"sdk-{chosen}", partial(suite, chosen, sys.argv[2:])))
