"""DeepSeg in the browser: real Slicer views of trame-slicer, bound to the view model of DeepSegLogic."""
