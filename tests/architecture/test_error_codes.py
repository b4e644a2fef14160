"""Every error code that can reach a caller is explained in the catalogue, and nothing else is."""

import ast
from collections.abc import Iterator
from pathlib import Path

from gateway.api import errors
from gateway.api.error_codes import CODES
from gateway.dialects.openai.errors import CODES as OPENAI_CODES

ROOT = Path(__file__).resolve().parents[2]
# Calls that name a code, and the place of the code among their arguments.
PLACE_IN_CALL = {"Problem": 1, "_fixed": 1, "fail": 1, "retry": 1, "_end_unpaid": 3, "PictureRejected": 0}


def _trees() -> Iterator[ast.Module]:
    for folder in ("gateway", "inference"):
        for path in (ROOT / folder).rglob("*.py"):
            if "migrations" not in path.parts and "recipe" not in path.parts:
                yield ast.parse(path.read_text())


def _texts(node: ast.AST | None) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield node.value


def _named_by_calls(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            place = PLACE_IN_CALL.get(name, len(node.args))
            yield from (code for argument in node.args[place : place + 1] for code in _texts(argument))


def _named_by_engine_errors(tree: ast.Module) -> Iterator[str]:
    """`code = "..."` in the classes of `inference/engine/base.py`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and (node.name == "EngineError" or _is_engine_error(node)):
            for line in node.body:
                if isinstance(line, ast.Assign) and getattr(line.targets[0], "id", "") == "code":
                    yield from _texts(line.value)


def _is_engine_error(node: ast.ClassDef) -> bool:
    return any(getattr(base, "id", "") == "EngineError" for base in node.bases)


def _named_by_columns(tree: ast.Module) -> Iterator[str]:
    """`{"error_code": "..."}`, `error_code="..."` and `job.error_code = "..."`, also among several targets."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            yield from (
                code for key, value in pairs if list(_texts(key)) == ["error_code"] for code in _texts(value)
            )
        elif isinstance(node, ast.keyword) and node.arg == "error_code":
            yield from _texts(node.value)
        elif isinstance(node, ast.Assign):
            yield from _assigned(node.targets[0], node.value)


def _assigned(target: ast.expr, value: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one_target, one_value in zip(target.elts, value.elts, strict=True):
            yield from _assigned(one_target, one_value)
    elif isinstance(target, ast.Attribute) and target.attr == "error_code":
        yield from _texts(value)


def _raised() -> set[str]:
    finders = (_named_by_calls, _named_by_engine_errors, _named_by_columns)
    found = {code for tree in _trees() for finder in finders for code in finder(tree)}
    return found | set(errors.STATUS_OF_JOB_CODE) | {errors.INTERNAL.code}


class TestCodes:
    def test_that_can_be_raised_are_explained(self) -> None:
        assert sorted(_raised() - set(CODES)) == []

    def test_that_are_explained_can_be_raised(self) -> None:
        assert sorted(set(CODES) - _raised()) == []

    def test_are_found_by_this_test(self) -> None:
        """One of each way to name a code, so that a rename of a function cannot make the others pass."""
        known = {
            "missing_api_key",
            "expired",
            "content_gone",
            "engine_failed",
            "blank_picture",
            "prompt_blocked",
        }

        assert known <= _raised()

    def test_of_the_openai_table_exist(self) -> None:
        assert sorted(set(OPENAI_CODES) - set(CODES)) == []

    def test_have_a_sentence(self) -> None:
        assert [code for code, meaning in CODES.items() if not meaning.endswith(".")] == []
