"""The official Python SDK 1.x: python sdk1.py --transport mcp|sse|ws --url URL."""

from __future__ import annotations

import sys
import warnings
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import anyio
import mcp.types as types
from mcp import ClientSession, McpError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamablehttp_client
from mcp.client.websocket import websocket_client

from checks import Refused, main

warnings.simplefilter("ignore", DeprecationWarning)

TRANSPORTS = {"mcp": streamablehttp_client, "sse": sse_client, "ws": websocket_client}


def plain(model: Any) -> dict[str, Any]:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


class Peer1:
    def __init__(self, streams: tuple[Any, ...]) -> None:
        self.told: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.elicited = {
            "action": "accept",
            "content": {"username": "ann", "email": "ann@example.com"},
        }
        self.initialized: dict[str, Any] = {}
        self.session = ClientSession(
            streams[0],
            streams[1],
            sampling_callback=self._sample,
            elicitation_callback=self._elicit,
            list_roots_callback=self._roots,
            message_handler=self._message,
        )

    async def _sample(self, _context: Any, params: Any) -> types.CreateMessageResult:
        self.asked.append(plain(params))
        said = f"you said {params.messages[0].content.text}"
        content = types.TextContent(type="text", text=said)
        return types.CreateMessageResult(role="assistant", model="test-model", content=content)

    async def _elicit(self, _context: Any, params: Any) -> types.ElicitResult:
        self.asked.append(plain(params))
        return types.ElicitResult(**self.elicited)

    async def _roots(self, _context: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri="file:///one", name="one")])

    async def _message(self, message: Any) -> None:
        if isinstance(message, types.ServerNotification):
            self.told.append({"params": {}, **plain(message.root)})

    async def request(self, operation: str, **arguments: Any) -> dict[str, Any]:
        if operation.startswith("list_"):
            params = types.PaginatedRequestParams(cursor=arguments.pop("cursor", None))
            arguments["params"] = params
        if "ref" in arguments:
            ref = arguments["ref"]
            kinds = {"ref/prompt": types.PromptReference}
            kind = kinds.get(ref["type"], types.ResourceTemplateReference)
            arguments["ref"] = kind(**ref)
        return await self._plain(getattr(self.session, operation)(**arguments))

    async def call(self, name: str, arguments: Any = None, progress: Any = None) -> dict[str, Any]:
        call = self.session.call_tool(name, arguments or {}, progress_callback=progress)
        return await self._plain(call)

    async def _plain(self, call: Any) -> dict[str, Any]:
        try:
            return plain(await call)
        except McpError as fault:
            raise Refused(fault.error.code, fault.error.message, fault.error.data) from fault

    def listening(self) -> nullcontext[None]:
        return nullcontext()

    async def roots_changed(self) -> None:
        await self.session.send_roots_list_changed()

    async def cancelled_call(self, name: str, arguments: dict[str, Any]) -> None:
        """This generation does not cancel by itself: the notification is sent by hand."""
        begun = anyio.Event()

        async def progress(*_report: Any) -> None:
            begun.set()

        async with anyio.create_task_group() as group:
            number = self.session._request_id  # noqa: SLF001 - the only way to know the id
            group.start_soon(self.call, name, arguments, progress)
            await begun.wait()
            params = types.CancelledNotificationParams(requestId=number, reason="not needed")
            note = types.CancelledNotification(params=params)
            await self.session.send_notification(types.ClientNotification(note))
            group.cancel_scope.cancel()


@asynccontextmanager
async def connect(transport: str, url: str, _era: str):
    async with TRANSPORTS[transport](url) as streams:
        peer = Peer1(streams)
        async with peer.session as session:
            peer.initialized = plain(await session.initialize())
            yield peer


if __name__ == "__main__":
    sys.exit(main(connect))
