"""The server behind ``deepseg serve``: HTTP in front of worker processes; ``docs/server.md`` describes it.

The process that listens holds no voxels and runs no network: uploads go to files, worker processes read those and
write the results, and files are sent back.
"""
