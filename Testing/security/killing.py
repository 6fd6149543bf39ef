"""Starts commands at once: it has loaded their libraries, and forks. Reads ``[arguments, environment]`` as JSON lines;
answers with the child's process id, and with its exit code once it has ended."""

import json
import os
import sys


def main() -> None:
    import scipy.ndimage  # noqa: F401
    import SimpleITK  # noqa: F401
    import slicerio  # noqa: F401
    import torch  # noqa: F401
    import trimesh  # noqa: F401
    import vtk  # noqa: F401

    from DeepSegLogic.cli import main as deepseg

    for line in sys.stdin:
        arguments, environment = json.loads(line)
        child = os.fork()
        if child == 0:
            os.setsid()
            os.environ.update(environment)
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            os.dup2(2, 1)
            os._exit(deepseg(arguments))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
