"""Linux pretends to be Windows or macOS: ``make elsewhere``.

Each Python process imports this module at its start if its folder is on ``PYTHONPATH``, so workers and commands
pretend, too. ``DEEPSEG_PRETEND`` is ``win32`` (the default) or ``darwin``.

For all code, on Windows:
    - A file that one of these processes has open or mapped cannot be deleted, renamed, replaced or truncated, nor can a
      folder with such a file in it, or with the current folder of a process. A read-only file cannot be deleted or
      replaced, a folder cannot be replaced, and ``rename`` replaces nothing.
    - Names that Windows does not allow, and names that differ from another one only in case, cannot be made.
    - Text files get CRLF.

For modules of DeepSeg:
    - ``sys.platform`` is another; modules, functions and flags of POSIX lack (:data:`_NO_MODULES`, :data:`_LACKING`),
      and so do ``/proc``, ``/sys`` and ``/dev/shm``. A text file that is opened without an encoding is an error.
      ``multiprocessing`` spawns.
    - On Windows: folders cannot be opened; clocks tick 64 times a second; shared memory has whole pages and is gone
      once its last process closed it; whole numbers of NumPy 1 have 32 bits (those that its functions make, not those
      of ``astype(int)``); a process without ``CREATE_NO_WINDOW`` is an error, as a console would flash over Slicer;
      ITK opens no paths beyond ASCII, but all files have short names; a job object ends the processes in it.

Not imitated: what native code does to files (that it has them open does count), paths with backslashes and drives,
paths that are too long, locks that also keep readers away, a case-insensitive look-up, names in NFD, delayed deletion,
virus scanners, PythonSlicer.exe, Ctrl-C events, and other builds of the libraries, such as torch's for Apple's GPU.
"""

import builtins
import contextlib
import errno
import functools
import glob
import io
import mmap
import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import types

_PLATFORM = os.environ.get("DEEPSEG_PRETEND", "win32")
_WINDOWS = _PLATFORM == "win32"
_OURS = ("DeepSegLogic", "DeepSegLib", "DeepSegWeb")
_HERE = os.fsencode(os.path.dirname(__file__))
_KERNEL = ("/proc/", "/sys/", "/dev/shm")
_NO_WINDOW = 0x08000000
_TICK_S = 1 / 64
_NO_MODULES = {"resource", "fcntl", "grp", "pwd", "termios", "pty", "_posixshmem"} if _WINDOWS else set()
_LACKING = {
    "win32": {
        "os": "fork forkpty getuid geteuid getgid getegid killpg getpgid getpgrp setpgid setsid nice statvfs mkfifo "
        "mknod chown fchmod sched_getaffinity sched_setaffinity posix_fallocate sysconf uname getloadavg pread pwrite "
        "sendfile wait waitid memfd_create O_NOFOLLOW O_DIRECTORY O_NONBLOCK O_CLOEXEC O_SYNC",
        "signal": "SIGKILL SIGHUP SIGALRM SIGCHLD SIGPIPE SIGQUIT SIGUSR1 SIGUSR2 SIGSTOP alarm setitimer "
        "pthread_kill pthread_sigmask sigwait",
        "socket": "AF_UNIX SO_PEERCRED SO_REUSEPORT",
        "mmap": "MAP_SHARED MAP_PRIVATE PROT_READ PROT_WRITE",
    },
    "darwin": {
        "os": "sched_getaffinity sched_setaffinity posix_fallocate memfd_create",
        "socket": "SO_PEERCRED",
    },
}[_PLATFORM]

_open, _os_open, _unlink, _rmdir, _mkdir = io.open, os.open, os.unlink, os.rmdir, os.mkdir
_moves = {"rename": os.rename, "replace": os.replace}


# --- Files that are open ---


def _used_in(path):
    """A path in ``path``, or itself, that one of these processes uses; empty if none does."""
    own = os.path.join(os.path.realpath(os.path.dirname(os.path.abspath(path))), os.path.basename(path))
    for process in filter(str.isdecimal, os.listdir("/proc")):
        if process == str(os.getpid()) or _pretends(process):
            for place in _paths_of(process):
                if place == own or place.startswith(f"{own}/"):
                    return place
    return ""


@functools.cache
def _pretends(process):
    try:
        with _open(f"/proc/{process}/environ", "rb") as environment:
            return _HERE in environment.read()
    except OSError:
        return False


def _paths_of(process):
    """The current folder of a process, and the files that it has open or mapped."""
    found = []
    try:
        found.append(os.readlink(f"/proc/{process}/cwd"))
        for number in os.listdir(f"/proc/{process}/fd"):
            try:
                found.append(os.readlink(f"/proc/{process}/fd/{number}"))
            except FileNotFoundError:
                continue
        with _open(f"/proc/{process}/maps", encoding="utf-8", errors="replace") as maps:
            found += [line[73:].rstrip("\n") for line in maps]
    except OSError:  # it has ended, or is another user's
        pass
    return [*found[:1], *(path for path in found[1:] if path and not os.path.isdir(path))]


