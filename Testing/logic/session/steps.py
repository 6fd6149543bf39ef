"""What tests do with a session."""

import time


def wait(session, until=None, seconds=300):
    """Poll until a condition holds; without one, until the run has ended. Returns the run."""
    deadline = time.monotonic() + seconds
    while not until() if until else session.jobs.run.busy:
        session.poll()
        assert time.monotonic() < deadline, (session.jobs.run, session.jobs.log)
        time.sleep(0.01)
    return session.jobs.run


def settle(session):
    """Poll until nothing is waited for."""
    wait(session, lambda: not session.jobs.waiting)
