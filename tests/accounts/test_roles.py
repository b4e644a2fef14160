import pytest

from accounts import roles
from accounts.roles import Action, Role, RoleForbids

TABLE = """
                          owner  admin  member  billing  viewer
generate images           yes    yes    yes     no       no
see own jobs              yes    yes    yes     no       yes
see all jobs              yes    yes    no      no       no
manage prompt templates   yes    yes    no      no       no
manage API keys           yes    yes    no      no       no
manage members            yes    yes    no      no       no
manage quotas             yes    yes    no      no       no
see own usage             yes    yes    yes     yes      no
see all usage             yes    yes    no      yes      no
see the balance           yes    yes    yes     yes      no
buy credits               yes    no     no      yes      no
see the audit log         yes    yes    no      no       no
change the workspace's settings  yes  yes  no   no       no
export the workspace      yes    yes    no      no       no
close the workspace       yes    no     no      no       no
"""


def _read(table: str) -> dict[tuple[str, str], bool]:
    head, *lines = table.strip().splitlines()
    names = head.split()
    decided: dict[tuple[str, str], bool] = {}
    for line in lines:
        action, *answers = line.rsplit(maxsplit=len(names))
        decided |= {(name, action): answer == "yes" for name, answer in zip(names, answers, strict=True)}
    return decided


DECIDED = _read(TABLE)


class TestTable:
    def test_decides_every_role_and_action(self) -> None:
        assert set(DECIDED) == {(role, action) for role in Role for action in Action}

    @pytest.mark.parametrize("role, action", DECIDED)
    def test_is_the_products(self, role: str, action: str) -> None:
        assert roles.allows(Role(role), Action(action)) is DECIDED[role, action]

    def test_has_a_line_for_every_role(self) -> None:
        assert set(roles.ALLOWED) == set(Role)


class TestOwner:
    @pytest.mark.parametrize("action", Action)
    def test_may_do_everything(self, action: Action) -> None:
        roles.require(Role.OWNER, action)


class TestRequire:
    def test_refuses_a_viewer_who_generates(self) -> None:
        with pytest.raises(RoleForbids, match="The role viewer may not generate images"):
            roles.require(Role.VIEWER, Action.GENERATE)

    def test_tells_role_and_action(self) -> None:
        with pytest.raises(RoleForbids) as refused:
            roles.require(Role.MEMBER, Action.SEE_AUDIT)

        assert (refused.value.role, refused.value.action) == (Role.MEMBER, Action.SEE_AUDIT)
