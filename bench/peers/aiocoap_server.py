"""aiocoap as a server for the bench: one resource in memory that can be read, written and observed. PORT PATH."""

from __future__ import annotations

import asyncio
import sys

from aiocoap import CHANGED, Context, Message, resource


class Kept(resource.ObservableResource):  # type: ignore[misc]  # aiocoap has no types
    """What was last put."""

    def __init__(self) -> None:
        super().__init__()
        self.content = b""

    async def render_get(self, request: Message) -> Message:  # noqa: ARG002
        return Message(payload=self.content)

    async def render_put(self, request: Message) -> Message:
        self.content = request.payload
        self.updated_state()
        return Message(code=CHANGED)


async def serve(port: int, path: str) -> None:
    """Serve until the process is ended."""
    site = resource.Site()
    site.add_resource(path.split("/"), Kept())
    await Context.create_server_context(site, bind=("127.0.0.1", port), transports=["simplesocketserver"])
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
