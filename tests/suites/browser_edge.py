"""A real browser through the shipped nginx, over TLS: pages of allowed and of foreign origins, and
sessions that go on when the replica that had them is killed.

All names end in `.test` and lead to loopback. nginx is started by its own entrypoint, in front of
two gateways with one Redis.
"""

from __future__ import annotations

import http.server
import secrets
import signal
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from urllib.parse import unquote, urlencode, urlsplit

from replicas import redis
from world import FIXTURE, ROOT, TESTS, Gateway, Process, Tally, World, connects, free_port, run, wait_until

PAGE = TESTS / "suites" / "browser_edge.html"
ENTRYPOINT = ROOT / "nginx" / "entrypoint.sh"
STEP_S = 60.0
# The lease of an owner that was killed has to run out first.
TAKEOVER_S = 60.0
LET_IN = "fetch 200 session, sse open, ws open"
TURNED_AWAY = "fetch refused, sse refused, ws refused"
STREAM_STEPS = [
    "endpoint",
    "answer 1",
    "answer 2",
    "ready",
    "broken",
    "the same endpoint",
    "answer 3 -31002",
    "answer 4",
    "done",
]
SOCKET_STEPS = ["the same session" if it == "the same endpoint" else it for it in STREAM_STEPS]
SOCKET_STEPS[0] = "session"


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for every name below `.test`, and its key."""
    certificate, key = folder / "tls.crt", folder / "tls.key"
    names = "subjectAltName=DNS:*.test,DNS:*.evil.test,DNS:localhost,IP:127.0.0.1"
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=test"]
    command += ["-addext", names, "-keyout", str(key), "-out", str(certificate)]
    code, output = run(command, STEP_S)
    if code:
        raise RuntimeError(output)
    return certificate, key


def nginx(world: World, upstream: str, pair: tuple[Path, Path]) -> int:
    """The nginx that is shipped; the port on which it speaks TLS."""
    port, folder = free_port(), world.logs / "nginx"
    (folder / "conf.d").mkdir(parents=True)
    env = {
        "GATEWAY_UPSTREAM": upstream,
        "LISTEN_ADDRESS": "127.0.0.1",
        "HTTP_PORT": "off",
        "HTTPS_PORT": str(port),
        "STATUS_PORT": "off",
        "RUN_DIR": str(folder),
        "CONF_DIR": str(folder / "conf.d"),
        "TLS_CERT": str(pair[0]),
        "TLS_KEY": str(pair[1]),
        "ACCESS_LOG": str(folder / "access.log"),
    }
    process = world.start("nginx", [str(ENTRYPOINT)], env)
    # Its check listens too, for a moment, and answers nobody; only the server has a pid to tell.
    pid = folder / "nginx.pid"
    wait_until("nginx runs", process, lambda: pid.exists() and pid.read_text() and connects(port))
    return port


def page_server(seen: Queue[str], port: int, pair: tuple[Path, Path] | None) -> None:
    """Serves the page, over TLS when there is a certificate."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == "/seen":
                seen.put(unquote(url.query))
            body = PAGE.read_bytes() if url.path == "/" else b""
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_given) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Page)
    if pair:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    threading.Thread(target=server.serve_forever, daemon=True).start()


def browse(world: World, label: str, page: str, gateway: str, what: str) -> Process:
    """Opens the page in a browser of its own."""
    query = urlencode({"gateway": gateway, "page": page, "label": label, "do": what})
    command = ["chromium-headless-shell", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += ["--remote-debugging-port=0", f"--user-data-dir={world.logs / f'profile-{label}'}"]
    command += ["--ignore-certificate-errors", "--host-resolver-rules=MAP *.test 127.0.0.1"]
    return world.start(f"chromium-{label}", [*command, f"{page}/?{query}"])


def told(seen: Queue[str], label: str, until: str, deadline_s: float) -> list[str]:
    """The steps of a page up to that one, or all there are in time."""
    steps: list[str] = []
    with suppress(Empty):
        while not steps or not steps[-1].startswith(until):
            name, _, step = seen.get(timeout=deadline_s).partition(" ")
            if name == label:
                steps.append(step)
    return steps


def edge(world: World, tally: Tally) -> None:
    pair = certificate(world.logs)
    page, other, plain = free_port(), free_port(), free_port()
    allowed = f"https://app.test:{page}"
    settings = {"cors": {"origins": [allowed]}, "allowed_hosts": ["gateway.test"]}
    shared = {"REDIS_URL": redis(world, "redis-edge"), "SESSION_SECRET": secrets.token_hex(32)}
    servers = {"fixture": {"command": [str(FIXTURE), "--stdio"]}}

    def replica(name: str, port: int | None = None) -> Gateway:
        return world.gateway(servers, name, settings, shared, port)

    first, later = replica("edge-1"), free_port()
    port = nginx(world, f"127.0.0.1:{first.port} 127.0.0.1:{later}", pair)
    gateway = f"https://gateway.test:{port}"
    seen: Queue[str] = Queue()
    page_server(seen, page, pair)
    page_server(seen, other, pair)
    page_server(seen, plain, None)

    origins = [
        ("listed", allowed, "probe", LET_IN),
        ("loopback", f"http://localhost:{plain}", "probe", LET_IN),
        ("foreign", f"https://evil.test:{page}", "probe", TURNED_AWAY),
        ("suffix", f"https://app.test.evil.test:{page}", "probe", TURNED_AWAY),
        ("scheme", f"http://app.test:{plain}", "probe", TURNED_AWAY),
        ("port", f"https://app.test:{other}", "probe", TURNED_AWAY),
        ("null", allowed, "frame", TURNED_AWAY),
    ]
    for label, origin, what, expected in origins:
        browser = browse(world, label, origin, gateway, what)
        steps = told(seen, label, "fetch", STEP_S)
        tally.check(f"a page of {label} origin: {expected}", steps == [expected], steps)
        browser.stop()

    for label, what, expected in [
        ("sse", "stream", STREAM_STEPS),
        ("ws", "socket", SOCKET_STEPS),
    ]:
        browser = browse(world, label, allowed, gateway, what)
        steps = told(seen, label, "ready", STEP_S)
        # Only now there is another one, so it is known who has the session.
        second = replica(f"edge-2-{label}", later)
        first.process.child.send_signal(signal.SIGKILL)
        steps += told(seen, label, "done", TAKEOVER_S)
        name = f"{label} goes on through nginx after its replica was killed"
        tally.check(name, steps == expected, f"{steps}, not {expected}")
        browser.stop()
        first, later = second, first.port
