"""Every client over every transport on every kind of server, and the table of that in the docs.

    python matrix.py [--client NAME]... [--transport mcp|sse|ws]... [--server NAME]...

Each script prints the same eight checks on the same server in five shapes. The table between the
marks in `docs/protocol.md` has to be what was found; `UPDATE_DOCS=1` writes it. A check may be
missing only where `FORCED` says which rule of the specification forces it. With arguments some
cells are run, and no table is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from world import FIXTURE, NODE, NODE_DIR, ROOT, TARGET, TESTS, VENV1, VENV2
from world import Failure, Gateway, Tally, World, run, suite_main

TIMEOUT_S = 150.0
DOCUMENT = ROOT / "docs" / "protocol.md"
BEGIN, END = "<!-- matrix -->\n", "<!-- /matrix -->"
PYTHON = TESTS / "python"

CHECKS = "list call progress error cancel elicitation sampling list_changed".split()


@dataclass(frozen=True)
class Client:
    """One client in one era: how its checks are run and the transports it has."""

    name: str
    era: str
    transports: tuple[str, ...]
    command: tuple[str, ...]

    def label(self) -> str:
        called, path, pattern = PACKAGES[self.name.partition("-")[0]]
        found = re.search(pattern, path.read_text(), re.MULTILINE)
        if not found:
            raise Failure(f"no version of {called} in {path.name}")
        return f"{called} {found[1]}, {self.era}"


TS1 = (str(NODE), str(NODE_DIR / "sdk.mjs"), "--checks", "matrix")
TS2 = (str(NODE), str(NODE_DIR / "sdk2.mjs"), "--era")
PY1 = (str(VENV1 / "python"), str(PYTHON / "sdk1.py"), "--checks", "matrix")
PY2 = (str(VENV2 / "python"), str(PYTHON / "sdk2.py"), "--checks", "matrix", "--era")
RUST = (str(TARGET / "sdk"), "--era")

ALL = ("mcp", "sse", "ws")
CLIENTS = [
    Client("ts1", "legacy", ALL, TS1),
    Client("ts2-legacy", "legacy", ALL, (*TS2, "legacy")),
    Client("ts2", "modern", ("mcp", "ws"), (*TS2, "modern")),
    Client("py1", "legacy", ALL, PY1),
    Client("py2-legacy", "legacy", ("mcp", "sse"), (*PY2, "legacy")),
    Client("py2", "modern", ("mcp",), (*PY2, "modern")),
    Client("rust-legacy", "legacy", ("mcp",), (*RUST, "legacy")),
    Client("rust", "modern", ("mcp",), (*RUST, "modern")),
]

# What each package is called, and where its version is written down.
PACKAGES = {
    "ts1": ("TypeScript SDK", NODE_DIR / "package.json", r'protocol/sdk": "([\d.]+)"'),
    "ts2": ("TypeScript client", NODE_DIR / "package.json", r'protocol/client": "([\d.]+)"'),
    "py1": ("Python SDK", PYTHON / "requirements1.txt", r"^mcp==([\d.]+)"),
    "py2": ("Python SDK", PYTHON / "requirements2.txt", r"^mcp==([\d.]+)"),
    "rust": ("rmcp", ROOT / "Cargo.toml", r'^rmcp = \{ version = "=([\d.]+)"'),
}

SERVERS = {
    "legacy-stdio": "legacy, stdio",
    "legacy-http": "legacy, HTTP",
    "http-sse": "HTTP+SSE",
    "modern-stdio": "modern, stdio",
    "modern-http": "modern, HTTP",
}


# A client and a transport.
Row = tuple[str, str]


@dataclass(frozen=True)
class Forced:
    """Checks that cannot hold in some cells, and the rule that says so."""

    clients: frozenset[str]
    transports: frozenset[str]
    servers: frozenset[str]
    checks: frozenset[str]
    rule: str

    def covers(self, row: Row, server: str) -> bool:
        client, transport = row
        within = client in self.clients and transport in self.transports
        return within and server in self.servers


FORCED: list[Forced] = []

Cells = dict[tuple[Row, str], dict[str, str]]


def start(world: World, direct: dict[str, str], wanted: list[str]) -> Gateway:
    """A gateway in front of the five kinds of server."""
    stdio = [str(FIXTURE), "--stdio", "--era"]
    events = world.sse_server([*stdio, "legacy"]) if "http-sse" in wanted else ""
    servers: dict[str, object] = {
        "legacy-stdio": {"command": [*stdio, "legacy"]},
        "legacy-http": {"url": direct["legacy"]},
        "http-sse": {"type": "sse", "url": events},
        "modern-stdio": {"command": [*stdio, "modern"]},
        "modern-http": {"url": direct["modern"]},
    }
    return world.gateway({name: servers[name] for name in wanted})


def missing(client: Client, transport: str, url: str) -> dict[str, str]:
    """The checks that did not hold, and why."""
    command = [*client.command, "--transport", transport, "--url", url]
    code, output = run(command, TIMEOUT_S)
    failed = dict(re.findall(r"^not ok ([^:\n]+): (.*)$", output, re.MULTILINE))
    held = set(re.findall(r"^ok (.*)$", output, re.MULTILINE))
    absent = [check for check in CHECKS if check not in held | failed.keys()]
    said = failed.get("connect") or f"exit {code}: " + " | ".join(output.splitlines()[-5:])
    return failed | {check: f"did not run, {said}" for check in absent}


def column(gateway: Gateway, rows: list[tuple[Client, str]], server: str) -> Cells:
    cells = {}
    for client, transport in rows:
        scheme = "ws" if transport == "ws" else "http"
        url = gateway.url(f"/{transport}/{server}", scheme)
        cells[((client.name, transport), server)] = missing(client, transport, url)
    return cells


def judge(tally: Tally, cells: Cells) -> None:
    for (row, server), failed in cells.items():
        for check in [*CHECKS, *(name for name in failed if name not in CHECKS)]:
            name = f"{' '.join(row)} {server} {check}"
            rules = [it for it in FORCED if it.covers(row, server) and check in it.checks]
            if check not in failed:
                tally.check(name, not rules, "it holds, although a rule is said to forbid it")
            elif rules:
                print(f"# {name} is forced: {rules[0].rule}")
            else:
                tally.not_ok(name, failed[check])


def apart(tally: Tally, direct: dict[str, str]) -> None:
    """Without the gateway nobody gets anything from a server of the other era: that the cells are
    ✓ is its doing."""
    for client in CLIENTS:
        other = "legacy" if client.era == "modern" else "modern"
        failed = missing(client, "mcp", direct[other])
        held = [check for check in CHECKS if check not in failed]
        tally.check(f"{client.name} direct on a {other} server has nothing", not held, held)


def table(rows: list[tuple[Client, str]], cells: Cells) -> str:
    """The table in Markdown, with a footnote for each rule that forces something."""
    lines = [
        "| client | endpoint | " + " | ".join(SERVERS.values()) + " |",
        "|---|---|" + "---|" * len(SERVERS),
    ]
    used: list[Forced] = []
    for client, transport in rows:
        shown = []
        for server in SERVERS:
            failed = cells[((client.name, transport), server)]
            if not failed:
                shown.append("✓")
                continue
            rules = [it for it in FORCED if it.covers((client.name, transport), server)]
            used += [it for it in rules if it not in used]
            notes = "".join(f" [{used.index(it) + 1}]" for it in rules)
            shown.append("no " + ", ".join(failed) + notes)
        lines.append(f"| {client.label()} | `/{transport}` | " + " | ".join(shown) + " |")
    lines.append("")
    lines += [f"{number}. {it.rule}" for number, it in enumerate(used, 1)]
    return "\n".join(lines).rstrip() + "\n"


def compare(tally: Tally, found: str) -> None:
    """The table in the documentation is the one that was found."""
    text = DOCUMENT.read_text()
    before, begin, rest = text.partition(BEGIN)
    written, end, after = rest.partition(END)
    if not begin or not end:
        raise Failure(f"{DOCUMENT.name} has no {BEGIN.strip()} with {END} after it")
    if os.environ.get("UPDATE_DOCS"):
        DOCUMENT.write_text(before + begin + found + end + after)
        written = found
    why = "UPDATE_DOCS=1 ./tests/run.sh --only matrix writes it"
    tally.check(f"the table in {DOCUMENT.name}", written == found, why)


def suite(options: argparse.Namespace, world: World, tally: Tally) -> None:
    rows = [
        (client, transport)
        for client in CLIENTS
        for transport in client.transports
        if not options.client or client.name in options.client
        if not options.transport or transport in options.transport
    ]
    servers = options.server or list(SERVERS)
    direct = {era: world.fixture(f"fixture-{era}", era=era) for era in ("legacy", "modern")}
    gateway = start(world, direct, servers)
    cells: Cells = {}
    with ThreadPoolExecutor(len(servers)) as pool:
        for part in pool.map(partial(column, gateway, rows), servers):
            cells |= part
    judge(tally, cells)
    if options.client or options.transport or options.server:
        return
    (world.logs / "matrix.json").write_text(json.dumps([[*key, it] for key, it in cells.items()]))
    apart(tally, direct)
    compare(tally, table(rows, cells))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Every client on every kind of server.")
    parser.add_argument("--client", action="append", choices=[it.name for it in CLIENTS])
    parser.add_argument("--transport", action="append", choices=ALL)
    parser.add_argument("--server", action="append", choices=list(SERVERS))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(suite_main("matrix", partial(suite, arguments())))
