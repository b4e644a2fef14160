"""What each role may do: one table, read by the API, the pages and the tests."""

from enum import StrEnum


class Role(StrEnum):
    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    BILLING = "billing"
    VIEWER = "viewer"


class Action(StrEnum):
    GENERATE = "generate images"
    SEE_OWN_JOBS = "see own jobs"
    SEE_ALL_JOBS = "see all jobs"
    MANAGE_TEMPLATES = "manage prompt templates"
    MANAGE_KEYS = "manage API keys"
    MANAGE_MEMBERS = "manage members"
    SEE_BALANCE = "see the balance"
    SPEND_MONEY = "buy credits"
    SEE_AUDIT = "see the audit log"
    CLOSE_WORKSPACE = "close the workspace"


_MEMBER = {Action.GENERATE, Action.SEE_OWN_JOBS, Action.SEE_BALANCE}
_ADMIN = _MEMBER | {
    Action.SEE_ALL_JOBS,
    Action.MANAGE_TEMPLATES,
    Action.MANAGE_KEYS,
    Action.MANAGE_MEMBERS,
    Action.SEE_AUDIT,
}
ALLOWED: dict[Role, frozenset[Action]] = {
    Role.OWNER: frozenset(Action),
    Role.ADMIN: frozenset(_ADMIN),
    Role.MEMBER: frozenset(_MEMBER),
    Role.BILLING: frozenset({Action.SEE_BALANCE, Action.SPEND_MONEY}),
    Role.VIEWER: frozenset({Action.SEE_OWN_JOBS}),
}


class RoleForbids(Exception):
    """The member's role does not include the action."""

    def __init__(self, role: Role, action: Action) -> None:
        self.role, self.action = role, action
        super().__init__(f"The role {role} may not {action}.")


def allows(role: Role, action: Action) -> bool:
    return action in ALLOWED[role]


def require(role: Role, action: Action) -> None:
    """Raise RoleForbids unless the role includes the action."""
    if not allows(role, action):
        raise RoleForbids(role, action)
