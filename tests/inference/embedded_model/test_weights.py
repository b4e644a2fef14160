"""The weights that ship: small, clean of the machine they were made on, and they draw what is asked."""

import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inference.embedded_model import FOLDER
from inference.embedded_model.recipe import checker

MOST_BYTES = 15_000_000
STEPS, GUIDANCE = 12, 4.0
SPLIT_WORDS = ["4k"]  # CLIP takes digits one by one


def test_folder_is_small() -> None:
    files = [file for file in FOLDER.parent.rglob("*") if file.is_file() and file.suffix != ".pyc"]

    assert sum(file.stat().st_size for file in files) <= MOST_BYTES


def test_no_config_tells_where_the_parts_lay() -> None:
    for file in FOLDER.rglob("*config.json"):
        assert {"_name_or_path", "is_local", "local_files_only"}.isdisjoint(json.loads(file.read_text())), (
            file
        )


class Notices(logging.Handler):
    """Keeps what the libraries log as a warning or worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture
def notices() -> Iterator[list[str]]:
    """Warnings and log messages of loading and running; importing the libraries has its own."""
    from diffusers import StableDiffusionPipeline  # noqa: F401

    handler = Notices()
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers", "torch")]
    for logger in loggers:
        logger.addHandler(handler)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield handler.texts
    for logger in loggers:
        logger.removeHandler(handler)
    assert [str(warning.message) for warning in caught] == []


def draw(pipeline: Any, prompt: str, seed: int) -> Any:
    import torch

    return pipeline(
        prompt,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        generator=torch.Generator().manual_seed(seed),
    ).images[0]


@pytest.mark.engine
def test_draws_the_fixed_prompts_without_a_warning(notices: list[str]) -> None:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(FOLDER)
    pipeline.set_progress_bar_config(disable=True)
    reports = [
        checker.check(prompt, draw(pipeline, prompt, seed))
        for seed, prompt in enumerate(checker.FIXED_PROMPTS)
    ]

    failed = [(p, r.reasons) for p, r in zip(checker.FIXED_PROMPTS, reports, strict=True) if not r.passed]
    assert len(failed) <= 1, failed
    assert notices == []


@pytest.mark.engine
def test_tokenizer_keeps_each_word_whole() -> None:
    from transformers import CLIPTokenizer

    from inference.embedded_model.recipe.build_tokenizer import split_words

    assert split_words(CLIPTokenizer.from_pretrained(FOLDER / "tokenizer")) == SPLIT_WORDS


@pytest.mark.engine
def test_recipe_builds_such_a_tokenizer(tmp_path: Path) -> None:
    from inference.embedded_model.recipe.build_tokenizer import build, split_words

    tokenizer = build(tmp_path)

    assert len(tokenizer) == len(json.loads((FOLDER / "tokenizer" / "vocab.json").read_text()))
    assert split_words(tokenizer) == SPLIT_WORDS


@pytest.mark.engine
def test_scheduler_is_the_one_the_recipe_makes() -> None:
    from inference.embedded_model.recipe.architecture import make_scheduler

    shipped = json.loads((FOLDER / "scheduler" / "scheduler_config.json").read_text())
    made = dict(make_scheduler().config)

    assert shipped["steps_offset"] == 1
    assert {key: made.get(key) for key in shipped if key[0] != "_"} == {
        key: value for key, value in shipped.items() if key[0] != "_"
    }
