"""A site that joins and dies in its first round: ``python leaving_site.py HOST:PORT``."""

import os
import sys

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
import psutil
from flwr.client import Client, start_client


class Leaving(Client):
    def fit(self, ins):
        psutil.Process().kill()


start_client(server_address=sys.argv[1], client=Leaving(), insecure=True)