def _refused(code, why, path):
    error = PermissionError(errno.EACCES, f"[WinError {code}] {why}", os.fspath(path))
    error.winerror = code
    return error


def _must_be_free(path):
    if used := _used_in(path):
        raise _refused(32, f"another process uses {used}", path)
    found = os.lstat(path)
    if stat.S_ISREG(found.st_mode) and not found.st_mode & stat.S_IWUSR:
        raise _refused(5, "the file is read-only", path)


def _may_be_made(path):
    from DeepSegLogic.util.file_names import is_windows_name

    folder, name = os.path.split(os.path.abspath(os.fsdecode(path)))
    if not is_windows_name(name) or "\\" in name:
        raise OSError(errno.EINVAL, "[WinError 123] the name is incorrect", os.fspath(path))
    for other in os.listdir(folder) if os.path.isdir(folder) else ():
        if other != name and other.lower() == name.lower():
            raise AssertionError(f"{path} is {other} on Windows")


def _new_unlink(path, *, dir_fd=None):
    if dir_fd is None and os.path.lexists(path):
        _must_be_free(path)
    _unlink(path, dir_fd=dir_fd)


def _new_rmdir(path, *, dir_fd=None):
    if dir_fd is None and os.path.isdir(path):
        _must_be_free(path)
    _rmdir(path, dir_fd=dir_fd)


def _new_mkdir(path, *arguments, **more):
    if not os.path.lexists(path):
        _may_be_made(path)
    _mkdir(path, *arguments, **more)


def _moved(name, src, dst, **more):
    if os.path.lexists(src) and not (os.path.exists(dst) and os.path.samefile(src, dst)):
        _must_be_free(src)
        _may_be_made(dst)
        if os.path.lexists(dst) and name == "rename":
            raise FileExistsError(errno.EEXIST, "[WinError 183] the file is there", os.fspath(dst))
        if os.path.lexists(dst):
            if os.path.isdir(dst) or os.path.isdir(src):
                raise _refused(5, "a folder cannot be replaced", dst)
            _must_be_free(dst)
    _moves[name](src, dst, **more)


# --- Opening files ---


def _asked_by_us():
    """Whether a module of DeepSeg called, perhaps through pathlib."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__") in ("pathlib", __name__):
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__", "").startswith(_OURS)


def _new_open(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
    if isinstance(file, (str, bytes, os.PathLike)):
        name, text = os.fsdecode(file), "b" not in mode
        if name.startswith(_KERNEL) and _asked_by_us():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        if text and encoding is None and _asked_by_us():
            raise AssertionError(f"{name} is opened without an encoding")
        if _WINDOWS and set(mode) & set("wxa"):
            if not os.path.lexists(name):
                _may_be_made(name)
            elif "w" in mode and _is_mapped(name):
                raise OSError(errno.EINVAL, "[WinError 1224] the file is mapped", name)
            newline = "\r\n" if text and newline is None else newline
    return _open(file, mode, buffering, encoding, errors, newline, closefd, opener)


def _is_mapped(name):
    with _open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        return any(line[73:].rstrip("\n") == os.path.realpath(name) for line in maps)


def _open_no_folder(path, *arguments, **more):
    if os.path.isdir(path):
        raise _refused(5, "it is a folder", path)
    return _os_open(path, *arguments, **more)


# --- What modules of DeepSeg import ---


class _Pretended(types.ModuleType):
    """A module in which some names lack, and some are others. All else is the real module's, as it is at that time."""

    def __init__(self, real, other):
        super().__init__(real.__name__)
        self.__dict__.update(other, _real=real)

    def __getattr__(self, name):
        if name in _LACKING.get(self.__name__, "").split():
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} on {_PLATFORM}")
        return getattr(self._real, name)


