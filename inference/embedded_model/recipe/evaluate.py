"""Measure how well pictures follow prompts that training never saw.

Four groups: single things, counts, pairs, and captions of the whole grammar. The checker judges all of
them; for single things a classifier names the kind as a second judge. `--seed` chooses other prompts and
other noise.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from inference.embedded_model.recipe import checker, classifier, grammar, pixels
from inference.embedded_model.recipe.captions import article, describe, pluralize
from inference.embedded_model.recipe.scenes import (
    COLOURS,
    KINDS,
    SHAPES,
    far_apart,
    has_held_out,
    is_held_out,
    render,
    sample_scene,
)
from inference.embedded_model.recipe.sheet import draw_pictures, load

Group = dict[str, Any]
NAMES = tuple(COLOURS)
PLACING = ("to the left of", "to the right of", "above", "below")


def single_prompts(count: int, seed: int) -> list[str]:
    """Held-out colour, kind and background, each once."""
    triples = [
        (colour, kind, ground)
        for colour in NAMES
        for kind in KINDS
        for ground in NAMES
        if colour != ground and is_held_out(colour, kind, ground) and far_apart(colour, ground)
    ]
    random.Random(seed).shuffle(triples)
    return [f"{article(c + ' ' + k)} on a {b} background" for c, k, b in triples[:count]]


def count_prompts(count: int, seed: int) -> list[str]:
    """Two to four equal shapes."""
    rng = random.Random(seed)
    prompts: list[str] = []
    while len(prompts) < count:
        colour, ground = rng.choice(NAMES), rng.choice(NAMES)
        shape, number = rng.choice(SHAPES), rng.choice(("two", "three", "four"))
        if far_apart(colour, ground, 200):
            prompts.append(f"{number} {colour} {pluralize(shape)} on a {ground} background")
    return prompts


def relation_prompts(count: int, seed: int) -> list[str]:
    """Two shapes of different colours, one beside or over the other."""
    rng = random.Random(seed)
    prompts: list[str] = []
    while len(prompts) < count:
        (first, second), ground = rng.sample(NAMES, 2), rng.choice(NAMES)
        shapes = rng.sample(SHAPES, 2)
        pairs = ((first, second), (first, ground), (second, ground))
        if all(far_apart(a, b, 200) for a, b in pairs):
            before, after = article(f"{first} {shapes[0]}"), article(f"{second} {shapes[1]}")
            prompts.append(f"{before} {rng.choice(PLACING)} {after} on a {ground} background")
    return prompts


def grammar_prompts(count: int, seed: int) -> list[str]:
    """Captions of held-out scenes in all their wordings, of those that the checker can judge."""
    rng = random.Random(seed)
    prompts: list[str] = []
    while len(prompts) < count:
        scene = sample_scene(rng, allow_held_out=True)
        caption = describe(scene, rng)
        if has_held_out(scene) and _is_judgeable(caption, render(scene, 256, 2)):
            prompts.append(caption)
    return prompts


def _is_judgeable(caption: str, picture: Any) -> bool:
    try:
        return checker.check(caption, picture).passed
    except grammar.NotInGrammar:  # one caption in thirty has a made-up word
        return False


GROUPS: dict[str, Callable[[int, int], list[str]]] = {
    "singles": single_prompts,
    "counts": count_prompts,
    "relations": relation_prompts,
    "grammar": grammar_prompts,
}


def measure(pipeline: Any, net: nn.Module, prompts: list[str], seed: int, args: argparse.Namespace) -> Group:
    """Shares of right pictures, seconds per picture, and what was wrong with the others."""
    started = time.monotonic()
    pictures = draw_pictures(pipeline, prompts, seed, args.steps, args.guidance)
    seconds = (time.monotonic() - started) / len(prompts)
    reports = [checker.check(prompt, picture) for prompt, picture in zip(prompts, pictures, strict=True)]
    asked = [grammar.parse(prompt) for prompt in prompts]
    pairs = list(zip(reports, asked, strict=True))
    result: Group = {
        "n": len(prompts),
        "passed": _share([r.passed for r in reports]),
        "background": _share([r.background == a.background for r, a in pairs]),
        "colours": _share([_has_colours(r, a) for r, a in pairs]),
        "count": _share([r.count == (2 if a.relation else a.count) for r, a in pairs]),
        "seconds": round(seconds, 3),
        "misses": [(p, *r.reasons) for p, r in zip(prompts, reports, strict=True) if not r.passed],
    }
    singles = [(p, a) for p, a in zip(pictures, asked, strict=True) if not a.relation and a.count == 1]
    if singles:
        named = [
            classifier.classify(net, pixels.read(p, classifier.SIDE)) == a.things[0].kind for p, a in singles
        ]
        result["classifier names the single kind"] = _share(named)
    return result


def _has_colours(report: checker.SceneReport, asked: grammar.AskedScene) -> bool:
    if len(report.colours) != len(asked.things):
        return False
    return all(t.colour in seen for t, seen in zip(asked.things, report.colours, strict=True))


def _share(answers: list[bool]) -> float:
    return round(sum(answers) / len(answers), 3)


def main() -> None:
    """Measure and print as JSON; `--out` keeps it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pipeline", type=Path, required=True, help="exported folder")
    parser.add_argument("--classifier", type=Path, required=True, help="file; trained when missing")
    for group, default in (("singles", 60), ("counts", 20), ("relations", 30), ("grammar", 60)):
        parser.add_argument(f"--{group}", type=int, default=default)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    net, pipeline = classifier.load_or_train(args.classifier), load(args.pipeline)
    result: dict[str, Any] = {"steps": args.steps, "guidance": args.guidance, "seed": args.seed}
    for number, (group, make) in enumerate(GROUPS.items()):
        if count := getattr(args, group):
            prompts = make(count, args.seed + number)
            result[group] = measure(pipeline, net, prompts, 1000 * (args.seed + 2 * number), args)
    print(json.dumps(result, indent=1))
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
