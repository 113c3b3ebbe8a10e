"""Small clients over TLS that see bytes as they come: HTTP, event streams, WebSocket."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, Queue
from urllib.parse import urlsplit

from world import Failure

WAIT_S = 30.0
CLIENT = {"name": "stack", "version": "1"}


def initialize(version: str) -> dict[str, object]:
    return {"protocolVersion": version, "capabilities": {}, "clientInfo": CLIENT}


def rpc(number: int, method: str, params: dict[str, object] | None = None) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params or {}}


def add(number: int) -> dict[str, object]:
    """A call whose answer tells which call it is of."""
    return rpc(number, "tools/call", {"name": "add", "arguments": {"a": number, "b": 1}})


def is_sum(answer: dict[str, object], number: int) -> bool:
    result = answer.get("result") or {}
    return (result.get("structuredContent") or {}).get("sum") == number + 1


@dataclass
class Address:
    """Where the stack is reached, and whose certificates are believed there."""

    port: int
    trust: ssl.SSLContext | None = None
    name: str = "localhost"

    def dial(self, timeout_s: float = WAIT_S) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)
        if self.trust is None:
            return plain
        try:
            return self.trust.wrap_socket(plain, server_hostname=self.name)
        except BaseException:
            plain.close()
            raise

    def connection(self, timeout_s: float = WAIT_S) -> http.client.HTTPConnection:
        """A connection that is kept for several requests."""
        made = http.client.HTTPConnection(self.name, self.port, timeout=timeout_s)
        made.sock = self.dial(timeout_s)
        # Dialled here, and so never again by itself: a request that fails has failed.
        made.auto_open = 0
        return made

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
        timeout_s: float = WAIT_S,
    ) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own."""
        made = self.connection(timeout_s)
        try:
            return exchange(made, method, path, body, headers)
        finally:
            made.close()


def exchange(
    made: http.client.HTTPConnection,
    method: str,
    path: str,
    body: object = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, str], bytes]:
    """One request and the whole answer; names of headers in lower case."""
    sent = dict(headers or {})
    text = None
    if body is not None:
        text = json.dumps(body)
        sent.setdefault("Content-Type", "application/json")
        sent.setdefault("Accept", "application/json, text/event-stream")
    made.request(method, path, text, sent)
    answer = made.getresponse()
    given = {name.lower(): value for name, value in answer.getheaders()}
    return answer.status, given, answer.read()


@dataclass
class Event:
    """One event of a stream, and when its last byte came."""

    name: str
    data: str
    id: str
    at: float


