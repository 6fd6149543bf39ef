"""A draft of a report's findings by a local language model, checked against our own table. Research use only."""

from .check import Checked, checked, not_in
from .draft import edited, word
from .endpoint import Endpoint, configure, configured, the_endpoint
from .result_folder import draft_report
from .table import Table, table_of

__all__ = [
    "Checked",
    "Endpoint",
    "Table",
    "checked",
    "configure",
    "configured",
    "draft_report",
    "edited",
    "not_in",
    "table_of",
    "the_endpoint",
    "word",
]
