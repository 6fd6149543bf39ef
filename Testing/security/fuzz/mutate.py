"""How files are damaged: at random, but more often where headers have their lengths, sizes and names."""

from __future__ import annotations

import random
import re

HEAD = 512  # bytes, in which most of what readers go by lies
NUMBERS = (0, 1, -1, 2, 3, 7, 16, 127, 128, 255, 256, 32767, -32768, 65535, 2**24, 2**31 - 1, -(2**31), 2**32 - 1,
           2**40, 2**62, 2**63 - 1, 10**40)  # fmt: skip
TEXTS = ("nan", "inf", "-inf", "1e308", "1e-320", "", " ", "..", "/etc/passwd", "LIST", "%d", "a" * 600, "9" * 300,
         "0x10", "\\", "\0", "é", "none", "(1,0,0)", "true", "null", "[", "{", '"')  # fmt: skip


def mutate(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """The content with one to five faults.

    Args:
        others: from which parts may come.
    """
    mutated = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        rng.choice((_flip, _number, _number, _word, _word, _word, _line, _line, _cut, _repeat, _splice))(
            mutated, rng, others
        )
    return bytes(mutated)


def _at(mutated: bytearray, rng: random.Random) -> int:
    end = len(mutated) if rng.random() < 0.3 else min(HEAD, len(mutated))
    return rng.randrange(end) if end else 0


def _flip(mutated: bytearray, rng: random.Random, _) -> None:
    if mutated:
        mutated[_at(mutated, rng)] ^= 1 << rng.randrange(8)


def _number(mutated: bytearray, rng: random.Random, _) -> None:
    """A binary number of two, four or eight bytes, whole or floating."""
    size, at = rng.choice((1, 2, 4, 4, 8)), _at(mutated, rng)
    at -= at % 2 if rng.random() < 0.8 else 0
    value = rng.choice(NUMBERS) % 256**size
    mutated[at : at + size] = value.to_bytes(size, rng.choice(("little", "little", "big")))


def _word(mutated: bytearray, rng: random.Random, _) -> None:
    """A word or number of text."""
    words = [m.span() for m in re.finditer(rb"[\w.+-]+", bytes(mutated[: 8 * HEAD]))]
    if words:
        start, end = rng.choice(words)
        mutated[start:end] = str(rng.choice(NUMBERS + TEXTS)).encode()


def _line(mutated: bytearray, rng: random.Random, others: list[bytes]) -> None:
    """A line of text lost, doubled, moved, or from elsewhere."""
    head, gap, rest = bytes(mutated).partition(b"\n\n")
    lines = head.split(b"\n")
    there = rng.randrange(len(lines))
    line = lines.pop(there) if rng.random() < 0.6 else lines[there]
    if rng.random() < 0.3:
        line = rng.choice(rng.choice(others)[: 8 * HEAD].split(b"\n"))
    if rng.random() < 0.7:
        lines.insert(rng.randrange(len(lines) + 1), line)
    mutated[:] = b"\n".join(lines) + gap + rest


def _cut(mutated: bytearray, rng: random.Random, _) -> None:
    at = _at(mutated, rng)
    if rng.random() < 0.5:
        del mutated[at:]
    else:
        del mutated[at : at + rng.choice((1, 2, 4, 16, 100))]


def _repeat(mutated: bytearray, rng: random.Random, _) -> None:
    at = _at(mutated, rng)
    part = bytes(mutated[at : at + rng.choice((1, 2, 8, 64))])
    mutated[at:at] = part * rng.choice((1, 2, 100, 2000))


def _splice(mutated: bytearray, rng: random.Random, others: list[bytes]) -> None:
    other = rng.choice(others)
    at, start = _at(mutated, rng), rng.randrange(len(other)) if other else 0
    length = rng.choice((4, 16, 64, 512))
    mutated[at : at + length] = other[start : start + length]
