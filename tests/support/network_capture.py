"""A wire tap: forwards TCP to the server and keeps every byte that the server sends, uncompressed
because nobody asks for compression.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading


class Wire:
    """Listens on a port of its own; `sent` is all that came from the server."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._streams: list[bytearray] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        for end in (self._listening, *self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for end in (self._listening, *self._open):
            end.close()

    @property
    def sent(self) -> bytes:
        """Every byte from the server so far."""
        return b"\n".join(map(bytes, self._streams))

    @property
    def own(self) -> bytes:
        """The same without Streamlit's scripts, styles and fonts, whose words are not ours."""
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
                client = self._listening.accept()[0]
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
