"""What a log line tells of an exception, and what not."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from gateway import logs


@pytest.fixture(params=list(logs.Format))
def written(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """Lines of a logger set up like the product's, in each format."""
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    logs.configure(request.param, "INFO", "")
    ours = root.handlers[0]
    assert isinstance(ours, logging.StreamHandler)
    ours.setStream(stream)
    yield stream
    root.handlers = handlers
    root.setLevel(level)


def fail(secret: str) -> None:
    raise ValueError(secret)


class TestException:
    def test_is_told_by_type_and_place(self, written: io.StringIO) -> None:
        try:
            fail("a verysecret boat")
        except ValueError:
            structlog.stdlib.get_logger("test").exception("it failed")

        assert "ValueError" in written.getvalue()
        assert "test_logs.py" in written.getvalue()
        assert "verysecret" not in written.getvalue()

    def test_with_a_cycle_of_causes_is_told_once(self, written: io.StringIO) -> None:
        first, second = ValueError("one"), KeyError("two")
        first.__cause__, second.__cause__ = second, first

        structlog.stdlib.get_logger("test").error("it failed", exc_info=first)

        assert written.getvalue().count("KeyError") == 1


class TestLine:
    def test_cuts_a_long_value(self, written: io.StringIO) -> None:
        structlog.stdlib.get_logger("test").info("long", value="x" * 1_000_000)

        assert len(written.getvalue()) < 2_000

    def test_stays_one_line_whatever_it_holds(self, written: io.StringIO) -> None:
        structlog.stdlib.get_logger("test").info("odd", value="a\r\nb")

        assert written.getvalue().count("\n") == 1


class TestKey:
    def test_keeps_only_its_public_part_wherever_it_stands(self, written: io.StringIO) -> None:
        prefix, secret = "atl_live_" + "a" * 12, "b" * 38

        logger = structlog.stdlib.get_logger("test")
        logger.info(
            f"called with {prefix}_{secret}", path=f"/api/v1/keys/{prefix}_{secret}", part=f"{prefix}_bbbb"
        )
        logging.getLogger("a library").warning("refused %s", f"{prefix}_{secret}")

        assert "bbbb" not in written.getvalue()
        assert written.getvalue().count(f"{prefix}_...") == 4