class Stream:
    """An event stream that is read as it comes, by a thread of its own."""

    def __init__(
        self,
        address: Address,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.events: Queue[Event | None] = Queue()
        self.made = address.connection()
        sent = {"Accept": "text/event-stream", **(headers or {})}
        text = None
        if body is not None:
            text = json.dumps(body)
            sent |= {
                "Content-Type": "application/json",
                "Accept": "application/json, text/event-stream",
            }
        self.made.request("POST" if body is not None else "GET", path, text, sent)
        # A stream is silent for 15 s at the most.
        self.made.sock.settimeout(WAIT_S)
        self.answer = self.made.getresponse()
        self.status = self.answer.status
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        fields: dict[str, str] = {}
        with suppress(OSError, http.client.HTTPException, ValueError, AttributeError):
            while line := self.answer.readline():
                text = line.decode().rstrip("\r\n")
                if text:
                    name, _, value = text.partition(":")
                    fields[name] = value.removeprefix(" ")
                elif "data" in fields:
                    made = Event(
                        fields.get("event", "message"),
                        fields["data"],
                        fields.get("id", ""),
                        time.monotonic(),
                    )
                    self.events.put(made)
                    fields = {}
                else:
                    fields = {}
        self.events.put(None)

    def next(self, timeout_s: float = WAIT_S) -> Event | None:
        """The next event; `None` at the end of the stream."""
        try:
            return self.events.get(timeout=timeout_s)
        except Empty:
            raise Failure(f"no event within {timeout_s} s") from None

    def close(self) -> None:
        # Shut down first: the reader holds the socket until its read ends.
        with suppress(OSError, AttributeError):
            self.made.sock.shutdown(socket.SHUT_RDWR)
        self.made.close()


class WebSocket:
    """Text frames, with whole messages in each."""

    def __init__(self, address: Address, path: str) -> None:
        self.socket = address.dial()
        key = base64.b64encode(os.urandom(16)).decode()
        head = (
            f"GET {path} HTTP/1.1\r\nHost: {address.name}:{address.port}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: mcp\r\n\r\n"
        )
        self.socket.sendall(head.encode())
        self.reader = self.socket.makefile("rb")
        self.status = int(self.reader.readline().split()[1])
        self.headers: dict[str, str] = {}
        while line := self.reader.readline().decode().strip():
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()

    def send(self, message: object) -> None:
        payload = json.dumps(message).encode()
        mask = os.urandom(4)
        size = len(payload)
        head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else b""
        head = head or struct.pack("!BBH", 0x81, 0x80 | 126, size)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self.socket.sendall(head + mask + masked)

    def receive(self) -> dict[str, object]:
        """The next text frame; pings are left to the gateway's patience."""
        while True:
            first, second = self.reader.read(2)
            size = second & 0x7F
            if size >= 126:
                size = int.from_bytes(self.reader.read(2 if size == 126 else 8), "big")
            payload = self.reader.read(size)
            if first & 0x0F == 1:
                return json.loads(payload)
            if first & 0x0F == 8:
                raise Failure(f"the WebSocket was closed: {payload[:2].hex()}")

    def close(self) -> None:
        with suppress(OSError):
            self.socket.close()


@dataclass
class Caller:
    """A client on `/mcp` that calls without a pause; nothing is ever sent a second time."""

    address: Address
    session: str = ""
    answered: int = 0
    failures: list[str] = field(default_factory=list)
    number: int = 0

    def open(self) -> None:
        body = rpc(0, "initialize", initialize("2025-11-25"))
        status, headers, text = self.address.ask("POST", "/mcp", body)
        if status != 200:
            raise Failure(f"initialize was answered with {status}: {text[:200]!r}")
        self.session = headers["mcp-session-id"]
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        self.address.ask("POST", "/mcp", note, self.headers())

    def headers(self) -> dict[str, str]:
        return {"Mcp-Session-Id": self.session, "MCP-Protocol-Version": "2025-11-25"}

    def run(self, stop: threading.Event, calls_each: int = 20) -> None:
        """Calls until told to stop, some on one connection, the next on another."""
        while not stop.is_set():
            try:
                made = self.address.connection()
            except OSError as fault:
                self.failures.append(f"connection: {fault!r}")
                continue
            try:
                for _call in range(calls_each):
                    if stop.is_set() or not self.call(made):
                        break
            finally:
                made.close()

    def call(self, made: http.client.HTTPConnection) -> bool:
        """One call; whether the connection may be used again."""
        self.number += 1
        try:
            status, headers, text = exchange(made, "POST", "/mcp", add(self.number), self.headers())
        except (OSError, http.client.HTTPException) as fault:
            self.failures.append(f"call {self.number}: {fault!r}")
            return False
        if status != 200:
            self.failures.append(f"call {self.number}: {status} {text[:300]!r}")
            return False
        if "text/event-stream" in headers.get("content-type", ""):
            self.take(next(data_of(text), "{}"))
        else:
            self.take(text.decode())
        return headers.get("connection", "").lower() != "close"

    def take(self, text: str) -> None:
        if is_sum(json.loads(text), self.number):
            self.answered += 1
        else:
            self.failures.append(f"call {self.number}: {text[:300]}")


def data_of(text: bytes):
    for line in text.decode().splitlines():
        if line.startswith("data:") and line[5:].strip():
            yield line[5:].strip()


class Listener:
    """A client on `/sse` as a browser's: it comes back with the last id, and goes on."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.path = ""
        self.last_id = ""
        self.number = 0
        self.resumed = 0
        self.faults: list[str] = []
        self.answers: dict[int, dict[str, object]] = {}
        self.arrived = threading.Condition()
        self.over = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()
        self.wait(lambda: bool(self.path), "the endpoint")
        self.post(rpc(0, "initialize", initialize("2024-11-05")))
        self.wait(lambda: 0 in self.answers, "the answer to initialize")
        self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def _listen(self) -> None:
        while not self.over.is_set():
            headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
            try:
                stream = Stream(self.address, "/sse", headers=headers)
            except (OSError, http.client.HTTPException):
                self.over.wait(0.2)
                continue
            self.stream = stream
            if stream.status != 200:
                stream.close()
                self.over.wait(0.2)
                continue
            self._follow(stream)
            stream.close()

    def _follow(self, stream: Stream) -> None:
        while not self.over.is_set():
            try:
                event = stream.next()
            except Failure as failure:
                self._fault(str(failure))
                return
            if event is None:
                return
            with self.arrived:
                self._take(event)
                self.arrived.notify_all()

    def _take(self, event: Event) -> None:
        self.last_id = event.id or self.last_id
        if event.name == "endpoint":
            if self.path and event.data != self.path:
                self.faults.append("the session is another one")
            self.resumed += bool(self.path)
            self.path = event.data
        elif event.name == "gap":
            self.faults.append("a gap was told")
        else:
            answer = json.loads(event.data)
            if "method" in answer:
                return
            if answer["id"] in self.answers:
                self.faults.append(f"answer {answer['id']} came twice")
            self.answers[answer["id"]] = answer

    def _fault(self, what: str) -> None:
        with self.arrived:
            self.faults.append(what)

    def wait(self, holds, what: str, timeout_s: float = WAIT_S) -> None:
        with self.arrived:
            if not self.arrived.wait_for(holds, timeout_s):
                raise Failure(f"{what} did not come within {timeout_s} s")

    def post(self, message: dict[str, object]) -> None:
        parts = urlsplit(self.path)
        path = f"{parts.path}?{parts.query}"
        status, _headers, text = self.address.ask("POST", path, message)
        if status != 202:
            what = f"{message['method']} {message.get('id')}"
            raise Failure(f"{what} was answered with {status}: {text[:400]!r}")

    def begin(self, call: Callable[[int], dict[str, object]]) -> int:
        """A call that is acknowledged; its number."""
        self.number += 1
        self.post(call(self.number))
        return self.number

    def answer(self, number: int, timeout_s: float = WAIT_S) -> dict[str, object]:
        self.wait(lambda: number in self.answers, f"the answer to call {number}", timeout_s)
        return self.answers[number]

    def call(self, timeout_s: float = WAIT_S) -> dict[str, object]:
        """One call to its answer."""
        return self.answer(self.begin(add), timeout_s)

    def close(self) -> None:
        self.over.set()
        self.stream.close()


