"""Servers nobody here wrote, each direct over stdio and behind every transport of the gateway.

Run with the interpreter of `.venv1`, whose SDK is the client. What a server lists must come out
of the gateway as it went in, member for member; what its tools answer is checked by content.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from mcp import ClientSession, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client
from mcp.client.websocket import websocket_client

from world import NODE, NODE_DIR, VENV1, Tally, World, gateway_exists, suite_main

warnings.simplefilter("ignore", DeprecationWarning)

DEADLINE_S = 60.0
MODULES = NODE_DIR / "node_modules" / "@modelcontextprotocol"
HTTP = {"mcp": streamablehttp_client, "sse": sse_client, "ws": websocket_client}


@dataclass(frozen=True)
class Call:
    """One call of a real tool and a pattern its text must match."""

    tool: str
    arguments: dict[str, Any]
    matches: str


@dataclass(frozen=True)
class Server:
    """How one server is started and what is asked of it."""

    command: list[str]
    calls: list[Call]


def servers(folder: Path) -> dict[str, Server]:
    files, repository = folder / "files", folder / "repository"
    prepare_files(files)
    prepare_repository(repository)
    noon = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
    at = {"repo_path": str(repository)}
    note, new = str(files / "note.txt"), str(files / "new.txt")
    return {
        "time": Server(
            [str(VENV1 / "mcp-server-time"), "--local-timezone", "UTC"],
            [
                Call("convert_time", noon, r"T21:00:00\+09:00"),
                Call("get_current_time", {"timezone": "Europe/Paris"}, r"Europe/Paris"),
            ],
        ),
        "git": Server(
            [str(VENV1 / "mcp-server-git"), "--repository", str(repository)],
            [
                Call("git_status", at, r"nothing to commit"),
                Call("git_log", {**at, "max_count": 1}, r"the only commit"),
            ],
        ),
        "everything": Server(
            [str(NODE), str(MODULES / "server-everything/dist/index.js"), "stdio"],
            [
                Call("echo", {"message": "grüße"}, r"grüße"),
                Call("get-sum", {"a": 40, "b": 2}, r"\b42\b"),
            ],
        ),
        "filesystem": Server(
            [str(NODE), str(MODULES / "server-filesystem/dist/index.js"), str(files)],
            [
                Call("read_text_file", {"path": note}, r"a note"),
                Call("write_file", {"path": new, "content": "written"}, r"(?i)wrote|written"),
                Call("list_directory", {"path": str(files)}, r"note\.txt"),
            ],
        ),
    }


def prepare_files(files: Path) -> None:
    shutil.rmtree(files, ignore_errors=True)
    files.mkdir(parents=True)
    (files / "note.txt").write_text("a note\n")


def prepare_repository(repository: Path) -> None:
    shutil.rmtree(repository, ignore_errors=True)
    repository.mkdir(parents=True)
    (repository / "file.txt").write_text("a file\n")
    who = ["-c", "user.name=edge", "-c", "user.email=edge@example.com"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "the only commit"]):
        subprocess.run(["git", "-C", str(repository), *who, *words], check=True, timeout=30)


@asynccontextmanager
async def direct(command: list[str]) -> AsyncIterator[ClientSession]:
    parameters = StdioServerParameters(command=command[0], args=command[1:])
    with open("/dev/null", "w") as silence:
        async with stdio_client(parameters, errlog=silence) as streams:
            async with ClientSession(*streams) as session:
                yield session


@asynccontextmanager
async def over(transport: str, url: str) -> AsyncIterator[ClientSession]:
    async with HTTP[transport](url) as streams:
        async with ClientSession(streams[0], streams[1]) as session:
            yield session


def plain(model: Any) -> Any:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


async def lists(session: ClientSession, capabilities: dict[str, Any]) -> dict[str, Any]:
    """Every list the server declares, by name."""
    found: dict[str, Any] = {"tools": plain(await session.list_tools())["tools"]}
    if "prompts" in capabilities:
        found["prompts"] = plain(await session.list_prompts())["prompts"]
    if "resources" in capabilities:
        found["resources"] = plain(await session.list_resources())["resources"]
    return found


async def calls(session: ClientSession, server: Server, rename: Callable[[str], str]) -> None:
    for call in server.calls:
        result = plain(await session.call_tool(rename(call.tool), call.arguments))
        said = json.dumps(result["content"], ensure_ascii=False)
        if result.get("isError") or not re.search(call.matches, said):
            raise AssertionError(f"{call.tool} answered {said[:300]}")


async def one(tally: Tally, leg: str, connection: Any, server: Server, known: Any) -> Any:
    """Initialises, lists and calls; what it listed, to be compared with `known`."""
    found: Any = None
    try:
        with anyio.fail_after(DEADLINE_S):
            async with connection as session:
                hello = plain(await session.initialize())
                found = await lists(session, hello["capabilities"])
                who = hello["serverInfo"]["name"]
                tally.check(f"{leg} initialised", who, hello)
                if known is not None:
                    same = found == known
                    tally.check(f"{leg} lists what it lists direct", same, difference(known, found))
                await calls(session, server, lambda tool: tool)
                tally.ok(f"{leg} calls {', '.join(call.tool for call in server.calls)}")
    except Exception as fault:  # noqa: BLE001 - whatever ended it is the finding
        tally.not_ok(f"{leg}", describe(fault))
    return found


def difference(known: Any, found: Any) -> str:
    for name, items in known.items():
        theirs = found.get(name)
        if theirs is None or len(theirs) != len(items):
            return f"{name}: {len(items)} direct, {theirs and len(theirs)} here"
        for mine, other in zip(items, theirs, strict=True):
            if mine != other:
                return f"{name}: {json.dumps(mine)[:300]} became {json.dumps(other)[:300]}"
    return f"direct has {sorted(known)}, here are {sorted(found)}"


async def aggregate(tally: Tally, transport: str, url: str, chosen: dict[str, Server]) -> None:
    """All servers as one: each tool is there, under its name or `{server}__{tool}`, and works."""
    leg = f"aggregate {transport}"
    try:
        with anyio.fail_after(DEADLINE_S * 2):
            async with over(transport, url) as session:
                await session.initialize()
                names = {tool.name for tool in (await session.list_tools()).tools}
                for name, server in chosen.items():
                    try:
                        await calls(session, server, lambda tool, at=name: named(tool, at, names))
                        tally.ok(f"{leg} {name} calls")
                    except Exception as fault:  # noqa: BLE001 - the next server is still asked
                        tally.not_ok(f"{leg} {name} calls", describe(fault))
    except Exception as fault:  # noqa: BLE001 - whatever ended it is the finding
        tally.not_ok(leg, describe(fault))


def named(tool: str, server: str, names: set[str]) -> str:
    for name in (tool, f"{server}__{tool}"):
        if name in names:
            return name
    raise AssertionError(f"{tool} of {server} is not among {sorted(names)}")


def describe(fault: BaseException) -> str:
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return f"{type(fault).__name__} {fault}".replace("\n", " ")[:500]


async def drive(world: World, tally: Tally) -> None:
    chosen = servers(world.logs / "servers")
    known = {}
    for name, server in chosen.items():
        known[name] = await one(tally, f"direct {name}", direct(server.command), server, None)
    if not gateway_exists():
        print("# no gateway binary: direct only")
        return
    gateway = world.gateway({name: {"command": s.command} for name, s in chosen.items()})
    for name, server in chosen.items():
        for transport in HTTP:
            scheme = "ws" if transport == "ws" else "http"
            url = gateway.url(f"/{transport}/{name}", scheme)
            leg = f"{transport} {name}"
            await one(tally, leg, over(transport, url), server, known[name])
    for transport in HTTP:
        scheme = "ws" if transport == "ws" else "http"
        await aggregate(tally, transport, gateway.url(f"/{transport}", scheme), chosen)


def suite(world: World, tally: Tally) -> None:
    anyio.run(drive, world, tally)


if __name__ == "__main__":
    sys.exit(suite_main("servers", suite))
