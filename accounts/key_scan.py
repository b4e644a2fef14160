"""Looking for our keys in files: by their checksum, without a database, however large or binary the file is."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from accounts import key_text

CHUNK_BYTES = 1 << 20
Complain = Callable[[OSError], None]


@dataclass(frozen=True)
class Found:
    line: int
    prefix: str
    plain_text: str = field(repr=False)


def scan(stream: BinaryIO) -> Iterator[Found]:
    """Every key in the stream with the line that it begins in."""
    line, rest = 1, ""
    while chunk := stream.read(CHUNK_BYTES):
        text = rest + chunk.decode("latin-1")  # one character a byte, so any file can be read as text
        counted = 0
        for match in key_text.find_in(text):
            line, counted = line + text.count("\n", counted, match.start()), match.start()
            yield Found(line, match["prefix"], key_text.whole(match))
        # One character less than a key: what was found is not found again, what was cut in two is found now.
        kept = max(len(text) - (key_text.LENGTH - 1), counted)
        line, rest = line + text.count("\n", counted, kept), text[kept:]


def files(path: Path, complain: Complain) -> Iterator[Path]:
    """The path itself, or the regular files below it. Links below it are not followed, devices not opened."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path, onerror=complain):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names) if _is_regular(Path(folder, name), complain))


def _is_regular(path: Path, complain: Complain) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError as error:
        complain(error)
        return False
