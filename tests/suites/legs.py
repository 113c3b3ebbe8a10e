"""The ways of the SDK suites to one fixture: direct, and through the gateway in every shape.

The direct leg is the baseline; a leg through the gateway may not be worse, nor one through three
replicas of it that take the requests of a session in turn.
"""

from __future__ import annotations

from dataclasses import dataclass

from replicas import Replicas, replicas
from world import FIXTURE, Gateway, World, gateway_exists

PAGES = {"FIXTURE_PAGES": "5"}


@dataclass(frozen=True)
class Leg:
    """One way to the fixture, with an address for every transport that leads there."""

    name: str
    mcp: str
    sse: str | None = None
    ws: str | None = None
    pooled: bool = False
    paged: bool = False
    bridged: bool = False

    def transports(self) -> dict[str, str]:
        found = {"mcp": self.mcp, "sse": self.sse, "ws": self.ws}
        return {name: url for name, url in found.items() if url}


def legs(world: World, paged: bool = False) -> list[Leg]:
    """Starts fixture and gateways; the legs, direct first."""
    direct = world.fixture()
    found = [Leg("direct", direct)]
    if paged:
        pages = world.fixture("fixture-http-paged", PAGES)
        found.append(Leg("direct-paged", pages, paged=True))
    if not gateway_exists():
        print("# no gateway binary: direct only")
        return found
    stdio = {"command": [str(FIXTURE), "--stdio"]}
    servers: dict[str, object] = {
        "fixture": stdio,
        "fixture-http": {"url": direct},
        "fixture-pooled": {**stdio, "isolation": "pooled", "pool_size": 1},
        "fixture-modern": {"command": [*stdio["command"], "--era", "modern"]},
        "fixture-modern-http": {"url": world.fixture("fixture-http-modern", era="modern")},
    }
    if paged:
        servers["fixture-paged"] = {**stdio, "env": PAGES}
    # A shared server's logs go to the only session that has a call there, so that a session whose
    # client has closed its event stream must not outlive it for long.
    settings = {"session": {"resume_window": "100ms"}}
    many = world.gateway(servers, settings=settings)
    found += [through(many, server) for server in servers]
    one = world.gateway({"fixture": stdio}, "gateway-of-one")
    found.append(through(one, None))
    return found


def legs_of_many(world: World) -> tuple[list[Leg], Replicas]:
    """Starts three replicas; the legs through all of them, and what can be said of them after."""
    servers: dict[str, object] = {
        "fixture": {"command": [str(FIXTURE), "--stdio"]},
        "fixture-http": {"url": world.fixture("fixture-http-of-many")},
    }
    many = replicas(world, servers)
    return [through(many, server, "replicas") for server in servers], many


def through(gateway: Gateway | Replicas, server: str | None, by: str = "gateway") -> Leg:
    """The leg to one server of a gateway, or to all of them as one."""
    at = f"/{server}" if server else ""
    kind = (server or "aggregate").replace("fixture-", "").replace("fixture", "stdio")
    return Leg(
        f"{by}-{kind}",
        gateway.url(f"/mcp{at}"),
        gateway.url(f"/sse{at}"),
        gateway.url(f"/ws{at}", "ws"),
        pooled=kind == "pooled",
        paged=kind == "paged",
        bridged=kind.startswith("modern"),
    )
