"""How a CT can be enhanced before a run, for the faces."""

from __future__ import annotations

from ..data.run_record import Provenance
from ..util.i18n import tr as _


def enhancements() -> dict[str, str]:
    """Titles by name of the task; empty if the packages for it are not installed."""
    from ..enhance.enhancement import TASKS
    from ..enhance.packages import missing_packages

    return {} if missing_packages() else {task: _(title) for task, title in TASKS.items()}


def enhanced_text(provenance: Provenance) -> str:
    """How the CT was enhanced before the run of a result; empty if it was not."""
    from ..enhance.enhancement import TASKS

    task = provenance.get("settings", {}).get("enhanced", {}).get("task", "")
    return _("Segmented on an enhanced CT: {}").format(_(TASKS.get(task, task))) if task else ""
