"""A server over HTTP+SSE: the SDK's transport in front of any stdio server.

    python sse_server.py PORT COMMAND [ARGUMENT]...

Every connection gets a process of its own, which it passes messages to and from as they are. The
official Rust SDK, which the fixture is written with, has no server of this transport.
"""

from __future__ import annotations

import sys
from typing import Any

import anyio
import uvicorn
from mcp import StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.server.sse import SseServerTransport
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

MESSAGES = SseServerTransport("/messages/")


async def pass_on(source: Any, target: Any, scope: anyio.CancelScope) -> None:
    async for message in source:
        if isinstance(message, Exception):
            raise message
        await target.send(message)
    scope.cancel()


async def connect(request: Request) -> Response:
    command = sys.argv[2:]
    parameters = StdioServerParameters(command=command[0], args=command[1:])
    async with (
        MESSAGES.connect_sse(request.scope, request.receive, request._send) as client,  # noqa: SLF001
        stdio_client(parameters) as server,
        anyio.create_task_group() as group,
    ):
        group.start_soon(pass_on, client[0], server[1], group.cancel_scope)
        group.start_soon(pass_on, server[0], client[1], group.cancel_scope)
    return Response()


if __name__ == "__main__":
    routes = [Route("/sse", connect), Mount("/messages/", MESSAGES.handle_post_message)]
    uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
