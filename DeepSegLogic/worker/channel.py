"""Messages with arrays over a pair of byte streams: the pipes of a child process, or files.

A message is one line of JSON. Its arrays follow as raw bytes, or lie in a block of shared memory that the
line names; shared memory is used where both sides run on one machine and there is enough of it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedIOBase, BytesIO
from math import prod
from queue import SimpleQueue
from typing import Any, TypeAlias

import numpy as np

from ..util.errors import DeepSegError
from . import shared_memory as shared
from .serialization import SAME_VERSION, NumberArray, pack, unpack

_Packed: TypeAlias = tuple[dict[str, Any], list[NumberArray]]

VERSION = 1
"""Version of the protocol; both sides send theirs in their first message."""

LINE_LIMIT = 16 << 20
ARRAY_LIMIT = 32 << 30


class ProtocolError(DeepSegError):
    """The other side sent something that is no message, or is too large."""

    code = "internal.protocol"

    def __init__(self, message: str, remedy: str = SAME_VERSION, *, code: str | None = None) -> None:
        super().__init__(message, remedy, code=code)


class Channel:
    """One side of a connection.

    Args:
        line_limit, array_limit: largest JSON and largest arrays of an incoming message, in bytes.

    Only one thread may call ``receive``. Any thread may call ``post``: it only queues, and a thread of the
    channel writes, so no caller waits for a slow or hung peer. Do not change arrays after ``post``.
    """

    def __init__(self, *, line_limit: int = LINE_LIMIT, array_limit: int = ARRAY_LIMIT):
        self._reader: BufferedIOBase = BytesIO()
        self._writer: BufferedIOBase = BytesIO()
        self.line_limit, self.array_limit = line_limit, array_limit
        self._outbox: SimpleQueue[_Packed | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._mine = self._theirs = ""
        self._sent = self._received = 0
        self._blocks: dict[str, shared.Block] = {}  # sent, not yet read by the other side

    def connect(self, reader: BufferedIOBase, writer: BufferedIOBase) -> None:
        """Use these buffered binary streams."""
        self._reader, self._writer = reader, writer

    def share(self, mine: str, theirs: str) -> None:
        """From now on, use shared memory whose names begin with ``mine`` (outgoing) and ``theirs``."""
        self._mine, self._theirs = mine, theirs

    def post(self, message: dict[str, Any]) -> None:
        """Queue a message.

        Raises:
            UsageError: a value in it cannot be sent.
        """
        arrays: list[NumberArray] = []
        self._outbox.put((pack(message, arrays), arrays))

    def start(self) -> None:
        """Start writing posted messages."""
        self._thread = threading.Thread(target=self._write_all, name="deepseg-channel", daemon=True)
        self._thread.start()

    def finish(self, timeout: float | None = None) -> None:
        """Wait until all posted messages are written, at most ``timeout`` seconds; no more can be posted."""
        self._outbox.put(None)
        if self._thread is not None:
            self._thread.join(timeout)

    def close(self) -> None:
        """Close the streams and free all shared memory. Only once the peer has ended or hung up."""
        self.finish()
        for stream in (self._writer, self._reader):
            with suppress(OSError):  # a message to a peer that is gone
                stream.close()
        for block in self._blocks.copy().values():
            self._release(block)
        if self._theirs:
            shared.remove_from(self._theirs, self._received)

    def send(self, message: dict[str, Any]) -> None:
        """Write a message now: for the handshake, before ``start``."""
        arrays: list[NumberArray] = []
        self._write(pack(message, arrays), arrays)

    def receive(self) -> dict[str, Any] | None:
        """The next message, or None when the other side has ended.

        Raises:
            ProtocolError: not a message, or too large.
            UsageError: it contains something unknown to this side.
        """
        while True:
            header = self._read_header()
            if header is None:
                return None
            if header.get("type") == "received":
                block = self._blocks.get(header.get("block", ""))
                if block is not None:
                    self._release(block)
                continue
            arrays = self._read_arrays(header)
            if arrays is None:
                return None
            try:
                message: dict[str, Any] = unpack(header, arrays)
            except RecursionError as error:
                raise ProtocolError("A message is nested too deeply.") from error
            return message

    def _read_header(self) -> dict[str, Any] | None:
        try:
            line = self._reader.readline(self.line_limit + 1)
        except (OSError, ValueError):  # connection reset; stream closed on our side
            return None
        if not line.endswith(b"\n"):
            if len(line) > self.line_limit:
                raise ProtocolError(f"A message is longer than {self.line_limit} bytes.")
            return None
        try:
            header: object = json.loads(line)
            if not isinstance(header, dict):
                raise ValueError("not an object")
        except (ValueError, RecursionError) as error:
            what = "The other side does not speak DeepSeg's protocol."
            raise ProtocolError(what) from error
        return header

    def _read_arrays(self, header: dict[str, Any]) -> list[NumberArray] | None:
        try:
            layout = [(np.dtype(d), tuple(int(n) for n in shape)) for d, shape in header.pop("arrays", [])]
        except (TypeError, ValueError, OverflowError, SyntaxError) as error:  # NumPy parses the dtypes
            raise ProtocolError("A message has an invalid description of its arrays.") from error
        if any(dtype.kind not in "biuf" or min(shape, default=0) < 0 for dtype, shape in layout):
            raise ProtocolError("A message contains an array that is not of plain numbers.")
        size = sum(dtype.itemsize * prod(shape) for dtype, shape in layout)
        if size > self.array_limit:
            raise ProtocolError(
                f"A message contains {size} bytes of arrays; at most {self.array_limit} are accepted.",
                "Send a smaller volume.",
                code="internal.protocol.size",
            )
        block = header.pop("block", None)
        if block is not None:
            return self._read_block(str(block), layout)
        try:
            arrays = [np.empty(shape, dtype) for dtype, shape in layout]
        except ValueError as error:  # more, or larger, dimensions than NumPy has
            raise ProtocolError("A message has an invalid description of its arrays.") from error
        try:
            whole = all(self._reader.readinto(_bytes_of(a)) == a.nbytes for a in arrays if a.nbytes)
        except (OSError, ValueError):
            return None
        return arrays if whole else None

    def _read_block(self, name: str, layout: list[tuple[np.dtype[Any], tuple[int, ...]]]) -> list[NumberArray]:
        if not self._theirs or name != f"{self._theirs}{self._received}":
            raise ProtocolError("A message names a block of shared memory that is not of this connection.")
        block = shared.attach(name)
        self._received += 1
        arrays: list[NumberArray] = []
        offset = 0
        for dtype, shape in layout:
            # copyto releases the GIL while it copies, so a user interface stays responsive
            array = np.empty(shape, dtype)
            np.copyto(array, np.ndarray(shape, dtype, block.buf, offset))
            arrays.append(array)
            offset += array.nbytes
        block.close()
        shared.remove(name)
        self.post({"type": "received", "block": name})
        return arrays

    def _write_all(self) -> None:
        try:
            for header, arrays in self._posted():
                self._write(header, arrays)
        except (OSError, ValueError):  # the peer is gone: the reading side reports that
            pass

    def _posted(self) -> Iterator[_Packed]:
        return iter(self._outbox.get, None)

    def _write(self, header: dict[str, Any], arrays: list[NumberArray]) -> None:
        in_line = arrays
        if arrays:
            header = {**header, "arrays": [[a.dtype.str, a.shape] for a in arrays]}
        if self._mine and sum(a.nbytes for a in arrays):
            name = f"{self._mine}{self._sent}"
            try:
                self._blocks[name] = block = shared.create(name, sum(a.nbytes for a in arrays))
            except OSError:
                pass  # too little shared memory, e.g. in a container: the pipe carries the bytes
            else:
                self._sent += 1
                header["block"], in_line, offset = name, [], 0
                for array in arrays:
                    np.copyto(np.ndarray(array.shape, array.dtype, block.buf, offset), array)
                    offset += array.nbytes
        self._writer.write(json.dumps(header).encode() + b"\n")
        for array in in_line:
            self._writer.write(_bytes_of(array))
        self._writer.flush()

    def _release(self, block: shared.Block) -> None:
        self._blocks.pop(block.name, None)
        block.close()
        shared.remove(block.name)


def _bytes_of(array: NumberArray) -> memoryview:
    return array.reshape(-1).data.cast("B") if array.nbytes else memoryview(b"")
