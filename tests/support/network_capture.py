"""A TCP proxy in front of a server that records every byte of the server.

It removes the headers with which a browser offers compression, so that the bytes are readable.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading


class NetworkCapture:
    """Forward connections to a port; `sent` holds the bytes that the server has sent."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._streams: list[bytearray] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def __enter__(self) -> NetworkCapture:
        return self

    def __exit__(self, *_: object) -> None:
        for end in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for end in (self._listener, *self._open):
            end.close()

    @property
    def sent(self) -> bytes:
        """The bytes of all connections so far."""
        return b"\n".join(map(bytes, self._streams))

    @property
    def own(self) -> bytes:
        """The bytes without scripts, styles and fonts of Streamlit, which may hold any word."""
        answers = [part for stream in self._streams for part in bytes(stream).split(b"HTTP/1.1 ")]
        return b"\n".join(
            part
            for part in answers
            if not re.match(
                rb"(?is)[^{]*?\r\ncontent-type: (text/javascript|text/css|font)[^\r]*\r\n", part
            )
        )

    def _start(self, work, *args) -> None:
        self._threads.append(threading.Thread(target=work, args=args, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                self._open.append(client)
                server = socket.create_connection(("127.0.0.1", self._target))
                self._open.append(server)
                self._start(self._pump, client, server, False)
                self._start(self._pump, server, client, True)

    def _pump(self, source: socket.socket, target: socket.socket, keep: bool) -> None:
        stream = bytearray()
        if keep:
            self._streams.append(stream)
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if keep:
                    stream += data
                else:
                    data = re.sub(rb"(?i)\r\naccept-encoding: [^\r]*", b"", data)
                    data = re.sub(rb"(?i)\r\nsec-websocket-extensions: [^\r]*", b"", data)
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
