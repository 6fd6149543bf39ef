"""Segmentation of many volumes: on a Dask cluster (pip extra ``cohort``), on Spark, on servers."""

from ..util.lazy import imported_on_use

_HOME_OF = {"Case": "cases", "find_cases": "cases", "Outcome": "case", "Settings": "case", "run_cohort": "runner"}

__all__ = list(_HOME_OF)

__getattr__ = imported_on_use(__name__, _HOME_OF)
