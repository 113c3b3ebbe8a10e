"""The stack as containers: docker-compose.yml as it is, driven through nginx over TLS.

No image registry is needed: the base images are stand-ins made of Debian packages
(`stack/base.sh`), given by the variables that every base image has. The engine is this suite's own
(`engine.py`). `--keep` leaves the stack up and opens a shell beside it; `--compile` compiles the
images instead (`compiled.py`).
"""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlencode

import compiled
from clients import (
    Address,
    Caller,
    Listener,
    Stream,
    WebSocket,
    initialize,
    is_sum,
    rpc,
)
from engine import Engine, clean, compose_program, engine, enter, give_back
from world import ROOT, Failure, Tally, World, run, suite_main

# What a developer may have, and what would then be another stack than the one that is tested.
OWN = [ROOT / ".env", *(ROOT / "config" / f"gateway.{it}" for it in ("json", "yaml", "yml"))]
CONFIG = ROOT / "config" / "gateway.json"
# As people who followed the project's first README have it, but for the secret: that one is refused.
FIRST_CONFIG = {
    "port": 3000,
    "logLevel": "info",
    "cors": {"enabled": True, "origins": ["*"]},
    "rateLimit": {"enabled": True, "max": 100, "window": "15m"},
    "session": {"secret": "change-this-secret", "maxAge": 3600000},
}
COMPOSE = ROOT / "docker-compose.yml"
DASHBOARD = ROOT / "config" / "grafana" / "dashboards" / "mcp-gateway.json"
DOCKERFILE = ROOT / "gateway" / "Dockerfile"
EXAMPLE = ROOT / ".env.example"
HTPASSWD = ROOT / "nginx" / ".htpasswd"
OWN_CERTIFICATE = ROOT / "nginx" / "ssl" / "nginx.crt"
OWN_KEY = ROOT / "nginx" / "ssl" / "nginx.key"

# What one version of the two has and the other has not, or reads otherwise.
NOT_IN_BOTH = [
    r"^name:",
    r"^include:",
    r"^version:",
    r"\bstart_interval:",
    r"\brequired:",
    r"\benv_file:",
    r"\bhost_ip:",
    r"\bcreate_host_path:",
    r"\badditional_contexts:",
    r"\bdockerfile_inline:",
    r"\bdevelop:",
    r"\battach:",
    r"\$\{[A-Z_]+:?\+",
    r"\$\{[A-Z_]+:?\?",
    r"\$\{[^}]*\$\{",
]
COMPILE = "--compile" in sys.argv
STEPS, INTERVAL_S = 6, 0.3
LONG = 40
PLACEHOLDERS = {
    "SESSION_SECRET": "your_session_secret_here_change_this",
    "REDIS_PASSWORD": "secure_redis_password",
}
# OUTCOME_UNKNOWN: the call ran once or not at all.
OUTCOME_UNKNOWN = -31002
ALL = ("--profile", "tools", "--profile", "monitoring")
# A replica that stops hands over its sessions for up to 35 s.
SCALE_DEADLINE_S = 150.0
# Some figures are asked every 15 s, and rules rest on rules.
FIGURES_DEADLINE_S = 150.0
CANARY = ("a canary", "sum(mcp_gateway_no_such_figure)")
HEALTHY_DEADLINE_S = 90.0


class Stack:
    """The stack that is up, and what the checks below share."""

    def __init__(self, docker: Engine, tally: Tally) -> None:
        self.docker = docker
        self.tally = tally
        self.edge = Address(443)
        self.plain = Address(3000)

    def trusting(self) -> None:
        """From here on the stack's own authority is believed, and nobody else."""
        authority = self.docker.must("docker", "exec", self.one("nginx"), "cat", "/certs/ca.crt")
        self.authority = authority
        self.edge.trust = ssl.create_default_context(cadata=authority)

    def ids(self, service: str) -> list[str]:
        return self.docker.compose("ps", "--quiet", service).split()

    def one(self, service: str) -> str:
        found = self.ids(service)
        if len(found) != 1:
            raise Failure(f"{service} has {len(found)} containers")
        return found[0]

    def address_of(self, service: str, network: str) -> str:
        networks = self.docker.inspect(self.one(service))["NetworkSettings"]["Networks"]
        return networks[f"edge_{network}"]["IPAddress"]

    def shell(self, command: str, deadline_s: float = 30.0) -> str:
        """A command as somebody types it; what it prints."""
        _code, output = self.docker.run("bash", "-c", command, deadline_s=deadline_s)
        return output

    def healthy(self, service: str, count: int) -> None:
        """Waits until so many containers say that they are well, and no other is there."""
        deadline = time.monotonic() + HEALTHY_DEADLINE_S
        while True:
            states = [self.docker.inspect(each)["State"] for each in self.ids(service)]
            told = [(each.get("Health") or {}).get("Status", each["Status"]) for each in states]
            well = [each for each in told if each == "healthy"]
            if len(well) == len(told) == count:
                return
            if time.monotonic() > deadline:
                raise Failure(f"{service} is not {count} healthy containers but {told}")
            time.sleep(0.3)


