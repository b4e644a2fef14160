import pytest
from django.db import IntegrityError

from accounts import api_keys
from accounts.models import ApiKey, Membership, Side, User, Workspace

pytestmark = pytest.mark.django_db


class TestUser:
    def test_has_a_lower_case_address(self) -> None:
        user = User.objects.create_user("Dora.Doe@Example.COM", "correct horse battery")

        assert user.email == "dora.doe@example.com"

    def test_is_one_person_whatever_the_case(self, alice: User) -> None:
        with pytest.raises(IntegrityError):
            User.objects.create_user("ALICE@example.com")

    def test_stores_no_plain_password(self, alice: User) -> None:
        assert "correct horse battery" not in alice.password
        assert alice.check_password("correct horse battery")

    def test_without_a_password_cannot_sign_in(self) -> None:
        assert not User.objects.create_user("dora@example.com").has_usable_password()

    def test_is_no_staff_by_default(self, alice: User) -> None:
        assert not alice.is_staff
        assert not alice.is_superuser

    def test_is_staff_when_made_superuser(self) -> None:
        root = User.objects.create_superuser("root@example.com", "correct horse battery")

        assert root.is_staff
        assert root.is_superuser


class TestMembership:
    def test_refuses_an_unknown_role(self, workspace: Workspace, bob: User) -> None:
        with pytest.raises(IntegrityError):
            Membership.objects.create(workspace=workspace, user=bob, role="emperor")


class TestApiKey:
    def test_refuses_an_unknown_side(self, workspace: Workspace) -> None:
        with pytest.raises(IntegrityError):
            ApiKey.objects.create(workspace=workspace, key_id="k", side="dark", name="no")

    def test_shows_a_prefix_without_the_secret(self, workspace: Workspace) -> None:
        issued = api_keys.issue(workspace, "shown", side=Side.TEST)

        assert issued.key.prefix == f"atl_test_{issued.key.key_id}"
        assert issued.plain_text.startswith(issued.key.prefix + "_")
