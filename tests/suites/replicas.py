"""Several gateways, the store they share, and a front that sends every request to the next one.

The front is nginx as nobody should set it up for sessions: round robin, no stickiness, a new
connection for each request, nothing tried twice. It writes down where each request went and what
came back, which the gateways cannot colour.
"""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from world import Gateway, Tally, World, connects, free_port, wait_until

# What a replica says of itself in the front's record: where, status, method, path.
RECORD = "$upstream_addr $status $request_method $uri"


@dataclass
class Replicas:
    """Gateways with one store, and the address of the front before them."""

    gateways: list[Gateway]
    port: int
    record: Path

    def url(self, path: str, scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def judge(self, tally: Tally) -> None:
        """Whether all took their share of the requests, and nobody was told of no session."""
        rows = [line.split(" ", 3) for line in self.record.read_text().splitlines()]
        share = Counter(where for where, _status, _method, _path in rows)
        each = [share[f"127.0.0.1:{gateway.port}"] for gateway in self.gateways]
        # A request is written down when it ends, so that a few may be missing here.
        in_turn = min(each) * len(each) * 2 > sum(each)
        tally.check(f"replicas took {each} requests in turn", in_turn, "the front has favourites")
        lost = [row for row in rows if row[1] == "404"]
        shown = "; ".join(" ".join(row) for row in lost[:3])
        tally.check(f"replicas said {len(lost)} times 'session not found'", not lost, shown)
        failed = [row for row in rows if row[1] >= "500"]
        shown = "; ".join(" ".join(row) for row in failed[:3])
        tally.check(f"replicas failed {len(failed)} requests", not failed, shown)


def redis(world: World, name: str = "redis") -> str:
    """A Redis that keeps nothing on disk; its URL."""
    port = free_port()
    folder = world.logs / name
    folder.mkdir()
    options = {"bind": "127.0.0.1", "port": port, "dir": folder, "save": "", "appendonly": "no"}
    words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
    process = world.start(name, ["redis-server", *words])
    wait_until(f"{name} listens", process, lambda: connects(port))
    return f"redis://127.0.0.1:{port}"


def replicas(
    world: World,
    servers: dict[str, object],
    count: int = 3,
    settings: dict[str, object] | None = None,
) -> Replicas:
    """So many gateways that share a Redis of their own, behind a front without stickiness."""
    shared = {"REDIS_URL": redis(world), "SESSION_SECRET": secrets.token_hex(32)}
    gateways = [
        world.gateway(servers, f"replica-{number}", settings, shared)
        for number in range(1, count + 1)
    ]
    port, record = front(world, [gateway.port for gateway in gateways])
    return Replicas(gateways, port, record)


def front(world: World, ports: list[int]) -> tuple[int, Path]:
    """An nginx before these ports; its own port, and where it writes down what it did."""
    port = free_port()
    folder = world.logs / "front"
    folder.mkdir()
    record = folder / "record"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"  {kind}_temp_path {folder}/{kind};" for kind in kinds)
    # `max_fails=0`: whatever a replica answers, it stays in turn.
    upstream = "\n".join(f"    server 127.0.0.1:{port} max_fails=0;" for port in ports)
    config = folder / "nginx.conf"
    config.write_text(
        f"""daemon off;
master_process off;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
{temporary}
  log_format record '{RECORD}';
  access_log {record} record;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
  upstream replicas {{
{upstream}
  }}
  server {{
    listen 127.0.0.1:{port};
    client_max_body_size 8m;
    location / {{
      proxy_pass http://replicas;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_read_timeout 1h;
      proxy_next_upstream off;
    }}
  }}
}}
"""
    )
    process = world.start("front", ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(config)])
    wait_until("the front listens", process, lambda: connects(port))
    return port, record
