"""The ways to the same fixture: direct, and through the gateway in every shape it has.

The direct leg is the baseline; a leg through the gateway may not be worse.
"""

from __future__ import annotations

from dataclasses import dataclass

from world import FIXTURE, World, gateway_exists


@dataclass(frozen=True)
class Leg:
    """One way to the fixture, with an address for every transport that leads there."""

    name: str
    mcp: str
    sse: str | None = None
    ws: str | None = None

    def transports(self) -> dict[str, str]:
        found = {"mcp": self.mcp, "sse": self.sse, "ws": self.ws}
        return {name: url for name, url in found.items() if url}


def legs(world: World, host: str = "127.0.0.1") -> list[Leg]:
    """Starts fixture and gateways; the legs, direct first."""
    direct = world.fixture()
    found = [Leg("direct", direct.replace("127.0.0.1", host))]
    if not gateway_exists():
        print("# no gateway binary: direct only")
        return found
    stdio = {"command": [str(FIXTURE), "--stdio"]}
    pooled = {**stdio, "isolation": "pooled", "pool_size": 1}
    servers = {"fixture": stdio, "fixture-http": {"url": direct}, "fixture-pooled": pooled}
    many = world.gateway(servers)
    for server in servers:
        found.append(
            Leg(
                f"gateway-{server.removeprefix('fixture-').replace('fixture', 'stdio')}",
                many.url(f"/mcp/{server}", host=host),
                many.url(f"/sse/{server}", host=host),
                many.url(f"/ws/{server}", "ws", host),
            )
        )
    one = world.gateway({"fixture": stdio}, "gateway-of-one")
    found.append(
        Leg(
            "gateway-aggregate",
            one.url("/mcp", host=host),
            one.url("/sse", host=host),
            one.url("/ws", "ws", host),
        )
    )
    return found
