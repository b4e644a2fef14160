import pytest

from inference.moderation.base import Decision
from inference.moderation.blocklist import Blocklist
from inference.moderation.mutations import MUTATIONS, Mutation
from inference.moderation.policy import Rule

BLOCKLIST = Blocklist()


class TestMutations:
    def test_are_at_least_twenty_kinds(self) -> None:
        assert len({mutate("severed head") for mutate in MUTATIONS}) >= 20

    @pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
    def test_change_the_term(self, mutate: Mutation) -> None:
        assert mutate("severed head") != "severed head"

    @pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
    def test_give_the_same_result_each_time(self, mutate: Mutation) -> None:
        assert mutate("severed head") == mutate("severed head")


class TestDisguisedTerm:
    @pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
    @pytest.mark.parametrize("rule", BLOCKLIST.rules, ids=lambda rule: rule.id)
    def test_is_found_in_the_same_category(self, rule: Rule, mutate: Mutation) -> None:
        prompt = " ".join(mutate(term) for term in rule.examples)

        verdict = BLOCKLIST.check_prompt(f"studio photo: {prompt}", mutate(rule.negative_example))

        assert verdict.category == rule.category

    @pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
    @pytest.mark.parametrize("harmless", ["grapes", "analyst", "sussex", "cocktail", "raccoon"])
    def test_is_not_seen_in_a_harmless_word(self, harmless: str, mutate: Mutation) -> None:
        verdict = BLOCKLIST.check_prompt(mutate(harmless))

        assert verdict.decision is Decision.ALLOW
