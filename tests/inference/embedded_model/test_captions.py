"""Captions must stay what the weights were trained on, and be readable back."""

import hashlib
import random

import pytest

from inference.embedded_model.recipe import captions, grammar, scenes
from inference.embedded_model.recipe.grammar import AskedScene, AskedThing


def asked_of(scene: scenes.Scene) -> set[AskedScene]:
    """What a caption of the scene may ask for; 'beside' says its things in any order."""
    things = tuple(AskedThing.of(thing) for thing in scene.things)
    if scene.count > 1:
        things = things[:1]
    orders = {things, things[::-1]} if scene.relation == "beside" else {things}
    return {
        AskedScene(scene.background, order, scene.relation, scene.count, scene.position) for order in orders
    }


class TestDescribe:
    def test_is_what_the_weights_were_trained_on(self) -> None:
        rng = random.Random(7)

        text = "\n".join(captions.describe(scenes.sample_scene(rng), rng) for _ in range(300))

        assert hashlib.sha256(text.encode()).hexdigest()[:16] == "e17b123cc9de2d12"

    def test_says_only_words_of_the_tokenizer_but_for_one_made_up(self) -> None:
        rng, known = random.Random(8), set(captions.all_words())

        for _ in range(300):
            caption = captions.describe(scenes.sample_scene(rng), rng)
            assert len(set(caption.replace(",", "").split()) - known) <= 1


class TestParse:
    def test_reads_every_wording_back(self) -> None:
        rng, refused = random.Random(9), 0

        for _ in range(1000):
            scene = scenes.sample_scene(rng, allow_held_out=True)
            caption = captions.describe(scene, rng)
            try:
                assert grammar.parse(caption) in asked_of(scene), caption
            except grammar.NotInGrammar:
                refused += 1  # a made-up word

        assert refused < 50

    def test_takes_the_natural_colour_where_none_is_named(self) -> None:
        asked = grammar.parse("A sun in the sky")

        assert asked == AskedScene("sky", (AskedThing("sun", "yellow"),))

    def test_takes_white_where_no_background_is_named(self) -> None:
        assert grammar.parse("two red stars").background == "white"

    @pytest.mark.parametrize(
        "prompt",
        [
            "",
            "a red zebra on a blue background",
            "a circle on a blue background",
            "five red circles on a blue background",
            "a red circle on a blue background in the rain",
            "red",
        ],
    )
    def test_refuses_other_words(self, prompt: str) -> None:
        with pytest.raises(grammar.NotInGrammar):
            grammar.parse(prompt)
