"""Scenes and their pictures must stay what the weights were trained on."""

import hashlib
import json
import random

import pytest

from inference.embedded_model.recipe import scenes

KIND_SCENES = [
    scenes.Scene("sky", (scenes.Thing(kind, "red", 0.35, 0.5, 0.5),), seed=1) for kind in scenes.KINDS
]


class TestSampleScene:
    def test_same_seed_gives_same_scenes(self) -> None:
        first, second = random.Random(5), random.Random(5)

        assert [scenes.sample_scene(first) for _ in range(50)] == [
            scenes.sample_scene(second) for _ in range(50)
        ]

    def test_is_what_the_weights_were_trained_on(self) -> None:
        rng = random.Random(100003)

        text = json.dumps([scenes.to_json(scenes.sample_scene(rng)) for _ in range(200)])

        assert hashlib.sha256(text.encode()).hexdigest()[:16] == "995d019067da9de1"

    def test_leaves_out_what_is_kept_for_measuring(self) -> None:
        rng = random.Random(2)

        assert not any(scenes.has_held_out(scenes.sample_scene(rng)) for _ in range(300))

    def test_things_stand_out_from_their_background(self) -> None:
        rng = random.Random(3)

        for _ in range(300):
            scene = scenes.sample_scene(rng)
            assert not any(scenes.clashes(thing.colour, scene.background) for thing in scene.things)

    def test_things_lie_on_the_canvas(self) -> None:
        rng = random.Random(4)

        for _ in range(300):
            for thing in scenes.sample_scene(rng).things:
                assert thing.size / 2 <= thing.x <= 1 - thing.size / 2
                assert thing.size / 2 <= thing.y <= 1 - thing.size / 2


class TestRender:
    def test_pixels_are_what_the_weights_were_trained_on(self) -> None:
        pixels = hashlib.sha256()

        for scene in KIND_SCENES:
            pixels.update(scenes.render(scene, 64, 2).tobytes())
        for background in scenes.BACKGROUNDS:
            pixels.update(scenes.render(scenes.Scene(background, seed=9), 64, 2).tobytes())

        assert pixels.hexdigest()[:16] == "50cd3c4c28780dee"

    def test_each_kind_looks_different(self) -> None:
        pictures = {scenes.render(scene, 64, 2).tobytes() for scene in KIND_SCENES}

        assert len(pictures) == 16

    def test_another_seed_changes_the_shade(self) -> None:
        thing = scenes.Thing("circle", "red", 0.35, 0.5, 0.5)

        first = scenes.render(scenes.Scene("blue", (thing,), seed=1), 32, 2)
        second = scenes.render(scenes.Scene("blue", (thing,), seed=2), 32, 2)

        assert first.tobytes() != second.tobytes()

    def test_refuses_an_unknown_kind(self) -> None:
        thing = scenes.Thing("zebra", "red", 0.35, 0.5, 0.5)

        with pytest.raises(KeyError):
            scenes.render(scenes.Scene("blue", (thing,)), 32, 2)


class TestJson:
    def test_brings_the_same_scene_back(self) -> None:
        rng = random.Random(6)
        chosen = [scenes.sample_scene(rng) for _ in range(50)]

        text = json.dumps([scenes.to_json(scene) for scene in chosen])

        assert [scenes.from_json(values) for values in json.loads(text)] == chosen
