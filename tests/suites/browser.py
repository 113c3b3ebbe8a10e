"""A real browser's EventSource: its stream is cut under it, and it gets what it missed.

Then the same through the shipped nginx, over TLS (`browser_edge.py`).

Debian's headless Chromium opens `browser.html`, whose stream comes through a line that is cut
when the page asks for it. Nothing but the browser itself reconnects.
"""

from __future__ import annotations

import http.server
import socket
import sys
import threading
from contextlib import suppress
from queue import Empty, Queue
from urllib.parse import unquote, urlencode, urlsplit

from browser_edge import edge
from world import FIXTURE, TESTS, Tally, World, suite_main

PAGE = TESTS / "suites" / "browser.html"
STEP_S = 60.0
EXPECTED = [
    "endpoint",
    "answer 1",
    "answer 2",
    "broken",
    "the same endpoint",
    "answer 3",
    "answer 4",
    "done",
]


class Line:
    """A way to the gateway on which event streams can be cut."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.streams: set[socket.socket] = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        start(self.accept)

    def accept(self) -> None:
        while True:
            near, _peer = self.listener.accept()
            start(self.carry, near)

    def carry(self, near: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self.target)) as far:
            start(self.pump, near, far)
            self.pump(far, near)

    def pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while some := source.recv(65536):
                if some.startswith(b"GET "):
                    self.streams.add(source)
                sink.sendall(some)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> int:
        streams, self.streams = self.streams, set()
        for stream in streams:
            with suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        return len(streams)


def start(work, *given) -> None:
    threading.Thread(target=work, args=given, daemon=True).start()


def page_server(line: Line, seen: Queue[str]) -> int:
    """Serves the page on a loopback origin of its own; its port."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == "/cut":
                line.cut()
            elif url.path == "/seen":
                seen.put(unquote(url.query))
            body = PAGE.read_bytes() if url.path == "/" else b""
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_given) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    start(server.serve_forever)
    return server.server_address[1]


def suite(world: World, tally: Tally) -> None:
    gateway = world.gateway({"fixture": {"command": [str(FIXTURE), "--stdio"]}})
    for path in ("/sse/fixture", "/fixture/sse"):
        line, seen = Line(gateway.port), Queue()
        page = page_server(line, seen)
        query = urlencode({"gateway": f"http://127.0.0.1:{line.port}{path}"})
        profile = world.logs / f"profile-{page}"
        browser = world.start(
            f"chromium-{page}",
            ["chromium-headless-shell", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
            + ["--remote-debugging-port=0", f"--user-data-dir={profile}"]
            + [f"http://127.0.0.1:{page}/?{query}"],
        )
        steps = []
        with suppress(Empty):
            while not steps or steps[-1] != "done":
                steps.append(seen.get(timeout=STEP_S))
        name = f"{path} goes on after its stream was cut"
        tally.check(name, steps == EXPECTED, f"{steps}, not {EXPECTED}")
        browser.stop()
    edge(world, tally)


if __name__ == "__main__":
    sys.exit(suite_main("browser", suite))
