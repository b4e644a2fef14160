import contextlib
import re

import pytest
from django.db import transaction

from accounts import audit, keyring
from accounts.audit import Event, Origin
from accounts.models import AuditEvent, Workspace

ORIGIN = Origin("key:atl_live_abcdefghijkl", "req_7")


class ChangeFailed(Exception):
    pass


def latest(workspace: Workspace) -> AuditEvent:
    return AuditEvent.objects.for_workspace(workspace).latest("pk")


class TestEvent:
    @pytest.mark.parametrize("event", Event)
    def test_reads_subject_colon_action(self, event: Event) -> None:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*:[a-z]+", event)

    @pytest.mark.parametrize("event", Event)
    def test_fits_its_column(self, event: Event) -> None:
        assert len(event) <= (AuditEvent._meta.get_field("action").max_length or 0)


class TestRecord:
    def test_says_who_did_what_to_which_thing(self, workspace: Workspace) -> None:
        audit.record(Event.KEY_ISSUED, workspace.pk, "key_1", ORIGIN)

        event = latest(workspace)
        assert (event.actor, event.action, event.target) == (ORIGIN.actor, "api_key:issued", "key_1")

    def test_keeps_the_request(self, workspace: Workspace) -> None:
        audit.record(Event.KEY_ISSUED, workspace.pk, "key_1", ORIGIN)

        assert latest(workspace).request_id == "req_7"

    def test_names_the_system_when_nobody_asked(self, workspace: Workspace) -> None:
        audit.record(Event.JOB_CANCELED, workspace.pk, "job_1")

        assert (latest(workspace).actor, latest(workspace).request_id) == ("system", "")

    def test_keeps_the_data(self, workspace: Workspace) -> None:
        audit.record(Event.MEMBER_ADDED, workspace.pk, "mem_1", role="viewer", invited=True)

        assert latest(workspace).data == {"role": "viewer", "invited": True}

    def test_keeps_a_prompt_as_its_keyed_hash_only(self, workspace: Workspace) -> None:
        prompt = keyring.of(workspace.pk).hash("a red boat")

        audit.record(Event.JOB_ACCEPTED, workspace.pk, "job_1", prompt=prompt)

        event = latest(workspace)
        assert (event.prompt_hash, event.prompt_hash_key_id) == (prompt.digest, prompt.key_id)

    def test_belongs_to_one_workspace(self, workspace: Workspace, charlies_workspace: Workspace) -> None:
        audit.record(Event.JOB_CANCELED, workspace.pk, "job_1")

        assert not AuditEvent.objects.for_workspace(charlies_workspace).filter(target="job_1").exists()

    def test_is_undone_with_the_change_it_tells_of(self, workspace: Workspace) -> None:
        with contextlib.suppress(ChangeFailed), transaction.atomic():
            audit.record(Event.JOB_CANCELED, workspace.pk, "job_1")
            raise ChangeFailed

        assert not AuditEvent.objects.for_workspace(workspace).filter(target="job_1").exists()
