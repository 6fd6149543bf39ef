"""The folder of results: files, preview, report."""
