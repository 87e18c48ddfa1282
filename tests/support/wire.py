"""Counts round trips where they happen: on the wire between the application and PostgreSQL."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator

from sqlalchemy.engine import make_url

_BACKGROUND = (b"impact monitor", b"impact relay", b"impact rollups")
_SSL_REQUEST_BYTES = 4


class Wire:
    """A proxy before a server. ``round_trips`` counts the messages that the client waits for:
    simple queries (Q) and synchronisation points of the extended protocol (S); ``rows`` and
    ``bytes`` what the server answers.

    PostgreSQL manual, chapter 54.2. Connections of background tasks pass uncounted.
    """

    def __init__(self, url: str) -> None:
        self._target = make_url(url)
        self.url = ""
        self.round_trips = 0
        self.rows = 0
        self.bytes = 0

    async def read_startup(self, reader: asyncio.StreamReader) -> bytes:
        (length,) = struct.unpack("!i", await reader.readexactly(4))
        return await reader.readexactly(length - 4)

    async def pump_client(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
        counted: asyncio.Event,
    ) -> None:
        startup = await self.read_startup(reader)
        while len(startup) == _SSL_REQUEST_BYTES:
            # Asked for TLS: not here, go on without.
            client.write(b"N")
            startup = await self.read_startup(reader)
        writer.write(struct.pack("!i", len(startup) + 4) + startup)
        if not any(name in startup for name in _BACKGROUND):
            counted.set()
        while True:
            head = await reader.readexactly(5)
            kind, length = struct.unpack("!ci", head)
            body = await reader.readexactly(length - 4)
            if counted.is_set() and kind in b"QS":
                self.round_trips += 1
            writer.write(head + body)

    async def pump_server(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counted: asyncio.Event
    ) -> None:
        while True:
            head = await reader.readexactly(5)
            kind, length = struct.unpack("!ci", head)
            body = await reader.readexactly(length - 4)
            if counted.is_set():
                self.rows += kind == b"D"
                self.bytes += 1 + length
            writer.write(head + body)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(
            self._target.host, self._target.port
        )
        counted = asyncio.Event()
        pumps = [
            asyncio.create_task(self.pump_client(reader, server_writer, writer, counted)),
            asyncio.create_task(self.pump_server(server_reader, writer, counted)),
        ]
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            # Also where the proxy ends while a client that has gone is seen off.
            for each in (server_writer, writer):
                each.close()
        for each in (server_writer, writer):
            with contextlib.suppress(OSError):
                await each.wait_closed()


@contextlib.asynccontextmanager
async def wire_to(url: str) -> AsyncIterator[Wire]:
    """A counting proxy before the server of ``url``."""
    wire = Wire(url)
    tasks: set[asyncio.Task[None]] = set()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(wire.accept(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    wire.url = make_url(url).set(port=port).render_as_string(hide_password=False)
    try:
        yield wire
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
