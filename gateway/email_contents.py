"""What a notice's templates are told, read when the mail is written: one function for each notice."""

import uuid
from collections.abc import Callable
from typing import Any

from accounts import quotas
from accounts.models import ApiKey
from accounts.notices import Notice

Content = dict[str, Any]


def of(notice: Notice, workspace_id: uuid.UUID, about: dict[str, str]) -> Content | None:
    """None when what the notice speaks of is not there any more."""
    return CONTENTS[notice](workspace_id, about)


def _key_leaked(workspace_id: uuid.UUID, about: dict[str, str]) -> Content | None:
    keys = ApiKey.objects.for_workspace(workspace_id).select_related("membership__user", "replaced_by")
    key = keys.filter(pk=about["key_id"]).first()
    if key is None:
        return None
    return {"key": key, "source": about["source"]}


def _quota_crossed(workspace_id: uuid.UUID, about: dict[str, str]) -> Content | None:
    found = [limit for limit in quotas.read(workspace_id) if str(limit.id) == about["quota_id"]]
    if not found:
        return None
    names = quotas.public_subjects(workspace_id, found[0].subject, [about["subject_id"]])
    return {"limit": found[0], "subject_name": names.get(about["subject_id"], "")}


CONTENTS: dict[Notice, Callable[[uuid.UUID, dict[str, str]], Content | None]] = {
    Notice.KEY_LEAKED: _key_leaked,
    Notice.QUOTA_CROSSED: _quota_crossed,
}
