"""PythonQt's enum values: integers that know their names."""

import enum


class Enum(int):
    """An enum value. Behaves as an integer; ``|`` of two flags is a flag again."""

    def __new__(cls, member: enum.Enum):
        value = super().__new__(cls, member.value)
        value.member = member
        return value

    def __or__(self, other):
        return self._combined(other, int.__or__)

    def __and__(self, other):
        return self._combined(other, int.__and__)

    def __invert__(self):
        return Enum(~self.member) if isinstance(self.member, enum.Flag) else ~int(self)

    def __repr__(self):
        return f"{self.member.name} ({int(self)})"

    def _combined(self, other, operation):
        kind = type(self.member)
        value = operation(self, int(other))
        flags = issubclass(kind, enum.Flag) and kind is type(getattr(other, "member", None))
        return Enum(kind(value)) if flags else value


class EnumType:
    """The type of an unscoped C++ enum: makes values, and has no names of its own."""

    def __init__(self, kind: type[enum.Enum]):
        self._kind = kind

    def __call__(self, value: int) -> Enum:
        return Enum(self._kind(value))
