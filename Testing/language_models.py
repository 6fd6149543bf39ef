"""Language models for tests: llama.cpp's own server with a tiny model, and a server that says what a test wants."""

import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

END = "<<answer>>"  # of the prompt, so that its last token is none of the model's words
SERVE = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.hostnames, params.port, params.warmup = sys.argv[1], ["127.0.0.1"], 0, False
params.n_ctx, params.n_parallel, params.cpuparams.n_threads, params.n_gpu_layers = 16384, 1, 1, 0
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


def write_model(path, words=()):
    """A llama of one layer in a GGUF file.

    Args:
        words: it says these one after the other, whatever it was asked: its tokens are rows of the unit matrix, its
            layer does nothing, and its output is a table of what follows what. Without words its weights are random.
    """
    gguf = pytest.importorskip("gguf", reason="needs gguf (pip install gguf)")
    tokens = [b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % byte for byte in range(256))]
    kinds, first = [2, 3, 3] + [6] * 256, len(tokens)
    tokens += [word.encode() for word in words]
    size = -(-len(tokens) // 32) * 32
    kinds += [1] * len(words) + [5] * (size - len(tokens))
    tokens += [b"<unused%d>" % n for n in range(len(tokens), size)]
    width, random = (size, None) if words else (32, np.random.default_rng(0))

    def weights(*shape):
        return (np.zeros(shape) if random is None else random.normal(0, 0.3, shape)).astype(np.float32)

    follows = weights(size, width)
    if words:
        follows[first] = 8  # after whatever the prompt ends with
        for n in range(first, first + len(words)):
            follows[first, n], follows[n + 1 if n + 1 < first + len(words) else 2, n] = 0, 8
    file = gguf.GGUFWriter(path, "llama")
    file.add_block_count(1)
    file.add_context_length(16384)
    file.add_embedding_length(width)
    file.add_feed_forward_length(32)
    file.add_head_count(1)
    file.add_head_count_kv(1)
    file.add_layer_norm_rms_eps(1e-5)
    file.add_rope_dimension_count(width)
    file.add_vocab_size(size)
    file.add_tokenizer_model("llama")
    file.add_token_list(tokens)
    file.add_token_scores([-float(n) for n in range(size)])
    file.add_token_types(kinds)
    file.add_bos_token_id(1)
    file.add_eos_token_id(2)
    file.add_unk_token_id(0)
    file.add_chat_template("{% for m in messages %}{{ m['content'] }}\n{% endfor %}" + END)
    tensors = {"token_embd.weight": np.eye(size, dtype=np.float32) if words else weights(size, width)}
    tensors |= {"output.weight": follows, "output_norm.weight": np.ones(width, np.float32)}
    tensors |= {f"blk.0.{part}_norm.weight": np.ones(width, np.float32) for part in ("attn", "ffn")}
    tensors |= {f"blk.0.attn_{part}.weight": weights(width, width) for part in ("q", "k", "v", "output")}
    tensors |= {f"blk.0.ffn_{part}.weight": weights(32, width) for part in ("gate", "up")}
    tensors["blk.0.ffn_down.weight"] = weights(width, 32)
    for name, values in tensors.items():
        file.add_tensor(name, values)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


@contextmanager
def llama(folder, words=()):
    """The address of llama.cpp's server with such a model."""
    pytest.importorskip("xllamacpp", reason="needs llama.cpp (pip install xllamacpp)")
    write_model(folder / "tiny.gguf", words)
    command = [sys.executable, "-c", SERVE, str(folder / "tiny.gguf")]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        yield f"{server.stdout.readline().decode().strip()}/v1"
    finally:
        server.kill()
        server.wait()


class Scripted:
    """A server on loopback that answers as a test wants.

    Attributes:
        url: of it.
        asked: bodies of the requests.
        headers: of the last request.
        table: lines of the last table that it was asked about.
        text: what it says, as a stream of words; or a function that gets the handler and answers by itself.
    """

    def __init__(self, text=""):
        self.text, self.asked, self.headers, self.over = text, [], None, threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler):
                self.headers = handler.headers
                self.asked.append(json.loads(handler.rfile.read(int(handler.headers["Content-Length"]))))
                if callable(self.text):
                    self.text(handler)
                else:
                    say(handler, self.text)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def table(self):
        return self.asked[-1]["messages"][1]["content"].splitlines()[1:]

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


def say(handler, text):
    """Answer with a text, word by word."""
    begin(handler)
    for n, word in enumerate(text.split(" ")):
        event(handler, word if n == 0 else f" {word}")
    event(handler, "", "stop")
    handler.wfile.write(b"data: [DONE]\n\n")


def begin(handler, status=200, kind="text/event-stream", **headers):
    """Send the head of an answer."""
    handler.send_response(status)
    for name, value in {"Content-Type": kind, **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()


def event(handler, text, ended=None):
    """Send an event of a stream."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": ended}
    handler.wfile.write(f"data: {json.dumps({'model': 'scripted', 'choices': [choice]})}\n\n".encode())
    handler.wfile.flush()