def suite(world: World, tally: Tally) -> None:
    if own := [str(it.relative_to(ROOT)) for it in OWN if it.exists()]:
        raise Failure(f"{own} would be part of the stack: move them away, or use a git worktree")
    docker = engine(world)
    stack = Stack(docker, tally)
    if COMPILE:
        compiled.compiles(docker, tally, world.logs)
        clean(docker)
        return
    checks: list[Callable[[Stack], None]] = [
        files,
        sources_are_in_the_images,
        comes_up,
        readme,
        through_tls,
        monitoring,
        containers,
        secrets_are_files,
        operators_files,
        first_config,
        operate,
        scales,
        figures,
        survives_a_kill,
        rolls,
        comes_up_again,
        compose_v2,
    ]
    if "--keep" in sys.argv:
        comes_up(stack)
        subprocess.run(["bash"], env={**os.environ, **docker.env}, check=False)
        return
    for check in checks:
        begun = time.monotonic()
        try:
            check(stack)
        except (Failure, OSError, KeyError, ValueError, AttributeError) as fault:
            tally.not_ok(check.__name__, repr(fault) if not isinstance(fault, Failure) else fault)
            if check is comes_up:
                break
        print(f"# {check.__name__}: {time.monotonic() - begun:.0f} s", flush=True)
    if tally.failed:
        show(stack, world)
    clean(docker)


def show(stack: Stack, world: World) -> None:
    """What the containers said, for whoever looks for the fault."""
    for name in stack.docker.must("docker", "ps", "--all", "--format", "{{.Names}}").split():
        _code, said = stack.docker.run("docker", "logs", "--tail", "2000", name)
        (world.logs / f"{name}.log").write_text(said)
    print(stack.docker.run("docker", "ps", "--all")[1])


