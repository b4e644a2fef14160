import uuid

import pytest

from accounts import ids
from accounts.ids import InvalidId, Prefix

SAMPLE = uuid.UUID("01890a5d-ac96-774b-bcce-b302099a8057")
LARGEST = uuid.UUID(int=2**128 - 1)


class TestNewId:
    def test_is_a_version_7_uuid(self) -> None:
        assert ids.new_id().version == 7

    def test_is_of_the_standard_library_type(self) -> None:
        assert type(ids.new_id()) is uuid.UUID

    def test_sorts_by_time(self) -> None:
        made = [ids.new_id() for _ in range(1_000)]

        assert made == sorted(made)
        assert len(set(made)) == len(made)


class TestPublic:
    def test_is_the_prefix_and_26_letters(self) -> None:
        prefix, letters = ids.public(Prefix.JOB, SAMPLE).split("_")

        assert prefix == "job"
        assert len(letters) == 26
        assert set(letters) <= set(ids.ALPHABET)

    def test_sorts_as_the_uuid_does(self) -> None:
        made = [ids.new_id() for _ in range(1_000)]

        public = [ids.public(Prefix.JOB, one) for one in made]

        assert public == sorted(public)

    def test_uses_no_letter_that_looks_like_another(self) -> None:
        assert not set("ilou") & set(ids.ALPHABET)


class TestParse:
    @pytest.mark.parametrize("prefix", Prefix)
    @pytest.mark.parametrize("value", [SAMPLE, uuid.UUID(int=0), uuid.UUID(int=1), LARGEST])
    def test_gives_back_what_public_drew(self, prefix: Prefix, value: uuid.UUID) -> None:
        assert ids.parse(prefix, ids.public(prefix, value)) == value

    @pytest.mark.parametrize("prefix", [prefix for prefix in Prefix if prefix != Prefix.JOB])
    def test_refuses_an_id_of_another_kind(self, prefix: Prefix) -> None:
        with pytest.raises(InvalidId):
            ids.parse(Prefix.JOB, ids.public(prefix, SAMPLE))

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "job",
            "job_",
            "job_" + "0" * 25,
            "job_" + "0" * 27,
            "job_" + "0" * 25 + "u",
            "job_" + "0" * 25 + "٣",
            "job_" + "0" * 25 + " ",
            "job-" + "0" * 26,
            "JOB_" + "0" * 26,
            " job_" + "0" * 26,
            "0" * 26,
            str(SAMPLE),
        ],
    )
    def test_refuses_another_text(self, text: str) -> None:
        with pytest.raises(InvalidId):
            ids.parse(Prefix.JOB, text)

    def test_refuses_capital_letters_so_that_a_thing_has_one_id(self) -> None:
        head, letters = ids.public(Prefix.JOB, SAMPLE).split("_")

        with pytest.raises(InvalidId):
            ids.parse(Prefix.JOB, f"{head}_{letters.upper()}")

    def test_refuses_a_number_larger_than_a_uuid(self) -> None:
        with pytest.raises(InvalidId):
            ids.parse(Prefix.JOB, "job_8" + "0" * 25)
