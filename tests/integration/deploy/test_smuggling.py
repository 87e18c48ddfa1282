"""Requests that a proxy and a server could read differently, through the HAProxy of deploy/.

Whoever gets a request past the proxy inside another one asks in somebody else's name: the next
client on that connection has its answer. It would show in two ways: the nodes have answered more
requests than the proxy has passed on, or somebody else gets the wrong answer.
"""

import re
import socket

import httpx
import pytest

from support.installation import Installation

pytestmark = pytest.mark.xdist_group("deploy")

HIDDEN = b"GET /hidden HTTP/1.1\r\nhost: x\r\n\r\n"
CHUNKED = b"0\r\n\r\n" + HIDDEN
FULL = str(len(CHUNKED)).encode()
FRAMINGS: dict[str, tuple[bytes, bytes]] = {
    "length and chunks": (
        b"content-length: " + FULL + b"\r\ntransfer-encoding: chunked\r\n",
        CHUNKED,
    ),
    "chunks and a short length": (
        b"transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        b"5c\r\n" + HIDDEN + b"\r\n0\r\n\r\n",
    ),
    "unknown coding": (
        b"content-length: " + FULL + b"\r\ntransfer-encoding: xchunked\r\n",
        CHUNKED,
    ),
    "coding twice": (
        b"content-length: "
        + FULL
        + b"\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        CHUNKED,
    ),
    "space before the colon": (
        b"content-length: " + FULL + b"\r\ntransfer-encoding : chunked\r\n",
        CHUNKED,
    ),
    "tab in the coding": (
        b"content-length: " + FULL + b"\r\ntransfer-encoding:\x0bchunked\r\n",
        CHUNKED,
    ),
    "folded coding": (
        b"content-length: " + FULL + b"\r\ntransfer-encoding:\r\n chunked\r\n",
        CHUNKED,
    ),
    "two lengths": (b"content-length: 0\r\ncontent-length: " + FULL + b"\r\n", CHUNKED),
    "a list of lengths": (b"content-length: 0, " + FULL + b"\r\n", CHUNKED),
    "a signed length": (b"content-length: +" + FULL + b"\r\n", CHUNKED),
    "a length of another base": (b"content-length: 0x0\r\n", HIDDEN),
    "line feeds alone": (b"content-length: 0\nx: y\n\n" + HIDDEN, b""),
    "a carriage return in a header": (
        b"x: y\rtransfer-encoding: chunked\r\ncontent-length: " + FULL + b"\r\n",
        CHUNKED,
    ),
    "a nul in a header": (
        b"x: \x00\r\ntransfer-encoding: chunked\r\ncontent-length: " + FULL + b"\r\n",
        CHUNKED,
    ),
}


def passed_on(installation: Installation) -> int:
    """Requests that the proxy has given to the nodes; its own checks are not among them."""
    text = httpx.get(f"http://127.0.0.1:{installation.ports['inside']}/metrics").text
    counts = re.findall(r"^haproxy_backend_http_requests_total\{[^}]*\} (\d+)", text, re.MULTILINE)
    assert counts
    return sum(map(int, counts))


def answered(installation: Installation) -> int:
    """Requests that the nodes have answered, but for the proxy's checks."""
    total = 0
    for node in ("node1", "node2"):
        url = f"http://127.0.0.1:{installation.ports[node]}/metrics"
        headers = {
            "accept": "application/json",
            "authorization": f"Bearer {installation.passwords['metrics']}",
        }
        routes = httpx.get(url, headers=headers).json()["routes"]
        for name, figures in routes.items():
            if not name.endswith(("/health/ready", "/metrics")):
                total += figures["count"]
    return total


def send(port: int, raw: bytes, patience: float = 0.5) -> bytes:
    """All that comes back until the other side closes, or has said nothing for so many seconds."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(raw)
        connection.settimeout(patience)
        found = b""
        try:
            while part := connection.recv(65536):
                found += part
        except (TimeoutError, ConnectionResetError):
            pass
        return found


@pytest.mark.parametrize("framing", FRAMINGS)
def test_no_request_passes_inside_another(installation: Installation, framing: str) -> None:
    headers, body = FRAMINGS[framing]
    raw = b"POST /outer HTTP/1.1\r\nhost: x\r\n" + headers + b"\r\n" + body
    base = f"http://127.0.0.1:{installation.ports['haproxy']}"
    proxied, seen = passed_on(installation), answered(installation)
    for _ in range(3):
        send(installation.ports["haproxy"], raw)
        for _ in range(4):
            # Others, on connections that the proxy keeps to the nodes.
            assert httpx.get(f"{base}/health/live").json()["status"] == "ok"
    assert answered(installation) - seen <= passed_on(installation) - proxied


def test_it_would_show(installation: Installation) -> None:
    """Past the proxy a node's answers are more than were passed on."""
    proxied, seen = passed_on(installation), answered(installation)
    raw = b"GET /hidden HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    assert send(installation.ports["node1"], raw, patience=30)
    assert answered(installation) - seen > passed_on(installation) - proxied
