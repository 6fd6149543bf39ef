"""Messages that are none: whatever comes through a pipe or out of a file, it ends in a sentence."""

import json
from io import BytesIO

import numpy as np
import pytest

from DeepSegLogic.util.errors import UsageError
from DeepSegLogic.worker.channel import Channel, ProtocolError
from DeepSegLogic.worker.handshake import greet_client, greet_worker


def hearing(data, **limits):
    channel = Channel(**limits)
    channel.connect(BytesIO(data), BytesIO())
    return channel


def sent(message):
    stream, channel = BytesIO(), Channel()
    channel.connect(BytesIO(), stream)
    channel.send(message)
    return stream.getvalue()


@pytest.mark.parametrize("dtype", ["?", "i1", "<u2", ">i4", "<f2", "<f8"])
def test_what_is_sent_arrives(dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    found = hearing(sent({"type": "x", "a": array, "b": [1.5, None, (2, "ß")]})).receive()
    assert found["a"].dtype == array.dtype and found["b"] == [1.5, None, (2, "ß")]
    np.testing.assert_array_equal(found["a"], array)


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\r\n",
        b"\xff\xfe\x00\n",
        b"[1, 2]\n",
        b"[" * 4000 + b"\n",
        b'{"type": "x", "y": ' + b"[" * 1500 + b"]" * 1500 + b"}\n",
        b'{"type": "x", "y": ' + b"[" * 900 + b"]" * 900 + b"}\n",  # JSON's parser takes it
        b'{"type": "x", "arrays": [["|O", [1]]]}\n',
        b'{"type": "x", "arrays": [["<f8", [-1]]]}\n',
        b'{"type": "x", "arrays": [["<f8", [Infinity]]]}\n',
        b'{"type": "x", "arrays": [["f4,(", [1]]]}\n',
        b'{"type": "x", "arrays": [["<f8", [99999999999]]]}\n',
        b'{"type": "x", "arrays": [["<f4", [0, 4611686018427387904, 4611686018427387904]]]}\n',
        b'{"type": "x", "arrays": [["<f4", ' + json.dumps([0] * 80).encode() + b"]]}\n",
        b'{"type": "x", "arrays": [[{"names": 5}, 3]]}\n',
        b'{"type": "x", "arrays": [["<f8", [1]]], "block": "deepseg_x"}\n',
        b'{"type": "x", "value": {"$": "Popen", "fields": {}}}\n',
        b'{"type": "x", "value": {"$": "array", "index": 3}}\n',
        b'{"type": "x", "value": {"$": "Volume", "fields": {}}}\n',
        b'{"type": "x", "value": {"$": ["Volume"]}}\n',
    ],
)
def test_bad_messages_are_refused(line):
    try:
        assert hearing(line).receive()["type"] == "x"  # harmless: nothing was built
        assert b'"$"' not in line and b"arrays" not in line
    except (ProtocolError, UsageError) as error:
        assert error.message and error.remedy


def test_too_large_arrays_and_lines_are_refused():
    with pytest.raises(ProtocolError) as caught:
        hearing(sent({"type": "x", "a": np.zeros(1001, np.uint8)}), array_limit=1000).receive()
    assert caught.value.code == "internal.protocol.size"
    with pytest.raises(ProtocolError, match="longer than 100 bytes"):
        hearing(b"x" * 200, line_limit=100).receive()


@pytest.mark.parametrize("kept", [0, 10, 60, -1])
def test_what_breaks_off_is_no_message(kept):
    assert hearing(sent({"type": "x", "a": np.zeros(50)})[:kept]).receive() is None


def test_another_version_is_refused_in_words():
    channel, answer = Channel(), BytesIO()
    channel.connect(BytesIO(b'{"type": "hello", "version": 99}\n'), answer)
    with pytest.raises(UsageError, match="version 99"):
        greet_client(channel)
    with pytest.raises(UsageError, match="version 99") as caught:
        greet_worker(hearing(answer.getvalue()))
    assert "same version" in caught.value.remedy
