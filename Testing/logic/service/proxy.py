"""A TCP proxy in front of a server that is slow, or cuts the link."""

import socket
import threading
import time
from contextlib import suppress


class Proxy:
    """Args:
    bytes_per_s: of each direction; 0 for as fast as it goes.
    cut_after: bytes from the client, of all connections, after which all are cut, once.
    """

    def __init__(self, url, bytes_per_s=0, cut_after=0):
        host, _, port = url.removeprefix("http://").rpartition(":")
        self._target = host, int(port)
        self._rate, self._cut_after, self._passed, self.cuts = bytes_per_s, cut_after, 0, 0
        self._open = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.on_request = lambda data: None

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.close()
        self._hang_up()

    def _hang_up(self):
        for one in list(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:  # it is down
                client.close()
                continue
            self._open |= {client, server}
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source, sink, from_client):
        with suppress(OSError):
            while data := source.recv(1024 if self._cut_after else 16384):
                if from_client:
                    self.on_request(data)
                    self._passed += len(data)
                    if self._cut_after and self._passed > self._cut_after and not self.cuts:
                        self.cuts += 1
                        self._hang_up()
                if self._rate:
                    time.sleep(len(data) / self._rate)
                sink.sendall(data)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open -= {source, sink}
