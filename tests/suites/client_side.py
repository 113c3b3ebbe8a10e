"""The client side of the official conformance suite, direct and with the gateway in between.

    python client_side.py [--leg NAME]... [--scenario NAME]...

The suite plays the server and judges the client. Direct, that is an official SDK's client
(`node/conformance.mjs`), which passes everything. Through the gateway it is the gateway's own side
towards its servers; where client and server have no era in common, the gateway is the bridge.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from world import NODE, NODE_DIR, Failure, Tally, World, gateway_exists, run, suite_main, world

SUITE = NODE_DIR / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
CLIENT = NODE_DIR / "conformance.mjs"
# The suite gives a client 30 s; one that hangs behind a gateway has to end together with it.
CLIENT_TIMEOUT_S = 20.0
SUITE_TIMEOUT_S = 60.0

LEGACY, MODERN = "2025-11-25", "2026-07-28"
SCENARIOS = {
    LEGACY: [
        "initialize",
        "tools_call",
        "elicitation-sep1034-client-defaults",
        "sse-retry",
        "json-schema-2020-12-preservation",
    ],
    MODERN: [
        "tools_call",
        "request-metadata",
        "sep-2322-client-request-state",
        "http-standard-headers",
        "http-custom-headers",
        "http-invalid-tool-headers",
        "json-schema-ref-no-deref",
        "json-schema-2020-12-preservation",
    ],
}


@dataclass(frozen=True)
class Leg:
    """Who stands between client and suite, and the revision of each."""

    name: str
    server: str
    client: str
    through: bool


LEGS = [
    Leg("direct-legacy", LEGACY, LEGACY, False),
    Leg("direct-modern", MODERN, MODERN, False),
    Leg("gateway-legacy", LEGACY, LEGACY, True),
    Leg("gateway-modern", MODERN, MODERN, True),
    Leg("bridge-up", LEGACY, MODERN, True),
    Leg("bridge-down", MODERN, LEGACY, True),
]


def run_scenario(leg: Leg, scenario: str, logs: Path) -> tuple[int, str]:
    """How the suite ended, and what it and the client said of what went wrong."""
    results = logs / f"{leg.name}-{scenario}"
    client = f"{NODE} {CLIENT}"
    if leg.through:
        client = f"{sys.executable} {Path(__file__).resolve()} --between"
    command = [str(NODE), str(SUITE), "client", "--command", client, "--scenario", scenario]
    command += ["--spec-version", leg.server, "-o", str(results)]
    env = {"EDGE_CLIENT_REVISION": leg.client}
    code, output = run(command, SUITE_TIMEOUT_S, env)
    (logs / f"{leg.name}-{scenario}.txt").write_text(output)
    said = []
    for path in results.glob("**/checks.json"):
        for check in json.loads(path.read_text()):
            if check["status"] in ("FAILURE", "WARNING"):
                message = check.get("errorMessage") or check.get("details") or check["description"]
                said.append(f"{check['id']}: {message}")
    for path in results.glob("**/stderr.txt"):
        said.append(path.read_text()[-600:])
    return code, " ".join("; ".join(said).split())[:1000]


def between(url: str) -> int:
    """Starts a gateway in front of the suite's server, and the client in front of the gateway."""
    scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
    revision = os.environ["MCP_CONFORMANCE_PROTOCOL_VERSION"]
    client = os.environ["EDGE_CLIENT_REVISION"]
    server: dict[str, object] = {"url": url}
    if (revision, client) == (MODERN, LEGACY):
        # The suite counts the `initialize` by which the gateway would find this out as a fault.
        server["era"] = "modern"
    with world(f"client-side-{revision}-{client}-{scenario}") as started:
        gateway = started.gateway({"suite": server})
        address = gateway.url("/mcp/suite")
        code, output = run([str(NODE), str(CLIENT), address], CLIENT_TIMEOUT_S)
        print(output, file=sys.stderr)
        if code:
            print(gateway.process.tail(), file=sys.stderr)
        return code


def suite(options: argparse.Namespace, started: World, tally: Tally) -> None:
    for leg in LEGS:
        if options.leg and leg.name not in options.leg:
            continue
        if leg.through and not gateway_exists():
            print(f"# no gateway binary: no {leg.name}")
            continue
        for scenario in SCENARIOS[leg.server]:
            if options.scenario and scenario not in options.scenario:
                continue
            code, said = run_scenario(leg, scenario, started.logs)
            tally.check(f"{leg.name} {scenario}", code == 0, f"exit {code}: {said}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The client side of the conformance suite.")
    parser.add_argument("--leg", action="append", choices=[leg.name for leg in LEGS])
    parser.add_argument("--scenario", action="append")
    parser.add_argument("--between", metavar="URL", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    chosen = arguments()
    if chosen.between:
        try:
            sys.exit(between(chosen.between))
        except Failure as failure:
            sys.exit(str(failure))
    sys.exit(suite_main("client-side", partial(suite, chosen)))
