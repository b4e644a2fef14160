"""Build a small CLIPTokenizer: each word of the grammar is one token, any other falls back to byte pieces.

So an unknown word never fails; it only means nothing. The trainer breaks ties between merges by chance: two
builds have the same number of tokens, under different numbers, so a text encoder works with its own
tokenizer only.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from inference.embedded_model.recipe.captions import all_words

START, END = "<|startoftext|>", "<|endoftext|>"
MAX_TOKENS = 32  # longer prompts are cut
WORD_END = "</w>"

Merge = tuple[str, str]


def build(out: Path) -> CLIPTokenizer:
    """Learn the merges of the grammar's words, save the tokenizer to a folder and return it."""
    merges = _learn_merges(all_words())
    with tempfile.TemporaryDirectory() as folder:
        _write_files(Path(folder), _vocabulary(merges), merges)
        tokenizer = CLIPTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(out)
    return tokenizer


def split_words(tokenizer: CLIPTokenizer) -> list[str]:
    """Words of the grammar that are more than one token: only 4k, since CLIP splits digits off."""
    return [word for word in all_words() if len(tokenizer(word).input_ids) != 3]


def _learn_merges(words: list[str]) -> list[Merge]:
    bpe = Tokenizer(models.BPE(end_of_word_suffix=WORD_END))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        min_frequency=1,
        end_of_word_suffix=WORD_END,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    bpe.train_from_iterator(words, trainer)
    return [(left, right) for left, right in json.loads(bpe.to_str())["model"]["merges"]]


def _vocabulary(merges: list[Merge]) -> dict[str, int]:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(letter + WORD_END for letter in alphabet)]
    tokens += [left + right for left, right in merges]
    tokens = [*dict.fromkeys(tokens), START, END]
    return {token: number for number, token in enumerate(tokens)}


def _write_files(folder: Path, vocabulary: dict[str, int], merges: list[Merge]) -> None:
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": MAX_TOKENS,
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "unk_token": END,
        "do_lower_case": True,
    }
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def main() -> None:
    """Build it and say whether every word is whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    tokenizer = build(parser.parse_args().out)
    print("tokens", len(tokenizer), "words in pieces:", split_words(tokenizer))


if __name__ == "__main__":
    main()
