"""A tenant sees, guesses and changes nothing of another, whichever address it calls. See `tenant_matrix`."""

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import Client

from tests import factories
from tests.gateway import tenant_matrix, tenant_world
from tests.gateway.tenant_matrix import Call, Shown
from tests.gateway.tenant_world import World


@pytest.fixture
def worlds(db: None, settings: Any) -> tuple[World, World]:
    """alice's and charlie's."""
    settings.MAX_WAIT_SECONDS = 0
    factories.fake_model()
    return tenant_world.furnish("alice"), tenant_world.furnish("charlie")


def send(call: Call) -> Shown:
    headers = call.headers | ({"Authorization": f"Bearer {call.key}"} if call.key else {})
    # Without a type Django's client would send an empty form, which is a body.
    body = {"data": call.body or "", "content_type": "application/json"} if call.method != "get" else {}
    response: Any = getattr(Client(headers=headers), call.method)(call.path, **body)
    content = _streamed(response) if response.streaming else response.content
    return Shown(response.status_code, f"{dict(response.headers)} {content.decode('latin-1')}")


@async_to_sync
async def _streamed(response: Any) -> bytes:
    return b"".join([piece async for piece in response.streaming_content])


class TestAddresses:
    def test_all_have_examples(self) -> None:
        for method, route in tenant_matrix.addresses():
            tenant_matrix.examples(method, route)

    def test_are_those_of_the_examples(self) -> None:
        """An example of an address that is gone checks nothing."""
        assert set(tenant_matrix.EXAMPLES) == set(tenant_matrix.addresses())


class TestTenant:
    def test_uses_its_own(self, worlds: tuple[World, World]) -> None:
        tenant_matrix.check_own(send, *worlds)

    def test_reaches_nothing_of_another(self, worlds: tuple[World, World]) -> None:
        alice, charlie = worlds
        before = tenant_world.state(charlie.workspace_id)

        tenant_matrix.check_foreign(send, alice, charlie)

        assert tenant_world.state(charlie.workspace_id) == before

    def test_reaches_nothing_of_its_live_side_from_its_test_side(self, worlds: tuple[World, World]) -> None:
        alice, charlie = worlds
        before = tenant_world.live_state(alice.workspace_id)

        tenant_matrix.check_test_side(send, alice, charlie)

        assert tenant_world.live_state(alice.workspace_id) == before

    def test_needs_a_key(self, worlds: tuple[World, World]) -> None:
        alice, _ = worlds
        before = tenant_world.state(alice.workspace_id)

        tenant_matrix.check_without_key(send, alice)

        assert tenant_world.state(alice.workspace_id) == before
