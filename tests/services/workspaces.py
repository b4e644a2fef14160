"""Workspaces on a fleet, and what a test asks of them over HTTP."""

import json
from dataclasses import dataclass
from typing import Any

from tests.services.conftest import Fleet
from tests.services.racers import Order


@dataclass(frozen=True)
class Room:
    """A workspace with a key that may do everything."""

    id: str
    key: str
    key_id: str
    member_id: str

    def order(self, num_images: int = 1, **fields: str) -> Order:
        return Order(self.key, num_images, **fields)

    def get(self, fleet: Fleet, path: str) -> Any:
        with fleet.client(key=self.key) as client:
            return client.get(f"/api/v1{path}").raise_for_status().json()

    def limit(self, fleet: Fleet, *, subject: str, **fields: Any) -> dict[str, Any]:
        """Set a quota of the workspace, its member, its key or ann; returns the answer."""
        mine = {"workspace": "", "member": self.member_id, "key": self.key_id, "end_user": "ann"}
        body = {"subject": subject, "subject_id": mine[subject], **fields}
        with fleet.client(key=self.key) as client:
            told: dict[str, Any] = client.put("/api/v1/quotas", json=body).raise_for_status().json()
        return told

    def quotas(self, fleet: Fleet) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(fleet, "/quotas")["data"]
        return found

    def used(self, fleet: Fleet) -> int:
        """Of the workspace's only quota."""
        (quota,) = self.quotas(fleet)
        return int(quota["used"])


def open_rooms(fleet: Fleet, *specs: dict[str, Any]) -> dict[str, Room]:
    """New workspaces by name; see `seeding` for what a spec may say."""
    first, *_ = fleet.run("-m", "tests.services.seeding", json.dumps(specs)).splitlines()
    return {name: Room(**told) for name, told in json.loads(first).items()}
