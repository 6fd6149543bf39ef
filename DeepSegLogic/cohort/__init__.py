"""Many volumes on many workers, by ``dask.distributed`` (pip extra ``cohort``)."""

from ..lazy import imported_on_use

_HOME_OF = {"Case": "cases", "find_cases": "cases", "Outcome": "case", "Settings": "case", "run_cohort": "run"}

__all__ = list(_HOME_OF)

__getattr__ = imported_on_use(__name__, _HOME_OF)
