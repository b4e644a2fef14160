import io
import os
from pathlib import Path

import pytest

from accounts import key_scan
from tests.accounts.test_key_text import KEY, OTHER


def lines_of(data: bytes) -> list[int]:
    return [one.line for one in key_scan.scan(io.BytesIO(data))]


class TestScan:
    def test_tells_line_and_prefix(self) -> None:
        data = f"first\n{KEY}\n\nkey = '{OTHER}'\n".encode()

        found = list(key_scan.scan(io.BytesIO(data)))

        assert [(one.line, one.prefix) for one in found] == [(2, KEY[:21]), (4, OTHER[:21])]

    def test_shows_no_secret_when_printed(self) -> None:
        (one,) = key_scan.scan(io.BytesIO(KEY.encode()))

        assert KEY not in repr(one)

    def test_finds_a_key_among_bytes_that_are_no_text(self) -> None:
        assert lines_of(b"\x00\xff\xfe\n\x80" + KEY.encode() + b"\x00\xff") == [2]

    @pytest.mark.parametrize("chunk", [1, 7, 59, 60, 61, 64])
    def test_finds_a_key_wherever_it_is_cut(self, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(key_scan, "CHUNK_BYTES", chunk)
        for before in range(130):
            data = b"\n" * before + KEY.encode() + b"\n\n" + OTHER.encode() + b"\n" * 70

            assert lines_of(data) == [before + 1, before + 3]

    def test_finds_each_key_once_and_every_time_it_is_there(self) -> None:
        assert lines_of((KEY + KEY + "\n" + KEY).encode()) == [1, 1, 2]

    def test_finds_nothing_in_nothing(self) -> None:
        assert lines_of(b"") == []


class TestFiles:
    @staticmethod
    def _below(path: Path) -> list[str]:
        def fail(error: OSError) -> None:
            raise error

        return [str(file.relative_to(path)) for file in key_scan.files(path, fail)]

    def test_are_those_of_all_folders_in_order(self, tmp_path: Path) -> None:
        for name in ("b/2", "b/1", "a", ".hidden/x"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()

        assert self._below(tmp_path) == ["a", ".hidden/x", "b/1", "b/2"]

    def test_are_not_reached_by_links(self, tmp_path: Path) -> None:
        (tmp_path / "a").touch()
        (tmp_path / "to-file").symlink_to(tmp_path / "a")
        (tmp_path / "to-itself").symlink_to(tmp_path)

        assert self._below(tmp_path) == ["a"]

    def test_are_no_pipes(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")

        assert self._below(tmp_path) == []

    def test_are_a_file_itself_also_when_a_link_was_named(self, tmp_path: Path) -> None:
        (tmp_path / "a").touch()
        (tmp_path / "link").symlink_to(tmp_path / "a")

        assert list(key_scan.files(tmp_path / "link", print)) == [tmp_path / "link"]
