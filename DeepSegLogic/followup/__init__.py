"""Follow-up: two time points of a patient, registered and compared structure by structure."""

from .follow_up import FollowUp, follow_up
from .output import write_follow_up
from .time_point import TimePoint, read_time_point

__all__ = ["FollowUp", "TimePoint", "follow_up", "read_time_point", "write_follow_up"]
