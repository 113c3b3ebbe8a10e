"""The official Python SDK 2.x: python sdk2.py --transport mcp|sse --url URL [--era legacy|modern]."""

from __future__ import annotations

import sys
import warnings
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

import anyio
import mcp_types as types
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from checks import Refused, main, same

warnings.simplefilter("ignore")

# What a client does to find the modern era, and what keeps it from looking for it.
MODES = {"legacy": "legacy", "modern": "auto"}
TRANSPORTS = {"mcp": streamable_http_client, "sse": sse_client}


def plain(model: Any) -> dict[str, Any]:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


class Peer2:
    def __init__(self, transport: Any, era: str) -> None:
        self.era = era
        self.told: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.elicited = {
            "action": "accept",
            "content": {"username": "ann", "email": "ann@example.com"},
        }
        self.initialized: dict[str, Any] = {}
        self.client = Client(
            transport,
            mode=MODES[era],
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
        if not isinstance(message, Exception):
            self.told.append({"params": {}, **plain(message)})

    async def request(self, operation: str, **arguments: Any) -> dict[str, Any]:
        if operation.startswith("list_"):
            arguments["cache_mode"] = "refresh"
        if "ref" in arguments:
            ref = arguments["ref"]
            kinds = {"ref/prompt": types.PromptReference}
            kind = kinds.get(ref["type"], types.ResourceTemplateReference)
            arguments["ref"] = kind(**ref)
        return await self._plain(getattr(self.client, operation)(**arguments))

    async def call(self, name: str, arguments: Any = None, progress: Any = None) -> dict[str, Any]:
        call = self.client.call_tool(name, arguments or {}, progress_callback=progress)
        return await self._plain(call)

    async def _plain(self, call: Any) -> dict[str, Any]:
        try:
            result = plain(await call)
        except MCPError as fault:
            raise Refused(fault.error.code, fault.error.message, fault.error.data) from fault
        result.pop("resultType", None)
        return result

    def listening(self) -> AbstractAsyncContextManager[Any]:
        """In the modern era a client is told of what it listens to, and in the others of all."""
        if self.era == "legacy":
            return nullcontext()
        return self.client.listen(
            tools_list_changed=True, prompts_list_changed=True, resources_list_changed=True
        )

    async def roots_changed(self) -> None:
        await self.client.send_roots_list_changed()

    async def cancelled_call(self, name: str, arguments: dict[str, Any]) -> None:
        """Leaving the scope of a call makes this generation send the notification."""
        begun = anyio.Event()

        async def progress(*_report: Any) -> None:
            begun.set()

        async with anyio.create_task_group() as group:
            group.start_soon(self.call, name, arguments, progress)
            await begun.wait()
            group.cancel_scope.cancel()


@asynccontextmanager
async def connect(transport: str, url: str, era: str):
    peer = Peer2(TRANSPORTS[transport](url), era)
    async with peer.client as client:
        same(client.protocol_version >= "2026", era == "modern")
        peer.initialized = {
            "capabilities": plain(client.server_capabilities),
            "serverInfo": plain(client.server_info),
        }
        yield peer


if __name__ == "__main__":
    sys.exit(main(connect, ("legacy", "modern")))
