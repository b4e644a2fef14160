from typing import Any

import pytest

from accounts import keyring, workspaces
from accounts.keyring import ContentUnreadable, Purpose
from accounts.models import User, Workspace, WorkspaceKeyring

PROMPT = "a red boat at dawn"


class TestHash:
    def test_is_the_same_for_the_same_text(self, workspace: Workspace) -> None:
        first = keyring.of(workspace.pk).hash(PROMPT)

        assert keyring.of(workspace.pk).hash(PROMPT) == first

    def test_differs_between_texts(self, workspace: Workspace) -> None:
        opened = keyring.of(workspace.pk)

        assert opened.hash(PROMPT) != opened.hash(PROMPT + ".")

    def test_differs_between_workspaces(self, workspace: Workspace, charlies_workspace: Workspace) -> None:
        mine = keyring.of(workspace.pk).hash(PROMPT)
        theirs = keyring.of(charlies_workspace.pk).hash(PROMPT)

        assert mine.digest != theirs.digest
        assert mine.key_id != theirs.key_id

    def test_differs_between_purposes(self, workspace: Workspace) -> None:
        opened = keyring.of(workspace.pk)

        digests = {opened.hash(PROMPT, purpose).digest for purpose in Purpose}

        assert len(digests) == len(Purpose)

    def test_is_for_prompts_unless_told(self, workspace: Workspace) -> None:
        opened = keyring.of(workspace.pk)

        assert opened.hash(PROMPT) == opened.hash(PROMPT, Purpose.PROMPT)

    def test_is_64_hex_digits_with_the_id_of_its_key(self, workspace: Workspace) -> None:
        made = keyring.of(workspace.pk).hash(PROMPT)

        assert len(bytes.fromhex(made.digest)) == 32
        assert made.key_id == WorkspaceKeyring.objects.get(workspace=workspace).key_id


class TestEndUser:
    def test_is_a_hash_for_this_purpose_alone(self, workspace: Workspace) -> None:
        opened = keyring.of(workspace.pk)

        assert opened.end_user("dora") == opened.hash("dora", Purpose.END_USER).digest
        assert opened.end_user("dora") != opened.hash("dora").digest

    def test_is_empty_for_nobody(self, workspace: Workspace) -> None:
        assert keyring.of(workspace.pk).end_user("") == ""


class TestEncrypt:
    def test_hides_the_content(self, workspace: Workspace) -> None:
        assert b"boat" not in keyring.of(workspace.pk).encrypt(PROMPT.encode())

    def test_is_never_the_same_twice(self, workspace: Workspace) -> None:
        opened = keyring.of(workspace.pk)

        assert opened.encrypt(b"same") != opened.encrypt(b"same")


class TestDecrypt:
    @pytest.mark.parametrize("content", [b"", PROMPT.encode(), "größer 🛶".encode(), b"\x00" * 9_999])
    def test_gives_back_what_was_encrypted(self, workspace: Workspace, content: bytes) -> None:
        token = keyring.of(workspace.pk).encrypt(content)

        assert keyring.of(workspace.pk).decrypt(token) == content

    def test_refuses_the_content_of_another_workspace(
        self, workspace: Workspace, charlies_workspace: Workspace
    ) -> None:
        token = keyring.of(charlies_workspace.pk).encrypt(PROMPT.encode())

        with pytest.raises(ContentUnreadable):
            keyring.of(workspace.pk).decrypt(token)

    def test_refuses_changed_content(self, workspace: Workspace) -> None:
        opened = keyring.of(workspace.pk)
        token = opened.encrypt(PROMPT.encode())
        other = b"A" if token[30:31] != b"A" else b"B"

        with pytest.raises(ContentUnreadable):
            opened.decrypt(token[:30] + other + token[31:])


class TestOf:
    def test_refuses_after_the_application_secret_changed(self, workspace: Workspace, settings: Any) -> None:
        keyring.of(workspace.pk)
        settings.KEYRING_SECRETS = {"1": "another secret"}

        with pytest.raises(ContentUnreadable, match="ATELIER_KEYRING_SECRETS"):
            keyring.of(workspace.pk)

    def test_opens_under_an_older_secret_while_new_ones_use_the_first(
        self, workspace: Workspace, charlie: User, settings: Any
    ) -> None:
        old = settings.KEYRING_SECRETS["1"]
        settings.KEYRING_SECRETS = {"2": "a newer secret", "1": old}

        newer = workspaces.create("Charlie's", charlie)

        assert keyring.of(workspace.pk).secret != keyring.of(newer.pk).secret
        assert WorkspaceKeyring.objects.get(workspace=newer).wrapper_id == "2"

    def test_refuses_at_once_when_the_keyring_is_destroyed(self, workspace: Workspace) -> None:
        keyring.of(workspace.pk)
        WorkspaceKeyring.objects.filter(workspace=workspace).delete()

        with pytest.raises(ContentUnreadable, match="destroyed"):
            keyring.of(workspace.pk)

    def test_shows_no_secret_when_printed(self, workspace: Workspace) -> None:
        opened = keyring.of(workspace.pk)

        assert repr(opened.secret) not in repr(opened)


class TestCreate:
    def test_stores_no_secret_in_the_clear(self, workspace: Workspace) -> None:
        row = WorkspaceKeyring.objects.get(workspace=workspace)
        secret = keyring.of(workspace.pk).secret

        assert len(secret) == 32
        assert secret not in bytes(row.wrapped_secret)

    def test_gives_every_workspace_its_own(self, workspace: Workspace, charlies_workspace: Workspace) -> None:
        assert keyring.of(workspace.pk).secret != keyring.of(charlies_workspace.pk).secret


class TestDestroy:
    def test_makes_everything_unreadable(self, workspace: Workspace) -> None:
        token = keyring.of(workspace.pk).encrypt(b"words")

        assert keyring.destroy(workspace.pk)

        with pytest.raises(ContentUnreadable):
            keyring.of(workspace.pk).decrypt(token)

    def test_says_when_it_was_destroyed_already(self, workspace: Workspace) -> None:
        keyring.destroy(workspace.pk)

        assert not keyring.destroy(workspace.pk)

    def test_leaves_those_of_others(self, workspace: Workspace, charlies_workspace: Workspace) -> None:
        keyring.destroy(workspace.pk)

        assert keyring.of(charlies_workspace.pk)