class _Block:
    """``multiprocessing.shared_memory.SharedMemory`` of Windows, in a file."""

    def __init__(self, name, create=False, size=0):
        self.name, self._path = name, f"/dev/shm/pretended_{name}"
        for left in glob.glob("/dev/shm/pretended_*") if create else ():
            if not _used_in(left):  # of a process that was killed
                with contextlib.suppress(FileNotFoundError):
                    _unlink(left)
        file = _os_open(self._path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0), 0o600)
        try:
            if create:
                os.posix_fallocate(file, 0, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
            self._memory = mmap.mmap(file, 0)
        except OSError:
            _unlink(self._path)
            raise
        finally:
            os.close(file)
        self.buf = memoryview(self._memory)

    def close(self):
        self.buf.release()
        self._memory.close()
        if not _used_in(self._path):
            with contextlib.suppress(FileNotFoundError):
                _unlink(self._path)


class _Popen(subprocess.Popen):
    def __init__(self, command, *, creationflags=0, preexec_fn=None, pass_fds=(), **more):
        if not creationflags & _NO_WINDOW:
            raise AssertionError(f"{command} opens a console")
        if preexec_fn or pass_fds:
            raise ValueError("Windows has no preexec_fn and no pass_fds")
        super().__init__(command, **more)


def _run(command, *, creationflags=0, **more):
    if command[0] != "taskkill":
        return subprocess.run(command, **more)
    if not creationflags & _NO_WINDOW:
        raise AssertionError("taskkill opens a console")
    import psutil

    try:
        process = psutil.Process(int(command[-1]))
        for each in [*process.children(recursive=True), process]:
            each.kill()
    except psutil.NoSuchProcess:
        pass
    return subprocess.CompletedProcess(command, 0)


def _of_short_numbers(name):
    def make(*arguments, **more):
        import numpy

        arguments = [numpy.int32 if a is int else a for a in arguments]
        if more.get("dtype") is int:
            more["dtype"] = numpy.int32
        made = getattr(numpy, name)(*arguments, **more)
        short = made.dtype == numpy.int64 and "dtype" not in more and _all_plain(arguments)
        return made.astype(numpy.int32) if short else made

    return make


def _all_plain(value):
    return all(map(_all_plain, value)) if isinstance(value, (list, tuple)) else type(value) in (int, bool, range)


def _ascii_or_missing(name):
    return name if str(name).isascii() else "missing/file"


def _sitk():
    import SimpleITK as sitk

    class Reader(sitk.ImageFileReader):
        def SetFileName(self, name):
            return super().SetFileName(_ascii_or_missing(name))

    def write_image(image, name, *arguments, **more):
        sitk.WriteImage(image, _ascii_or_missing(name), *arguments, **more)

    return {"ImageFileReader": Reader, "WriteImage": write_image}


def _get_short_name(path, buffer, size):
    """``GetShortPathNameW``, with links for the names."""
    folder = os.path.join(tempfile.gettempdir(), "short_names")
    os.makedirs(folder, exist_ok=True)
    buffer.value = os.path.join(folder, f"{abs(hash(path)):X}{os.path.splitext(path)[1][:4]}")
    if not os.path.lexists(buffer.value):
        os.symlink(path, buffer.value)
    return len(buffer.value)


def _assign_process(*_):
    """``AssignProcessToJobObject`` of this process, which leads its process group: the group ends with it."""
    if os.getpgrp() == os.getpid():
        end, _open_until_it_ends = os.pipe()
        subprocess.Popen(["sh", "-c", "read nothing; kill -9 0"], stdin=end, stdout=subprocess.DEVNULL)
        os.close(end)
    return 1


def _others(name):
    """What is other in a module."""
    if name == "sys":
        return {"platform": _PLATFORM}
    if not _WINDOWS:
        return {}
    if name == "os":
        return {"name": "nt", "open": _open_no_folder, "O_BINARY": 0}
    if name == "time":
        return {n: functools.partial(_ticking, getattr(time, n)) for n in ("time", "monotonic")}
    if name == "subprocess":
        return {"CREATE_NO_WINDOW": _NO_WINDOW, "Popen": _Popen, "run": _run}
    if name == "multiprocessing.shared_memory":
        return {"SharedMemory": _Block}
    if name == "numpy":
        return {n: _of_short_numbers(n) for n in ("arange", "array", "asarray", "full", "indices", "ones", "zeros")}
    if name == "SimpleITK":
        return _sitk()
    if name == "ctypes":
        kernel = types.SimpleNamespace(
            GetShortPathNameW=_get_short_name,
            CreateJobObjectW=lambda *_: 1,
            SetInformationJobObject=lambda *_: 1,
            GetCurrentProcess=lambda: -1,
            AssignProcessToJobObject=_assign_process,
        )
        return {"windll": types.SimpleNamespace(kernel32=kernel)}
    return {}


def _ticking(clock):
    return clock() // _TICK_S * _TICK_S


@functools.cache
def _pretended(name):
    other = _others(name)
    return _Pretended(sys.modules[name], other) if other or name in _LACKING else sys.modules[name]


_import = builtins.__import__


def _new_import(name, globals=None, locals=None, fromlist=(), level=0):
    module = _import(name, globals, locals, fromlist, level)
    if level or globals is None or not globals.get("__name__", "").startswith(_OURS):
        return module
    if name in _NO_MODULES:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return _pretended(module.__name__)


multiprocessing.set_start_method("spawn")
builtins.__import__ = _new_import
builtins.open = io.open = _new_open
if _WINDOWS:
    os.unlink = os.remove = _new_unlink
    os.rmdir, os.mkdir = _new_rmdir, _new_mkdir
    os.rename, os.replace = functools.partial(_moved, "rename"), functools.partial(_moved, "replace")
    shutil._use_fd_functions = False
