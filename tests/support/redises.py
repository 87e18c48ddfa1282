"""Redis servers of a test's own, alone, behind Sentinel, in a cluster, and behind TLS."""

import asyncio
import contextlib
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from support.dev import free_port
from support.installation import until
from support.programs import needed

SLOTS = 16384
_HIGHEST_PORT = 65_535


class Redises:
    """Starts servers, and ends them with the block."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp(prefix="impact-redises-"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for port in list(self._processes):
            self.kill(port)
        shutil.rmtree(self.directory)

    def start(self, *lines: str, sentinel: bool = False, port: int | None = None) -> int:
        """A server with these lines in its configuration; answers its port."""
        port = port or free_port()
        own = self.directory / str(port)
        own.mkdir()
        common = [f"port {port}", "bind 127.0.0.1", f"dir {own}", 'save ""']
        (own / "redis.conf").write_text("\n".join([*common, *lines]))
        self.start_again(port, *(["--sentinel"] if sentinel else []))
        return port

    def start_again(self, port: int, *options: str) -> None:
        """Start the server that was killed, with what it had written."""
        own = self.directory / str(port)
        with (own / "log").open("a") as log:
            self._processes[port] = subprocess.Popen(
                [self._program, own / "redis.conf", *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until(lambda: _answers(port))

    def kill(self, port: int) -> None:
        process = self._processes.pop(port)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def sentinel(self) -> tuple[str, int, int]:
        """A primary and a replica, and who watches them: the URL, the primary's port and
        Sentinel's."""
        primary = self.start()
        replica = self.start(f"replicaof 127.0.0.1 {primary}")
        until(lambda: _client(replica).info("replication")["master_link_status"] == "up")
        watcher = self.start(
            f"sentinel monitor shops 127.0.0.1 {primary} 1",
            "sentinel down-after-milliseconds shops 300",
            "sentinel failover-timeout shops 2000",
            sentinel=True,
        )
        until(lambda: len(_client(watcher).sentinel_slaves("shops")) == 1)
        return f"redis+sentinel://127.0.0.1:{watcher}/shops/0", primary, watcher

    def cluster(self, count: int = 3) -> tuple[str, list[int]]:
        """Primaries that share the slots: the URL and their ports."""
        # They talk to each other 10,000 ports above.
        ports = [
            self.start("cluster-enabled yes", port=free_port(below=_HIGHEST_PORT - 10_000))
            for _ in range(count)
        ]
        share = SLOTS // count + 1
        for number, port in enumerate(ports):
            slots = range(number * share, min((number + 1) * share, SLOTS))
            with _client(port) as client:
                client.execute_command("CLUSTER ADDSLOTS", *slots)
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
                client.execute_command("CLUSTER MEET", "127.0.0.1", ports[0])
        until(lambda: all(_cluster_is_whole(port, count) for port in ports))
        return f"redis+cluster://127.0.0.1:{ports[0]}", ports

    @contextlib.asynccontextmanager
    async def tls(self) -> AsyncIterator[str]:
        """A server behind TLS, whose certificate is its own authority; the URL."""
        port = self.start()
        key, certificate = self.directory / "key.pem", self.directory / "certificate.pem"
        made = await asyncio.create_subprocess_exec(
            *(needed("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
            *("-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=redis"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert await made.wait() == 0
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)

            async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                with contextlib.suppress(OSError):
                    while data := await source.read(65536):
                        sink.write(data)
                sink.close()

            await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))

        server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
        try:
            yield (
                f"rediss://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
                f"?ssl_ca_certs={certificate}"
            )
        finally:
            server.close()


def _client(port: int) -> "redis.Redis":
    return redis.Redis(port=port, socket_timeout=2, decode_responses=True)


def _answers(port: int) -> bool:
    with _client(port) as client, contextlib.suppress(redis.RedisError):
        return bool(client.ping())
    return False


def _cluster_is_whole(port: int, count: int) -> bool:
    with _client(port) as client:
        about = client.execute_command("CLUSTER INFO")
        return about["cluster_state"] == "ok" and about["cluster_known_nodes"] == str(count)