def files(stack: Stack) -> None:
    """The files themselves, before anything is started."""
    text = COMPOSE.read_text()
    found = [each for each in NOT_IN_BOTH if re.search(each, text, re.MULTILINE)]
    stack.tally.check("only what docker-compose 1.29 and v2 read alike", not found, found)
    names = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", text))
    without = [each for each in names if not re.search(rf"\${{{each}:?-", text)]
    stack.tally.check("every variable has a default", not without, without)
    example = EXAMPLE.read_text()
    told = set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE)) - {"COMPOSE_PROJECT_NAME"}
    stack.tally.check(".env.example names every variable", names == told, names ^ told)
    bare = {name: value for name, value in os.environ.items() if name not in names}
    # The environment has none of them, so that what is shown are the defaults.
    shown = [
        subprocess.run(
            ["docker-compose", *ALL, *more, "config"],
            env=bare,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        for more in ([], ["--env-file", str(EXAMPLE)])
    ]
    valid = all(each.returncode == 0 for each in shown)
    stack.tally.check("docker-compose takes the file without an edit", valid, shown[0].stderr)
    same = shown[0].stdout == shown[1].stdout
    stack.tally.check(".env.example holds the defaults", valid and same, "another configuration")
    opened = subprocess.run(
        ["docker-compose", *ALL, "config"],
        env={**bare, "BIND_ADDRESS": "0.0.0.0"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    ).stdout
    far = sorted(re.findall(r"^ *- 0\.0\.0\.0:(\d+):\d+", opened, re.MULTILINE))
    near = re.findall(r"^ *- 127\.0\.0\.1:(\d+):\d+", opened, re.MULTILINE)
    holds = far == ["443", "80"] and sorted(near) == ["3000", "3030", "9090", "9091"]
    stack.tally.check("BIND_ADDRESS opens 80 and 443, and nothing else", holds, (far, near))


def sources_are_in_the_images(stack: Stack) -> None:
    """What programs are compiled from is copied: here nothing is compiled, but with `--compile`."""
    copied = DOCKERFILE.read_text()
    members = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]
    missing = [it for it in members if f"\nCOPY {it}/Cargo.toml {it}/\n" not in copied]
    stack.tally.check("every member's manifest is copied", not missing, missing)
    missing = []
    for crate in ("gateway", "exporter"):
        for source in (ROOT / crate / "src").rglob("*.rs"):
            # Tests have files of their own, which no program needs.
            if "tests" in source.parts or source.stem == "tests":
                continue
            for path in re.findall(r'include_(?:str|bytes)!\("([^"]+)"', source.read_text()):
                found = (source.parent / path).resolve()
                if ROOT / crate not in found.parents and str(found.relative_to(ROOT)) not in copied:
                    missing.append(f"{source.relative_to(ROOT)}: {path}")
    stack.tally.check("what is compiled is copied", not missing, missing)
    kept = (ROOT / ".dockerignore").read_text()
    names = re.findall(r"^COPY ([^-\n]+) \S+$", copied, re.MULTILINE)
    wanted = {name.rstrip("*") for words in names for name in words.split()}
    lost = [it for it in wanted if not any(f"!{part}\n" in kept for part in (it, it.split("/")[0]))]
    stack.tally.check(".dockerignore lets through what is copied", not lost, lost)


def comes_up(stack: Stack) -> None:
    begun = time.monotonic()
    stack.docker.compose("--profile", "tools", "up", "-d", "--build", deadline_s=400)
    for service in ("redis", "mcp-gateway", "nginx"):
        stack.healthy(service, 1)
    stack.trusting()
    stack.tally.ok("docker-compose up: every service is there and well")
    print(f"# up after {time.monotonic() - begun:.0f} s", flush=True)


def readme(stack: Stack) -> None:
    """The commands that people find in READMEs, as they are written there."""
    tally = stack.tally
    said = stack.shell("curl -s http://localhost:3000/health")
    tally.check("curl localhost:3000/health", json.loads(said)["status"] == "healthy", said)
    said = stack.shell("curl -s http://localhost:9091/metrics")
    for name in ("requests_total", "errors_total", "active_connections"):
        found = re.search(rf"^mcp_gateway_{name} \d+", said, re.MULTILINE)
        tally.check(f"curl localhost:9091/metrics: mcp_gateway_{name}", bool(found), said[:300])
    for where, command in (
        ("the container mcp-curl", "docker exec mcp-curl curl -N http://mcp-gateway:3000/sse"),
        ("the host", "curl -sN http://localhost:3000/sse"),
    ):
        said = stack.shell(f"timeout 4 {command}")
        tally.check(f"curl -N /sse from {where}", "event: endpoint" in said, said[:300])
    ask = "docker exec -i mcp-wscat wscat -c ws://mcp-gateway:3000/ws"
    said = stack.shell(f"""(echo '{{"type": "ping"}}'; sleep 3) | timeout 20 {ask}""")
    tally.check("wscat: a ping is answered", '{"type":"pong"}' in said.replace(" ", ""), said[:300])
    terminal = ask.replace("-i ", "-it ")
    typed = """(sleep 3; echo '{"type": "ping"}'; sleep 3)"""
    said = stack.shell(f"""{typed} | timeout 20 script -qec "{terminal}" /dev/null""")
    tally.check("wscat on a terminal", '{"type":"pong"}' in said.replace(" ", ""), said[:300])
    said = stack.shell("docker exec mcp-gateway-redis redis-cli ping")
    tally.check("redis-cli ping", said.strip() == "PONG", said)
    said = stack.shell("docker-compose logs --tail=50 mcp-gateway")
    tally.check("docker-compose logs mcp-gateway", '"level":"INFO"' in said, said[-300:])


def through_tls(stack: Stack) -> None:
    """Each transport through nginx over TLS, with its events as they are sent."""
    tally, edge = stack.tally, stack.edge
    status, headers, text = edge.ask("GET", "/health")
    tally.check("health over TLS", status == 200 and b"healthy" in text, (status, text[:200]))
    tally.check("a request has an id", len(headers.get("x-request-id", "")) >= 8, headers)
    offering = ssl.create_default_context(cadata=stack.authority)
    offering.set_alpn_protocols(["h2", "http/1.1"])
    with Address(443, offering).dial() as made:
        chosen = made.selected_alpn_protocol()
    tally.check("HTTP/2 is offered", chosen == "h2", chosen)
    with suppress(ssl.SSLError):
        Address(443, ssl.create_default_context()).dial().close()
        tally.not_ok("only the stack's own authority vouches for it", "the system's did")
    for path in ("/metrics", "/internal/sessions", "/admin", "/nginx_status"):
        status, _headers, _text = edge.ask("GET", path)
        tally.check(f"{path} is hidden", status == 404, status)
    caller = Caller(edge)
    caller.open()
    stream = Stream(edge, "/mcp", countdown(), caller.headers())
    event_by_event(tally, "/mcp", stream)
    listener = Stream(edge, "/sse")
    first = listener.next()
    if first is None or first.name != "endpoint":
        raise Failure(f"/sse began with {first}")
    for message in (
        rpc(0, "initialize", initialize("2024-11-05")),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        countdown(),
    ):
        status, _headers, text = edge.ask("POST", first.data, message)
        if status != 202:
            raise Failure(f"{message['method']} was answered with {status}: {text[:200]!r}")
    event_by_event(tally, "/sse", listener)
    listener.close()
    speak_wss(tally, edge)


def countdown(number: int = 1, steps: int = STEPS) -> dict[str, object]:
    """A call that reports its progress in even steps."""
    arguments = {"steps": steps, "interval_ms": int(INTERVAL_S * 1000)}
    params = {"name": "countdown", "arguments": arguments, "_meta": {"progressToken": "steps"}}
    return rpc(number, "tools/call", params)


def event_by_event(tally: Tally, path: str, stream: Stream) -> None:
    """Progress comes as it is made: neither held back nor in bursts."""
    came: list[float] = []
    while True:
        event = stream.next()
        if event is None:
            raise Failure(f"{path} ended before the answer came")
        # The first event of a stream may hold nothing but its id.
        message = json.loads(event.data or "{}")
        if message.get("method") == "notifications/progress":
            came.append(event.at)
        elif message.get("id") == 1:
            break
    stream.close()
    gaps = [round(later - sooner, 2) for sooner, later in zip(came, came[1:], strict=False)]
    # On a machine that is busy a step may be late, and the next one then early.
    even = len(came) >= STEPS - 1 and sorted(gaps)[len(gaps) // 2] >= INTERVAL_S * 0.7
    even = even and came[-1] - came[0] >= INTERVAL_S * (len(came) - 1) * 0.8
    tally.check(f"{path} over TLS: event by event, {gaps} s apart", even, "in bursts")


def speak_wss(tally: Tally, edge: Address) -> None:
    made = WebSocket(edge, "/ws")
    chosen = (made.status, made.headers.get("sec-websocket-protocol"))
    tally.check("wss: upgraded, subprotocol mcp", chosen == (101, "mcp"), chosen)
    made.send(rpc(0, "initialize", initialize("2025-11-25")))
    answer = made.receive()
    tally.check("wss: initialize is answered", "result" in answer, answer)
    made.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    made.send(countdown())
    came: list[float] = []
    while (message := made.receive()).get("id") != 1:
        if message.get("method") == "notifications/progress":
            came.append(time.monotonic())
    apart = came[-1] - came[0] if came else 0.0
    tally.check("wss: messages as they are sent", apart >= INTERVAL_S * (STEPS - 2) * 0.8, apart)
    made.close()


def containers(stack: Stack) -> None:
    """What a container may do: as it is told, and by trying."""
    docker, tally = stack.docker, stack.tally
    published: list[tuple[str, str]] = []
    for each in docker.must("docker", "ps", "--quiet").split():
        told = docker.inspect(each)
        name, host = told["Name"].strip("/"), told["HostConfig"]
        for bindings in (told["NetworkSettings"]["Ports"] or {}).values():
            published += [(one["HostIp"], one["HostPort"]) for one in bindings or []]
        user = told["Config"]["User"].split(":")[0]
        faults = {
            "root": user in ("", "0", "root"),
            "root file system": not host["ReadonlyRootfs"],
            "capabilities": host["CapDrop"] != ["ALL"] or host["CapAdd"],
            "new privileges": not any("no-new-privileges" in it for it in host["SecurityOpt"]),
            "memory": not host["Memory"],
            "processes": not host["PidsLimit"],
            "processors": not host["NanoCpus"],
            "log": host["LogConfig"]["Config"].get("max-size") != "10m",
            "privileged": host["Privileged"],
            "the engine": any("docker.sock" in it for it in host["Binds"] or []),
        }
        wrong = [what for what, is_so in faults.items() if is_so]
        tally.check(f"{name}: bounded, without rights, by inspection", not wrong, wrong)
        confined(stack, name, each)
    expected = sorted(("127.0.0.1", port) for port in ("80", "443", "3000", "9090", "9091"))
    tally.check("only loopback is published", sorted(published) == expected, published)
    redis = stack.address_of("redis", "backend")
    reach = f"timeout 3 bash -c 'exec 3<>/dev/tcp/{redis}/6379' && echo reached || echo not reached"
    for service, expected_word in (("mcp-gateway", "reached"), ("nginx", "not reached")):
        # What the shell says of the one it ended may come before or after.
        said = docker.must("docker", "exec", stack.one(service), "bash", "-c", reach).splitlines()
        tally.check(f"{service}: Redis is {expected_word}", expected_word in said, said)
    code, said = docker.run("docker", "exec", stack.one("nginx"), "getent", "hosts", "redis")
    tally.check("nginx: Redis has no name", code != 0, said)


def confined(stack: Stack, name: str, container: str) -> None:
    docker = stack.docker
    said = docker.must("docker", "exec", container, "cat", "/proc/self/status")
    status = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    rights = [status[it].strip() for it in ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs")]
    none = "0" * 16
    holds = rights == [none, none, none, "1"] and status["Uid"].split()[0] != "0"
    stack.tally.check(f"{name}: no capabilities, not root, by trying", holds, rights)
    code, said = docker.run("docker", "exec", container, "touch", "/usr/local/bin/new", "/etc/new")
    refused = code != 0 and said.count("Read-only file system") == 2
    stack.tally.check(f"{name}: nothing can be written", refused, said)


def secrets_are_files(stack: Stack) -> None:
    docker, tally = stack.docker, stack.tally
    where = ["docker", "exec", stack.one("mcp-gateway"), "cat"]
    names = ("redis_password", "session_secret")
    secrets = [docker.must(*where, f"/secrets/{it}").strip() for it in names]
    tally.check("secrets were made", all(len(it) >= 32 for it in secrets), "they are short")
    for service in ("redis", "gateway-exporter"):
        has = docker.must("docker", "exec", stack.one(service), "ls", "/secrets").split()
        tally.check(f"{service} has no other secret than it needs", has == ["redis_password"], has)
    seen = []
    for each in docker.must("docker", "ps", "--all", "--quiet").split():
        _code, shown = docker.run("docker", "inspect", each)
        _code, logged = docker.run("docker", "logs", each)
        code, running = docker.run("docker", "top", each, "-ef")
        seen += [each for it in secrets if it in shown + logged + (running if code == 0 else "")]
    tally.check("no secret in an environment, a command line or a log", not seen, seen)
    bare = "$(ls /usr/local/bin/redis-cli /usr/bin/redis-cli 2>/dev/null | head -n 1)"
    asked = "; ".join(f"{bare} {it}" for it in ("ping", "get x", "--user gateway ping"))
    asked += f"; {bare} --user default -a '' ping; {bare} --user gateway -a guess ping"
    said = docker.must("docker", "exec", "mcp-gateway-redis", "sh", "-c", asked)
    refused = "PONG" not in said and said.count("NOAUTH") >= 4
    tally.check("without the password Redis says nothing", refused, said)
    refused = docker.must(
        *("docker", "exec", "mcp-gateway-redis", "sh", "-c"),
        "redis-cli flushall; redis-cli config get dir; redis-cli set x 1; redis-cli keys '*'",
    )
    tally.check("the gateway's user keeps to its keys", refused.count("NOPERM") == 4, refused)
    for name, value in PLACEHOLDERS.items():
        words = ["docker-compose", "run", "--rm", "-T", "-e", f"{name}={value}", "secrets"]
        code, said = docker.run(*words)
        tally.check(f"the placeholder {name} is refused", code == 78, (code, said[-300:]))


def operators_files(stack: Stack) -> None:
    """Basic auth and a certificate of one's own, by the commands of a README."""
    docker, tally = stack.docker, stack.tally
    if any(it.exists() for it in (HTPASSWD, OWN_CERTIFICATE, OWN_KEY)):
        raise Failure("there is an .htpasswd or a certificate in nginx/ already: not touched")
    try:
        made = run(
            ["openssl", "req", "-x509", "-nodes", "-days", "365", "-newkey", "rsa:2048", "-keyout"]
            + [str(OWN_KEY), "-out", str(OWN_CERTIFICATE), "-subj", "/CN=localhost"]
            + ["-addext", "subjectAltName=DNS:localhost"],
            60,
        )
        hashed = run(["openssl", "passwd", "-apr1", "secret"], 10)
        if made[0] or hashed[0]:
            raise Failure(f"openssl: {made[1]} {hashed[1]}")
        os.chown(OWN_KEY, 65532, 65532)
        HTPASSWD.write_text(f"admin:{hashed[1].strip()}\n")
        words = ["docker-compose", "up", "-d", "--force-recreate", "--no-deps", "nginx"]
        docker.env["BASIC_AUTH_FILE"] = "/nginx/.htpasswd"
        docker.must(*words)
        stack.healthy("nginx", 1)
        trust = f"-s --cacert {OWN_CERTIFICATE} -o /dev/null -w %{{http_code}}"
        for what, command, expected in (
            ("without a password", f"curl {trust} https://localhost/", "401"),
            ("with another password", f"curl {trust} -u admin:guess https://localhost/", "401"),
            ("with the password", f"curl {trust} -u admin:secret https://localhost/", "200"),
            ("health", f"curl {trust} https://localhost/health", "200"),
            ("probes", f"curl {trust} https://localhost/health/ready", "200"),
            ("MCP, which has tokens", f"curl {trust} -X DELETE https://localhost/mcp", "400"),
        ):
            said = stack.shell(command)
            tally.check(f"basic auth, own certificate: {what}", said == expected, said)
        for who, words_too in (("who has no password", ""), ("who has it", "-u admin:secret")):
            said = stack.shell(f"curl -s {words_too} http://localhost:3000/health")
            names = "backends" in json.loads(said)
            tally.check(f"basic auth: health names servers to {who}", names == bool(words_too), said)
    finally:
        for it in (HTPASSWD, OWN_CERTIFICATE, OWN_KEY):
            it.unlink(missing_ok=True)
        docker.env.pop("BASIC_AUTH_FILE", None)
    docker.must(*words)
    stack.healthy("nginx", 1)
    status, _headers, _text = stack.edge.ask("GET", "/")
    tally.check("and without them again", status == 200, status)


def first_config(stack: Stack) -> None:
    """The gateway.json of the project's first README."""
    docker, tally = stack.docker, stack.tally
    words = ["docker-compose", "up", "-d", "--force-recreate", "--no-deps", "mcp-gateway"]
    try:
        CONFIG.write_text(json.dumps(FIRST_CONFIG))
        code, said = docker.run(
            *("docker-compose", "run", "--rm", "-T", "--no-deps", "mcp-gateway", "validate")
        )
        told = code == 78 and "placeholder" in said
        tally.check("the first README's own secret is refused", told, (code, said[-300:]))
        session = {**FIRST_CONFIG["session"], "secret": "5f1c" * 16}
        CONFIG.write_text(json.dumps({**FIRST_CONFIG, "session": session}))
        docker.must(*words)
        stack.healthy("mcp-gateway", 1)
        origin = {"Origin": "https://page.example"}
        caller = Caller(stack.edge)
        caller.open()
        # It names no servers, so there is nothing to call.
        listed = rpc(1, "tools/list", {})
        status, _headers, text = stack.edge.ask("POST", "/mcp", listed, caller.headers())
        tally.check("with a secret it serves", status == 200 and b'"tools"' in text, text[:300])
        _status, headers, _text = stack.edge.ask("GET", "/health", headers=origin)
        allowed = headers.get("access-control-allow-origin")
        tally.check("its cors counts", allowed in ("*", origin["Origin"]), headers)
    finally:
        CONFIG.unlink(missing_ok=True)
    docker.must(*words)
    stack.healthy("mcp-gateway", 1)


def operate(stack: Stack) -> None:
    """Commands of docs/operate.md, as they are written there."""
    tally = stack.tally
    inside = "docker-compose exec -T mcp-gateway "
    sse = "mcp-gateway probe sse -n 1"
    for command, expected in (
        (f"{inside}{sse} http://localhost:3000/sse", "endpoint"),
        (f"{inside}{sse} -k -H 'Host: localhost' https://nginx:8443/sse", "endpoint"),
        (f"{inside}mcp-gateway probe ws -k -H 'Host: localhost' https://nginx:8443/ws", "opened"),
        (f"{inside}mcp-gateway probe mcp -k -H 'Host: localhost' https://nginx:8443/mcp", "greeted"),
        ("docker-compose exec -T gateway-exporter gateway-exporter --check; echo =$?", "=0"),
        (f"{inside}curl -s http://localhost:9100/metrics", "process_open_fds"),
        ("docker-compose run --rm --no-deps -T mcp-gateway validate; echo =$?", "=0"),
    ):
        said = stack.shell(command)
        tally.check(f"operate.md: {command}", expected in said, said[-300:])
    said = stack.shell("docker exec mcp-gateway-redis redis-cli slowlog get; echo =$?")
    tally.check("operate.md: slowlog get", "NOPERM" not in said and "=0" in said, said[-300:])
    saved = stack.shell(
        'docker-compose run --rm -T --entrypoint "tar -C /secrets -c ." secrets | tar -t'
    )
    tally.check("operate.md: secrets are saved", "session_secret" in saved, saved[-300:])


def rolls(stack: Stack) -> None:
    """The upgrade of docs/operate.md: none of the replicas of before is left, and none comes back."""
    docker, tally = stack.docker, stack.tally
    docker.env["GATEWAY_REPLICAS"] = "2"
    docker.compose("up", "-d", deadline_s=SCALE_DEADLINE_S)
    stack.healthy("mcp-gateway", 2)
    tally.ok("GATEWAY_REPLICAS=2 is for good")
    before = stack.ids("mcp-gateway")
    for oldest in before:
        more = ["up", "-d", "--no-deps", "--scale", "mcp-gateway=3", "--no-recreate"]
        docker.compose(*more, "mcp-gateway", deadline_s=SCALE_DEADLINE_S)
        stack.healthy("mcp-gateway", 3)
        docker.must("docker", "stop", "-t", "45", oldest)
        docker.must("docker", "rm", oldest)
    stack.healthy("mcp-gateway", 2)
    left = set(before) & set(stack.ids("mcp-gateway"))
    tally.check("a rolling upgrade leaves none of the old replicas", not left, left)
    docker.env.pop("GATEWAY_REPLICAS")


def monitoring(stack: Stack) -> None:
    """Prometheus finds the exporter and each replica. Grafana is in no Debian package."""
    docker, tally = stack.docker, stack.tally
    text = COMPOSE.read_text()
    for service in ("prometheus", "grafana"):
        check = rf"^  {service}:\n(?:    .*\n)*    healthcheck:\n"
        found_check = re.search(check, text, re.MULTILINE) is not None
        tally.check(f"{service} has a health check", found_check, "none in docker-compose.yml")
    docker.compose("--profile", "monitoring", "up", "-d", "prometheus")
    stack.healthy("prometheus", 1)
    deadline = time.monotonic() + 60
    wanted = {"mcp-gateway": ["1"], "mcp-gateway-replicas": ["1"]}
    found: dict[str, list[str]] = {}
    while found != wanted and time.monotonic() < deadline:
        time.sleep(1)
        with suppress(OSError, ValueError, KeyError):
            _status, _headers, text = Address(9090).ask("GET", "/api/v1/query?query=up")
            found = {}
            for each in json.loads(text)["data"]["result"]:
                found.setdefault(each["metric"]["job"], []).append(each["value"][1])
            found = {job: values for job, values in found.items() if job in wanted}
    tally.check("Prometheus scrapes the exporter and the replica", found == wanted, found)
    _status, _headers, text = Address(9090).ask("GET", "/api/v1/rules")
    groups = json.loads(text)["data"]["groups"]
    bad = [rule["name"] for group in groups for rule in group["rules"] if rule.get("lastError")]
    tally.check("its rules are loaded and evaluate", bool(groups) and not bad, bad or "no rules")


class Load:
    """Clients that call all the while: sessions that last, and one session after the other."""

    def __init__(self, edge: Address) -> None:
        self.edge = edge
        self.stop = threading.Event()
        self.callers: list[Caller] = []
        self.opened = 0
        self.churn: list[str] = []
        self.listeners: list[Listener] = []
        self.heard = 0
        self.threads: list[threading.Thread] = []

    def join(self, callers: int, listeners: int) -> None:
        """More sessions, on the replicas that are there at that moment."""
        for _each in range(callers):
            caller = Caller(self.edge)
            caller.open()
            self.callers.append(caller)
        self.listeners += [Listener(self.edge) for _each in range(listeners)]

    def start(self, callers: list[Caller]) -> None:
        for caller in callers:
            self._spawn(caller.run, self.stop)

    def churn_too(self) -> None:
        self._spawn(self._open_and_call)
        self._spawn(self._call_and_listen)

    def _spawn(self, work: Callable[..., None], *words: object) -> None:
        thread = threading.Thread(target=work, args=words, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _open_and_call(self) -> None:
        while not self.stop.is_set():
            caller = Caller(self.edge)
            try:
                caller.open()
                made = self.edge.connection()
                for _each in range(5):
                    caller.call(made)
                made.close()
                self.edge.ask("DELETE", "/mcp", headers=caller.headers())
            except (Failure, OSError) as fault:
                self.churn.append(repr(fault))
            self.opened += 1
            self.churn += caller.failures
            self.stop.wait(0.2)

    def _call_and_listen(self) -> None:
        while not self.stop.is_set():
            for listener in list(self.listeners):
                try:
                    listener.call()
                    self.heard += 1
                except (Failure, OSError) as fault:
                    listener.faults.append(repr(fault))
            self.stop.wait(0.2)

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(40)

    @property
    def answered(self) -> int:
        return sum(caller.answered for caller in self.callers)

    @property
    def failures(self) -> list[str]:
        return [it for caller in self.callers for it in caller.failures]


def scales(stack: Stack) -> None:
    tally = stack.tally
    load = Load(stack.edge)
    load.join(callers=2, listeners=2)
    load.churn_too()
    load.start(load.callers)
    try:
        for count in (3, 5, 2):
            begun, before = time.monotonic(), load.answered
            stack.docker.compose(
                "up", "-d", "--scale", f"mcp-gateway={count}", deadline_s=SCALE_DEADLINE_S
            )
            stack.healthy("mcp-gateway", count)
            # With new replicas a while, so that they get their share.
            time.sleep(4)
            took, calls = time.monotonic() - begun, load.answered - before
            tally.check(f"--scale mcp-gateway={count}: calls go on", calls > 20, calls)
            print(f"# {count} replicas after {took:.0f} s, {calls} calls meanwhile", flush=True)
            if count > 2:
                known = len(load.callers)
                load.join(callers=1, listeners=4)
                load.start(load.callers[known:])
    finally:
        load.end()
    faults = load.failures + load.churn
    what = f"3, 5 and 2 replicas: {load.answered} calls, {load.opened} sessions, 0 failed"
    tally.check(what, not faults, f"{len(faults)}: {faults[:5]}")
    faults = [it for listener in load.listeners for it in listener.faults]
    resumed = sum(listener.resumed for listener in load.listeners)
    what = f"{len(load.listeners)} SSE sessions, {load.heard} answers: resumed {resumed} times"
    tally.check(what, not faults and resumed > 0, f"{len(faults)}: {faults[:5]}")
    for listener in load.listeners:
        listener.close()


def figures(stack: Stack) -> None:
    """Every panel, rule and alert finds something, while the stack is used."""
    tally = stack.tally
    asked = panels() + rules()
    tally.check("the dashboard and the rules ask", len(asked) > 80, len(asked))
    load = Load(stack.edge)
    load.join(callers=2, listeners=1)
    load.churn_too()
    load.start(load.callers)
    deadline = time.monotonic() + FIGURES_DEADLINE_S
    # An expression that nothing can answer is there too, so that an empty answer is seen as one.
    empty = [*asked, CANARY]
    try:
        while empty != [CANARY] and time.monotonic() < deadline:
            err(load.callers[0])
            empty = [(place, it) for place, it in empty if not series(it)]
            time.sleep(1)
    finally:
        load.end()
        for listener in load.listeners:
            listener.close()
    tally.check(
        f"{len(asked)} panels, rules and alerts find something", empty == [CANARY], empty[:20]
    )


def panels() -> list[tuple[str, str]]:
    """What the dashboard asks, with nothing left that only Grafana knows."""
    asked = []
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            for name, value in (("__rate_interval", "1m"), ("backend", ".*"), ("instance", ".*")):
                expression = expression.replace(f"${name}", value)
            asked.append((f"panel {panel['title']}", expression))
    return asked


def rules() -> list[tuple[str, str]]:
    """The rules that Prometheus has; those of alerts have a value whether they hold or not."""
    _status, _headers, text = Address(9090).ask("GET", "/api/v1/rules")
    asked = []
    for rule in (it for group in json.loads(text)["data"]["groups"] for it in group["rules"]):
        expression = rule["query"]
        if rule["type"] == "alerting":
            expression = re.sub(r" (==|>|<|>=|<=) ", r" \1 bool ", expression)
        asked.append((f"rule {rule['name']}", expression))
    return asked


def series(expression: str) -> list[object]:
    """What Prometheus has of it at this moment, those left out that are no number."""
    path = f"/api/v1/query?{urlencode({'query': expression})}"
    _status, _headers, text = Address(9090).ask("GET", path)
    answer = json.loads(text)
    if answer["status"] != "success":
        raise Failure(f"{expression}: {answer}")
    return [it for it in answer["data"]["result"] if it["value"][1] != "NaN"]


def err(caller: Caller) -> None:
    """What clients do wrong, so that it is counted."""
    edge, headers = caller.address, caller.headers()
    edge.ask("POST", "/mcp", rpc(1, "no/such/method"), headers)
    edge.ask("POST", "/mcp", rpc(2, "tools/call", {"name": "no-such-tool"}), headers)
    edge.ask("POST", "/mcp", rpc(3, "tools/list"), {**headers, "Mcp-Session-Id": "unknown"})


def survives_a_kill(stack: Stack) -> None:
    """What docs/reliability.md promises of a replica that is killed."""
    tally = stack.tally
    load = Load(stack.edge)
    # So many that each replica has some: which one a session begins at is chance.
    load.join(callers=3, listeners=12)
    callers, listeners = load.callers, load.listeners
    for caller in callers:
        with_connection(caller)
    # These are: they last longer than it takes to begin all of them and to kill a replica.
    flying = [(it, it.begin(lambda number: countdown(number, LONG))) for it in listeners]
    stack.docker.must("docker", "kill", stack.ids("mcp-gateway")[0])
    begun = time.monotonic()
    # These are not in flight when it is killed: each is sent once, waits, and succeeds.
    for caller in callers:
        with_connection(caller)
    answers = attempts(listeners, lambda it: it.call(40))
    took = time.monotonic() - begun
    faults = [it for caller in callers for it in caller.failures]
    tally.check(
        f"a replica is killed: {len(callers)} sessions go on, no later call fails",
        not faults and all(caller.answered == 2 for caller in callers),
        faults,
    )
    wrong = [it for it in answers if not is_sum(it, it.get("id", -1))]
    faults = [fault for it in listeners for fault in it.faults]
    resumed = sum(it.resumed for it in listeners)
    tally.check(
        f"a replica is killed: {len(answers)} SSE sessions go on after {took:.0f} s, "
        f"{resumed} taken up, no later call fails",
        not wrong and not faults and resumed > 0,
        (faults[:5], wrong),
    )
    ends = [it.answer(number, 40) for it, number in flying]
    unknown = [it for it in ends if is_unknown(it)]
    wrong = [it for it in ends if "result" not in it and not is_unknown(it)]
    tally.check(
        f"a replica is killed: of {len(ends)} calls in flight the outcome of {len(unknown)} is "
        "told to be unknown, and the others end",
        bool(unknown) and not wrong,
        wrong or "none was in flight there",
    )
    for listener in listeners:
        listener.close()
    stack.docker.compose("up", "-d", "--scale", "mcp-gateway=2", deadline_s=SCALE_DEADLINE_S)
    stack.healthy("mcp-gateway", 2)
    tally.ok("docker-compose up brings the replica back")


def attempts(
    listeners: list[Listener], ask: Callable[[Listener], dict[str, object]]
) -> list[dict[str, object]]:
    """The answers of all; of a session that has none, why."""
    answers: list[dict[str, object]] = []
    for listener in listeners:
        try:
            answers.append(ask(listener))
        except (Failure, OSError) as fault:
            answers.append({"fault": str(fault)})
    return answers


def is_unknown(answer: dict[str, object]) -> bool:
    error = answer.get("error") or {}
    return error.get("code") == OUTCOME_UNKNOWN and error["data"]["dispatched"] == "unknown"


def with_connection(caller: Caller) -> None:
    made = caller.address.connection()
    caller.call(made)
    made.close()


def patient(caller: Caller, deadline: float) -> None:
    """Calls until one is answered."""
    answered = caller.answered
    while caller.answered == answered and time.monotonic() < deadline:
        try:
            with_connection(caller)
        except OSError as fault:
            caller.failures.append(repr(fault))
        time.sleep(0.2)


def comes_up_again(stack: Stack) -> None:
    """Down and up: what is in volumes is as it was, sessions too."""
    docker, tally = stack.docker, stack.tally
    caller = Caller(stack.edge)
    caller.open()
    with_connection(caller)
    before = stack.authority
    docker.compose(*ALL, "down", deadline_s=SCALE_DEADLINE_S)
    left = docker.must("docker", "ps", "--all", "--quiet").split()
    tally.check("down leaves no container", not left, left)
    docker.compose("up", "-d", deadline_s=SCALE_DEADLINE_S)
    stack.healthy("nginx", 1)
    stack.trusting()
    tally.check("up again: the same authority", stack.authority == before, "it is another one")
    said = stack.shell("curl -s http://localhost:3000/health")
    tally.check("up again: healthy on port 3000", '"healthy"' in said, said[:200])
    patient(caller, time.monotonic() + 30)
    tally.check("up again: a session goes on", caller.answered == 2, caller.failures[-2:])


def compose_v2(stack: Stack) -> None:
    """docker-compose v2 takes over what 1.29 has started, and makes the same of the file."""
    docker, tally = stack.docker, stack.tally
    program = str(compose_program())
    if not compose_program().exists():
        raise Failure("there is no docker-compose v2: what compose.sh said is above")
    version = docker.compose("version", "--short").strip()
    if not version.startswith("1."):
        raise Failure(f"docker-compose is {version} here: there is no 1.x to compare v2 with")
    networks = networks_joined(docker)
    docker.must(program, "build", deadline_s=400)
    docker.must(program, "up", "-d", deadline_s=SCALE_DEADLINE_S)
    before = stack.authority
    for service in ("redis", "mcp-gateway", "nginx", "gateway-exporter"):
        stack.healthy(service, 1)
    stack.trusting()
    tally.check("v2 takes over: the same authority", stack.authority == before, "another one")
    joined = networks_joined(docker)
    tally.check("v2 takes over: the same networks", joined == networks, (networks, joined))
    docker.must(program, "up", "-d", "--scale", "mcp-gateway=2", deadline_s=SCALE_DEADLINE_S)
    stack.healthy("mcp-gateway", 2)
    status, _headers, text = stack.edge.ask("GET", "/health")
    tally.check("v2: up and scaled", status == 200, text[:200])
    shown = docker.must(program, "ps", "--services").split()
    expected = sorted(["gateway-exporter", "mcp-gateway", "nginx", "redis"])
    tally.check("v2: ps", sorted(shown) == expected, shown)
    docker.must(program, *ALL, "down", deadline_s=SCALE_DEADLINE_S)
    left = docker.must("docker", "ps", "--all", "--quiet").split()
    tally.check("v2: down leaves no container", not left, left)
    made = []
    for each in ("docker-compose", program):
        docker.must(each, *ALL, "create")
        made.append(containers_made(docker))
        docker.must(each, *ALL, "down")
    old, new = made
    wanted = set(docker.compose(*ALL, "config", "--services").split())
    tally.check("both make every service", set(old) == set(new) == wanted, (set(old), set(new)))
    for service in sorted(old.keys() | new.keys()):
        pair = old.get(service, {}), new.get(service, {})
        differ = {it: (pair[0][it], pair[1].get(it)) for it in pair[0] if pair[0][it] != pair[1].get(it)}
        tally.check(f"v2 makes {service} as 1.29 does", bool(pair[0]) and not differ, differ)


def networks_joined(docker: Engine) -> dict[str, list[str]]:
    """The networks of each service that runs; 1.29 joins them only as it starts a container."""
    joined = {}
    for each in docker.must("docker", "ps", "--quiet").split():
        told = docker.inspect(each)
        service = told["Config"]["Labels"]["com.docker.compose.service"]
        joined[service] = sorted(told["NetworkSettings"]["Networks"])
    return joined


def containers_made(docker: Engine) -> dict[str, dict[str, object]]:
    """What each service's container may, has and is told, whoever made it."""
    made = {}
    for each in docker.must("docker", "ps", "--all", "--quiet").split():
        told = docker.inspect(each)
        config, host = told["Config"], told["HostConfig"]
        service = config["Labels"]["com.docker.compose.service"]
        # Each has its own way to say which volumes there are.
        mounts = [(it["Destination"], it["RW"], it.get("Name", it["Source"])) for it in told["Mounts"]]
        for what in ("Binds", "Mounts"):
            host.pop(what, None)
        words = ("Cmd", "Entrypoint", "Env", "Healthcheck", "Image", "StopSignal", "User")
        all_of_it = {**host, **{it: config.get(it) for it in words}}
        all_of_it["Env"] = sorted(config["Env"] or [])
        made[service] = {it: value or None for it, value in all_of_it.items()} | {"on": sorted(mounts)}
    return made


if __name__ == "__main__":
    if COMPILE:
        compiled.fetch()
    enter(compiled.workshop if COMPILE else None)
    code = suite_main("stack", suite)
    give_back()
    sys.exit(code)
