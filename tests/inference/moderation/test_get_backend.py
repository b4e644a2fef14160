import pytest
from django.test import override_settings

from inference.moderation import get_backend
from inference.moderation.fake import FakeModeration

FAKE = {"BACKEND": "inference.moderation.fake.FakeModeration", "OPTIONS": {"block_words": ["forbidden"]}}


class TestGetBackend:
    def test_makes_the_backend_of_the_settings_with_its_options(self) -> None:
        with override_settings(ATELIER_MODERATION=FAKE):
            backend = get_backend()

        assert isinstance(backend, FakeModeration)
        assert backend.check_prompt("forbidden").is_blocked

    def test_makes_it_once(self) -> None:
        with override_settings(ATELIER_MODERATION=FAKE):
            assert get_backend() is get_backend()

    def test_follows_a_changed_setting(self) -> None:
        with override_settings(ATELIER_MODERATION=FAKE):
            before = get_backend()

        with override_settings(ATELIER_MODERATION=FAKE):
            assert get_backend() is not before

    def test_refuses_what_is_no_backend(self) -> None:
        with override_settings(ATELIER_MODERATION={"BACKEND": "builtins.dict"}), pytest.raises(TypeError):
            get_backend()
