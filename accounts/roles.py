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
    MANAGE_LIMITS = "manage quotas"
    SEE_OWN_USAGE = "see own usage"
    SEE_USAGE = "see all usage"
    SEE_BALANCE = "see the balance"
    SPEND_MONEY = "buy credits"
    SEE_AUDIT = "see the audit log"
    MANAGE_WORKSPACE = "change the workspace's settings"
    EXPORT_WORKSPACE = "export the workspace"
    CLOSE_WORKSPACE = "close the workspace"


_MEMBER = {Action.GENERATE, Action.SEE_OWN_JOBS, Action.SEE_OWN_USAGE, Action.SEE_BALANCE}
_ADMIN = _MEMBER | {
    Action.SEE_ALL_JOBS,
    Action.SEE_USAGE,
    Action.MANAGE_TEMPLATES,
    Action.MANAGE_KEYS,
    Action.MANAGE_MEMBERS,
    Action.MANAGE_LIMITS,
    Action.SEE_AUDIT,
    Action.MANAGE_WORKSPACE,
    Action.EXPORT_WORKSPACE,
}
ALLOWED: dict[Role, frozenset[Action]] = {
    Role.OWNER: frozenset(Action),
    Role.ADMIN: frozenset(_ADMIN),
    Role.MEMBER: frozenset(_MEMBER),
    Role.BILLING: frozenset({Action.SEE_OWN_USAGE, Action.SEE_USAGE, Action.SEE_BALANCE, Action.SPEND_MONEY}),
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
