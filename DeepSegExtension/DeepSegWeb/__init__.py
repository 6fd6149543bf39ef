"""DeepSeg in the browser: real Slicer views of trame-slicer, bound to the view model of DeepSegLogic."""

from .startup import find_libraries_once

find_libraries_once()
