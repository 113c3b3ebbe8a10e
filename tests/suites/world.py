"""Starts and stops what the suites talk to: the fixture, the gateway, and their logs.

Everything is a child of this process in its own process group, is found by its pid and is ended
when the `World` is left, however it is left.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "debug"
FIXTURE = TARGET / "fixture"
GATEWAY = TARGET / "mcp-gateway"
NODE_DIR = TESTS / "node"
NODE = NODE_DIR / "node_modules" / "node" / "bin" / "node"
VENV1 = TESTS / ".venv1" / "bin"
VENV2 = TESTS / ".venv2" / "bin"

START_DEADLINE_S = 20.0
STOP_DEADLINE_S = 35.0


class Failure(Exception):
    """What a check says when it did not hold."""


# Below the range the system takes the ports of outgoing connections from (32768 and up): a port
# found free in that range may be some client's a moment later.
PORTS = itertools.cycle(range(10_000, 30_000))
for _skipped in range(os.getpid() * 97 % 20_000):
    next(PORTS)


def free_port() -> int:
    """A port nothing listens on, and which this process was not told before."""
    for _try in range(20_000):
        port = next(PORTS)
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Failure("no port is free")


@dataclass
class Process:
    """A child with a log file."""

    name: str
    child: subprocess.Popen[bytes]
    log: Path

    def alive(self) -> bool:
        return self.child.poll() is None

    def stop(self) -> int:
        """SIGTERM, then SIGKILL to the whole group after the deadline; the exit code."""
        if self.alive():
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                print(f"# {self.name} did not stop within {STOP_DEADLINE_S} s; killed")
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return self.child.wait()

    def tail(self, lines: int = 20) -> str:
        text = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"#   {line}" for line in text[-lines:])


@dataclass
class Gateway:
    """A running gateway and the addresses of its surface."""

    process: Process
    port: int

    def url(self, path: str, scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


@dataclass
class World:
    """Everything one suite started."""

    logs: Path
    processes: list[Process] = field(default_factory=list)

    def start(self, name: str, command: list[str], env: dict[str, str] | None = None) -> Process:
        log = self.logs / f"{name}.log"
        with log.open("wb") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        process = Process(name, child, log)
        self.processes.append(process)
        return process

    def fixture(
        self, name: str = "fixture-http", env: dict[str, str] | None = None, era: str = "legacy"
    ) -> str:
        """A fixture over Streamable HTTP; its URL."""
        port = free_port()
        process = self.start(name, [str(FIXTURE), "--http", str(port), "--era", era], env)
        wait_until(f"{name} listens", process, lambda: connects(port))
        return f"http://127.0.0.1:{port}/mcp"

    def sse_server(self, command: list[str]) -> str:
        """A server over HTTP+SSE, with a process for every connection; its URL."""
        port = free_port()
        script = str(TESTS / "python" / "sse_server.py")
        process = self.start("sse-server", [str(VENV1 / "python"), script, str(port), *command])
        wait_until("the HTTP+SSE server listens", process, lambda: connects(port))
        return f"http://127.0.0.1:{port}/sse"

    def gateway(
        self,
        servers: dict[str, object],
        name: str = "gateway",
        settings: dict[str, object] | None = None,
        env: dict[str, str] | None = None,
        port: int | None = None,
    ) -> Gateway:
        """A gateway in front of `servers`, once it says that it is ready."""
        if not GATEWAY.exists():
            raise Failure(f"{GATEWAY} is missing: cargo build -p mcp-gateway builds it")
        config = self.logs / f"{name}.json"
        config.write_text(json.dumps({**(settings or {}), "servers": servers}, indent=2))
        port = port or free_port()
        command = [str(GATEWAY), "--config", str(config), "--host", "127.0.0.1"]
        command += ["--port", str(port), "--admin-port", "0"]
        process = self.start(name, command, env)
        gateway = Gateway(process, port)
        wait_until(f"{name} is ready", process, lambda: answers(gateway.url("/health/ready")))
        return gateway

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.stop()
        self.processes.clear()


@contextmanager
def world(suite: str) -> Iterator[World]:
    """A `World` that ends what it started; its logs are kept when `EDGE_LOGS` names a folder."""
    kept = os.environ.get("EDGE_LOGS")
    if kept:
        logs = Path(kept) / suite
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir(parents=True)
        yield from _run(World(logs))
        return
    with tempfile.TemporaryDirectory(prefix=f"edge-{suite}-") as folder:
        yield from _run(World(Path(folder)))


def _run(started: World) -> Iterator[World]:
    def interrupted(_number: int, _frame: object) -> None:
        raise SystemExit(130)

    signal.signal(signal.SIGTERM, interrupted)
    try:
        yield started
    except Failure as failure:
        for process in started.processes:
            print(f"# {process.name}, last lines:\n{process.tail()}")
        raise failure
    finally:
        started.stop()


def wait_until(what: str, process: Process, holds) -> None:
    """Polls until `holds()`; a dead process or the deadline is a `Failure`."""
    deadline = time.monotonic() + START_DEADLINE_S
    while not holds():
        if not process.alive():
            raise Failure(f"{what}: it ended with {process.child.returncode}")
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {START_DEADLINE_S} s")
        time.sleep(0.05)


def connects(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def gateway_exists() -> bool:
    """Whether the suites have a gateway to run through; without one they run direct only."""
    return GATEWAY.exists()


class Tally:
    """Counts checks and prints one line for each."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    def ok(self, name: str) -> None:
        self.passed += 1
        print(f"ok {name}", flush=True)

    def not_ok(self, name: str, why: object) -> None:
        self.failed += 1
        print(f"not ok {name}: {why}", flush=True)

    def check(self, name: str, holds: bool, why: object) -> None:
        if holds:
            self.ok(name)
        else:
            self.not_ok(name, why)

    def add_output(self, leg: str, output: str, returned: int) -> None:
        """Takes over the `ok` and `not ok` lines another program printed."""
        found = False
        for line in output.splitlines():
            if line.startswith("ok "):
                found = True
                self.ok(f"{leg} {line[3:]}")
            elif line.startswith("not ok "):
                found = True
                name, _, why = line[7:].partition(": ")
                self.not_ok(f"{leg} {name}", why)
        if not found or returned not in (0, 1):
            tail = output.strip().splitlines()[-8:]
            self.not_ok(f"{leg} runs", f"exit {returned}: " + " | ".join(tail))

    def close(self) -> int:
        """The closing line and the exit code."""
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed or not self.passed else 0


def run(
    command: list[str], timeout_s: float, env: dict[str, str] | None = None
) -> tuple[int, str]:
    """Runs a program to its end; output and exit code (124 when it took too long)."""
    child = subprocess.Popen(
        command,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = child.communicate(timeout=timeout_s)
        return child.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        output, _ = child.communicate()
        return 124, output + f"\ntook longer than {timeout_s} s"


def suite_main(name: str, suite) -> int:
    """Runs `suite(world, tally)` and ends with the closing line."""
    tally = Tally()
    try:
        with world(name) as started:
            suite(started, tally)
    except Failure as failure:
        tally.not_ok(f"{name} set-up", failure)
    return tally.close()


if __name__ == "__main__":
    sys.exit("world.py is used by the suites beside it")
