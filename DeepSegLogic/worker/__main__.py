"""A worker process: ``python -m DeepSegLogic.worker [module with HANDLERS]``, started by ``ProcessLink``.

It talks over the stdin and stdout that it was started with. Libraries never see those: for them stdin is
empty and stdout is stderr, which the client keeps as the log.
"""

import os
import sys
import threading
from importlib import import_module


def main(handlers: str) -> None:
    """Serve ``HANDLERS`` of the module of this name until the parent is gone."""
    reader = os.fdopen(os.dup(0), "rb")
    writer = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr  # which keeps no line back: after a crash, the log is complete

    import faulthandler

    from . import process_tree
    from .channel import Channel
    from .handshake import greet_client
    from .job_loop import Worker

    process_tree.hold_children()
    faulthandler.enable()  # a crash in native code says where, in the log
    channel = Channel()
    channel.connect(reader, writer)
    worker = Worker(import_module(handlers).HANDLERS)
    greet_client(channel)
    channel.start()

    def listen() -> None:
        try:
            worker.serve(channel)  # until the parent is gone, however it ended
            channel.close()
        finally:
            process_tree.end_own()  # the main thread may be deep in a library

    threading.Thread(target=listen, name="deepseg-listen", daemon=True).start()
    worker.run()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "DeepSegLogic.worker.handlers")
