"""A server process for tests: ``python server_process.py '{"folder": …, "port": …}'``. Prints its address."""

import json
import sys
from pathlib import Path

from DeepSegLogic.service.serving import serve
from DeepSegLogic.service.settings import Settings

options = json.loads(sys.argv[1])
port, tls = options.pop("port", 0), options.pop("tls", None)
settings = Settings(**{**options, "folder": Path(options["folder"]), "devices": tuple(options.pop("devices", ["cpu"]))})
pair = (Path(tls[0]), Path(tls[1])) if tls else None
serve(settings, "127.0.0.1", port, pair, lambda address, fingerprint: print(address, fingerprint, flush=True))
