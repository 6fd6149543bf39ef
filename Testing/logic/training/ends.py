"""What tests of servers and their clients in one process need."""

import socket
import threading
import time

from free_ports import free_port


def free_address():
    return f"127.0.0.1:{free_port()}"


def wait_for(address):
    """Wait for the server; Flower's own client would give up at once."""
    host, _, port = address.rpartition(":")
    for _ in range(600):
        try:
            return socket.create_connection((host, int(port)), 1).close()
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nobody listens on {address}")


class Thread(threading.Thread):
    """Runs a function; ``get`` gives its value or raises its error."""

    def __init__(self, function, *arguments, **options):
        super().__init__(daemon=True)
        self.call, self.error, self.value = (function, arguments, options), None, None
        self.start()

    def run(self):
        function, arguments, options = self.call
        try:
            self.value = function(*arguments, **options)
        except BaseException as error:
            self.error = error

    def get(self):
        self.join(240)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error
        return self.value
