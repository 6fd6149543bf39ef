"""Measurements and scores as table nodes of MRML."""

import math

import vtk

from DeepSegLib.i18n import tr as _
from DeepSegLogic.review.field_of_view import cut_note


def statisticsTable(scene, measurements):
    """A new table node: one row per structure that was found."""
    titles = (_("Volume (ml)"), _("Mean HU"), _("SD HU"), _("Confidence"), _("Boundary margin"))
    rows = [
        (_withNote(r.title, cut_note(r.cut)), (r.volume_ml, r.mean_hu, r.sd_hu, r.confidence, r.boundary_margin))
        for r in measurements
        if r.voxels
    ]
    return _table(scene, _("DeepSeg statistics"), titles, rows)


def comparisonTable(scene, scores):
    """A new table node: one row per structure that was compared with a reference."""
    titles = {
        "dice": _("Dice"),
        "surface_dice": _("Surface Dice (3 mm)"),
        "hd95_mm": _("HD95 (mm)"),
        "assd_mm": _("Mean surface distance (mm)"),
        "volume_error_ml": _("Volume error (ml)"),
    }
    rows = [(s.title, [s.values[name] for name in titles]) for s in scores]
    return _table(scene, _("DeepSeg comparison"), titles.values(), rows)


def changesTable(scene, changes):
    """A new table node: one row per structure or lesion that was compared with an earlier scan.

    What is not a plain change says so in the name of the row.
    """
    titles = {
        "before_ml": _("Before (ml)"),
        "after_ml": _("After (ml)"),
        "change_ml": _("Change (ml)"),
        "change_percent": _("Change (%)"),
        "uncertainty_ml": _("Uncertainty (ml)"),
        "doubling_days": _("Doubling time (days)"),
        "before_hu": _("HU before"),
        "after_hu": _("HU after"),
        "shift_mm": _("Shift (mm)"),
    }
    rows = [(_withNote(c.full_title, c.note), [getattr(c, name) for name in titles]) for c in changes]
    return _table(scene, _("DeepSeg follow-up"), titles.values(), rows)


def _withNote(title, note):
    return f"{title} ({note.rstrip('.')})" if note else title


def _table(scene, name, titles, rows):
    node = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
    names = vtk.vtkStringArray()
    names.SetName(_("Structure"))
    columns = [vtk.vtkDoubleArray() for _title in titles]
    for column, title in zip(columns, titles, strict=True):
        column.SetName(title)
    for title, numbers in rows:
        names.InsertNextValue(title)
        for column, value in zip(columns, numbers, strict=True):
            column.InsertNextValue(math.nan if value is None else value)
    for column in (names, *columns):
        node.AddColumn(column)
    return node
