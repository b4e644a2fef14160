"""Credits, quotas and jobs of one workspace under every order of calls that Hypothesis thinks of.

Each rule calls the product and the model, and compares what they answer; after each rule everything that is stored is
compared. Time stands still during a rule.
"""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, ClassVar

from django.db import transaction
from django.test import override_settings
from hypothesis import HealthCheck
from hypothesis import settings as Settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from accounts import audit, periods, workspaces
from accounts import quotas as limits_of_workspace
from accounts.models import AuditEvent, QuotaUnit, Side, Subject, Window
from billing import ledger
from billing.ledger import Settlement
from billing.models import Grant as GrantRow
from billing.models import Source
from inference import jobs, quotas, reconciliation
from inference.attempts import Claim, Result, StoredPicture, Timings
from inference.models import Job as JobRow
from inference.models import QuotaUse
from inference.requests import Caller, Delivery
from tests import factories
from tests.inference import money_world as world
from tests.inference.money_model import Grant, Job, Limit, Model, Place, Refusal, Request

SETTINGS = Settings(
    deadline=None,
    database=None,
    print_blob=False,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

# Before clocks change in Europe and in America, before a short month, and before a year begins.
BEGINNINGS = [
    datetime(2026, 3, 28, 22, 59, tzinfo=UTC),
    datetime(2026, 11, 1, 4, 30, tzinfo=UTC),
    datetime(2027, 1, 30, 12, tzinfo=UTC),
    datetime(2027, 12, 31, 23, 59, 59, tzinfo=UTC),
]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "America/Asuncion", "Pacific/Apia", "Asia/Kathmandu"]
SECONDS = [timedelta(seconds=1), timedelta(seconds=2), timedelta(seconds=31)]
HOURS = [timedelta(minutes=10), timedelta(hours=7)]
TICK = timedelta(milliseconds=1)
# The end of a period that runs, by its window and anchor day, and how long before or after.
ENDS = [
    (window, day, beside)
    for window, day in ((Window.DAY, 1), (Window.MONTH, 1), (Window.MONTH, 15), (Window.MONTH, 31))
    for beside in (-TICK, timedelta(), TICK)
]
LIVES = [None, timedelta(seconds=20), timedelta(hours=1), timedelta(days=2), timedelta(days=40)]
SOURCES = [Source.PROMOTIONAL, Source.PLAN, Source.PACK, Source.ADJUSTMENT]
KINDS = list(product(QuotaUnit, Window))
PATIENCE = 2  # changes of the time zone that may be refused in one example


def up_to(most: int, least: int = 0) -> st.SearchStrategy[int]:
    """Not `integers`: Hypothesis adds to those what it finds in imported modules, and a walk would depend on them."""
    return st.sampled_from(range(least, most + 1))


some = up_to(11)  # which of a list, by its remainder
pauses = st.sampled_from([*SECONDS * 5, *HOURS * 2, *ENDS])
askers = st.tuples(some, st.sampled_from(["", "", *world.END_USERS]))
requests = st.tuples(
    askers,
    st.sampled_from(range(len(world.PRICES))),
    up_to(4, least=1),
    st.sampled_from([None, None, None, "k1", "k2"]),
)
limits = st.tuples(some, some, up_to(9), st.booleans(), st.sampled_from([1, 15, 31]))
results = st.tuples(
    up_to(4), up_to(4), st.sampled_from([0, 1, 999, 1_000, 7_500, 20_000, 30_000]), st.booleans()
)
ends = st.sampled_from(["complete", "complete", "complete", "fail", "retry", "give back"])
others = st.sampled_from([{}, {"amount_credits": 121}, {"paid_minor_units": 301}])
repeats = st.sampled_from(["hold", "settle", "complete", "submit", "submit"])
moments = up_to(45)  # statements until the connection is lost


class Disagreement(AssertionError):
    """Product and model differ."""


def agree(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise Disagreement(f"{what}: the product says\n  {found}\nand the model\n  {expected}")


class MoneyMachine(RuleBasedStateMachine):
    """Each example has a workspace of its own in a transaction that is rolled back."""

    tally: ClassVar[Counter[str]] = Counter()  # what was done in all examples

    every = Bundle("every")
    waiting = Bundle("waiting")
    running = Bundle("running")
    grants = Bundle("grants")

    def __init__(self) -> None:
        super().__init__()
        self.query = world.running_clock()
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.rows: dict[Job, JobRow] = {}
        self.asked: dict[Job, Any] = {}
        self.claims: dict[Job, list[Claim]] = {}
        self.granted: dict[Grant, tuple[str, dict[str, Any]]] = {}
        self.refused_zones = 0

    def teardown(self) -> None:
        world.let_clock_run(self.query)
        transaction.set_rollback(True)
        self.transaction.__exit__(None, None, None)

    @initialize(
        beginning=st.sampled_from(BEGINNINGS),
        kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=2, unique=True),
        subjects=st.lists(st.sampled_from(range(world.SUBJECTS)), min_size=1, max_size=4, unique=True),
        concurrent_jobs=up_to(6, least=3),
        credits=st.sampled_from([60, 1_000, 200]),
    )
    def open_studio(
        self,
        beginning: datetime,
        kinds: list[tuple[QuotaUnit, Window]],
        subjects: list[int],
        concurrent_jobs: int,
        credits: int,
    ) -> None:
        self._wait_until(beginning)
        self.studio = world.Studio(concurrent_jobs)
        self.workspace_id = self.studio.workspace.pk
        self.model = Model(concurrent_jobs)
        # Few of each, so that limits meet.
        self.kinds, self.subjects = kinds, [self.studio.subjects[number] for number in subjects]
        for side in Side:
            self._grant(Grant(credits, side, Source.PROMOTIONAL, 5, None, 0))

    def _did(self, what: str) -> None:
        self.tally[what] += 1

    # --- Time -----------------------------------------------------------------------------------

    @rule(pause=pauses)
    def wait(self, pause: timedelta | tuple[Window, int, timedelta]) -> None:
        if isinstance(pause, timedelta):
            self._wait_until(self.now + pause)
            self._did("waited")
            return
        window, anchor_day, beside = pause
        end = periods.period(window, self.model.schedule, self.now, anchor_day).end
        assert end is not None, "a day and a month end"
        self._wait_until(max(self.now, end + beside))
        self._did("waited for a period's end")

    def _wait_until(self, now: datetime) -> None:
        self.now = now
        world.stop_clock(now)

    @precondition(lambda self: self.refused_zones < PATIENCE)
    @rule(zone=st.sampled_from(ZONES))
    def change_time_zone(self, zone: str) -> None:
        before = self.model.schedule
        is_changed = zone != before.time_zone
        until = periods.settled_at(before) if is_changed else None
        is_pending = until is not None and self.now < until

        refusal, _ = world.answer(lambda: workspaces.set_time_zone(self.studio.workspace, zone, self.now))

        expected = Refusal("TimeZoneChangePending", (until,)) if is_pending else None
        agree("refusal of a time zone", refusal, expected)
        self.refused_zones += is_pending
        if is_changed and not is_pending:
            self.model.schedule = periods.Schedule(zone, before.time_zone, self.now)
            self._did("changed the time zone")

    @precondition(lambda self: self.model.has_anything_due(self.now))
    @rule()
    def sweep(self) -> None:
        """What the sweeper does with leases, deadlines and grants that are over."""
        silent, late = self.model.silent_jobs(self.now), self.model.late_jobs(self.now)
        for job in silent:
            agree("whether the job is recovered", jobs.recover(self._fresh(job)), True)
            self.model.requeue(job, self.now, is_over=self.model.has_tried_enough(job))
            self._did("recovered" if job.is_open else "lost in the last attempt")
        for job in late:
            agree("whether the job expired", jobs.expire(self._fresh(job)), True)
            self.model.settle(job, "failed", self.now)
            self._did("expired")
        agree("expired grants", ledger.expire_due(self.now), self.model.expire_grants(self.now, *Side))
        self._did("swept")

    def _fresh(self, job: Job) -> JobRow:
        return JobRow.objects.across_workspaces().select_related("model_version").get(pk=self.rows[job].pk)

    # --- Credits --------------------------------------------------------------------------------

    @rule(
        target=grants,
        side=st.sampled_from([Side.LIVE, Side.LIVE, Side.TEST]),
        amount=up_to(120, least=1),
        source=st.sampled_from(SOURCES),
        priority=up_to(2),
        lives=st.sampled_from(LIVES),
        paid=up_to(300),
    )
    def grant(
        self, side: Side, amount: int, source: Source, priority: int, lives: timedelta | None, paid: int
    ) -> Grant:
        return self._grant(Grant(amount, side, source, priority, lives and self.now + lives, paid))

    def _grant(self, new: Grant) -> Grant:
        terms = {
            "amount_credits": new.amount,
            "source": new.source,
            "side": new.side,
            "priority": new.priority,
            "expires_at": new.expires_at,
            "paid_minor_units": new.paid,
        }
        self.granted[new] = f"grant:{self.workspace_id}:{len(self.granted)}", terms
        self._grant_by_its_id(new)
        self.model.give(new)
        self._did("granted")
        return new

    def _grant_by_its_id(self, given: Grant, **others: Any) -> str:
        operation_id, terms = self.granted[given]
        done = ledger.grant(self.workspace_id, operation_id=operation_id, **{**terms, **others})
        return done.operation_id

    @rule(given=grants, others=others)
    def grant_again(self, given: Grant, others: dict[str, int]) -> None:
        refusal, same = world.answer(lambda: self._grant_by_its_id(given, **others))

        agree("refusal of a repeated grant", refusal, Refusal("OperationConflict") if others else None)
        agree("a repeated grant", same, None if others else self.granted[given][0])
        self._did("granted again")

    # --- Quotas ---------------------------------------------------------------------------------

    @rule(limit=limits, is_removed=st.sampled_from([False, False, True]))
    def change_limit(self, limit: Any, is_removed: bool) -> None:
        if is_removed:
            self._remove_limit(self._limit(limit)[1])
        else:
            self._set_limit(limit)

    def _limit(self, limit: Any) -> tuple[str, Place, Limit]:
        which, kind, most, is_hard, anchor_day = limit
        subject, name, subject_id = self.subjects[which % len(self.subjects)]
        unit, window = self.kinds[kind % len(self.kinds)]
        most = most if unit == QuotaUnit.IMAGES else most * 10
        new = Limit(most, is_hard, anchor_day if window == Window.MONTH else 1)
        return name, (subject, subject_id, unit, window), new

    def _set_limit(self, limit: Any) -> None:
        name, place, new = self._limit(limit)
        subject, _, unit, window = place
        terms = {"is_hard": new.is_hard, "anchor_day": new.anchor_day}
        quotas.set_limit(self.workspace_id, subject, name, unit, window, new.most, **terms)
        self.model.set_limit(place, new)
        self._did("set a limit")

    def _remove_limit(self, place: Place) -> None:
        for one in limits_of_workspace.read(self.workspace_id):
            if one.counter == place:
                quotas.remove(self.workspace_id, one.id)
                self.model.remove_limit(place)
                self._did("removed a limit")

    # --- Accepting ------------------------------------------------------------------------------

    @rule(targets=(every, waiting), asked=st.lists(requests, min_size=1, max_size=3))
    def submit(self, asked: list[Any]) -> Any:
        accepted = []
        for request in asked:
            accepted += self._submit(request)
            self.everything_agrees()
        return multiple(*accepted)

    # A process that knows old limits knows an old time zone as well, for a second; this clock would make it days.
    @precondition(lambda self: self.model.schedule.changed_at is None)
    @rule(targets=(every, waiting), request=requests, limit=limits)
    def submit_while_a_limit_changes(self, request: Any, limit: Any) -> Any:
        with override_settings(LOOKUP_SECONDS=60):
            quotas.in_force(self.workspace_id)
            self._set_limit(limit)
            self._did("submitted with old limits")
            return multiple(*self._submit(request))

    @rule(request=requests, moment=moments)
    def submit_and_break(self, request: Any, moment: int) -> None:
        prepared = self._prepare(request)
        self._break(lambda: self._accept(*prepared), moment)

    def _prepare(self, request: Any) -> tuple[Caller, Request, str, str | None]:
        who, number, images, key = request
        caller, price = self.studio.caller(*who), world.PRICES[number]
        wanted = Request(caller.side, self.studio.subjects_of(caller), price, images)
        return caller, wanted, self.studio.slugs[number], key

    def _accept(self, caller: Caller, wanted: Request, slug: str, key: str | None) -> JobRow:
        asked = factories.request(model=slug, num_images=wanted.images)
        return jobs.submit(caller, asked, Delivery(), key)

    def _submit(self, request: Any) -> list[Job]:
        """Gives the new job, if there is one."""
        caller, wanted, slug, key = self._prepare(request)
        body = (caller.end_user, wanted.price, wanted.images)
        earlier = self.model.earlier(caller.side, key, self.now) if key else None
        if earlier:
            is_theirs = earlier[0] == body and self.studio.may_see(caller, earlier[1].request.subjects)
            expected = None if is_theirs else Refusal("IdempotencyKeyReused")
        else:
            expected = self.model.refusal(wanted, self.now)

        refusal, row = world.answer(lambda: self._accept(caller, wanted, slug, key))

        agree(f"refusal of {wanted}", refusal, expected)
        if refusal:
            self._did(f"refused: {refusal.error}")
            return []
        if earlier:
            agree("the job of an idempotency key", row.pk, self.rows[earlier[1]].pk)
            self._did("submitted again")
            return []
        job = self.model.accept(wanted, self.now)
        if key:
            self.model.remember(caller.side, key, body, job, self.now)
        self.rows[job], self.asked[job], self.claims[job] = row, request, []
        self._check_quotas_of(job)
        self._did("accepted")
        return [job]

    def _check_quotas_of(self, job: Job) -> None:
        states = self.rows[job].quota_states
        told = [(*one.limit.counter, one.limit.limit, one.used, one.resets_at) for one in states]
        agree("quotas told to the caller", told, self.model.states(job.request, self.now))
        exceeded = [one for one in states if one.limit.is_hard and one.used > one.limit.limit]
        agree("hard quotas exceeded", exceeded, [])

    # --- Working --------------------------------------------------------------------------------

    @rule(target=running, job=consumes(waiting))
    def claim(self, job: Job) -> Any:
        """The worker is not heard of for a while, or for ever."""
        return job if self._claim(job) else multiple()

    @rule(target=waiting, job=consumes(waiting), verb=ends, result=results)
    def work(self, job: Job, verb: str, result: Any) -> Any:
        """The usual life: who claims a job ends it."""
        if self._claim(job):
            self._end(job, verb, result)
        return job if job.is_open else multiple()

    @rule(target=waiting, job=consumes(running), verb=ends, result=results)
    def end(self, job: Job, verb: str, result: Any) -> Any:
        self._end(job, verb, result)
        return job if job.is_open else multiple()

    @rule(job=running)
    def renew(self, job: Job) -> None:
        mine = self.claims[job][-1]
        is_mine = self.model.is_held_by(job, mine.attempt)

        agree("whether the lease is renewed", jobs.renew(mine), is_mine)

        if is_mine:
            self.model.renew(job, self.now)
            self._did("renewed a lease")

    @rule(target=waiting, job=running)
    def lose_the_worker(self, job: Job) -> Any:
        """Its lease runs out; the claim stays in the bundle and comes too late."""
        if job.lease_until:
            self._wait_until(max(self.now, job.lease_until))
            self.sweep()
        return job if job.is_open else multiple()

    @rule(job=every)
    def cancel(self, job: Job) -> None:
        jobs.cancel(self.studio.owner_of(job.request.side), self.rows[job].pk)

        if job.state == "queued":
            self.model.settle(job, "canceled", self.now)
            self._did("canceled")
        elif job.is_open:
            job.is_cancel_requested = True
            self._did("asked to stop")

    def _claim(self, job: Job) -> bool:
        can_start = self.model.can_start(job, self.now)

        mine = jobs.claim(self.rows[job].pk, factories.WORKER)

        agree("whether the job can be claimed", mine is not None, can_start)
        if mine is not None:
            self.model.claim(job, self.now)
            self.claims[job].append(mine)
            self._did("claimed")
        return can_start

    def _end(self, job: Job, verb: str, result: Any, claim: int = -1) -> None:
        mine = self.claims[job][claim]
        made = self._result(job, mine, result)
        is_mine = self.model.is_held_by(job, mine.attempt)

        agree(f"whether the worker may {verb}", self._call(verb, mine, made), is_mine)

        if not is_mine:
            self._did(f"{verb}: too late")
        elif verb == "complete":
            self._complete(job, made)
        else:
            self._stop(job, verb)

    def _call(self, verb: str, mine: Claim, made: Result) -> bool:
        match verb:
            case "complete":
                return jobs.complete(mine, made)
            case "fail":
                return jobs.fail(mine, "engine_failed", "The engine failed.")
            case "retry":
                return jobs.retry(mine, "engine_failed", "The engine failed.")
            case _:
                return jobs.give_back(mine)

    def _result(self, job: Job, mine: Claim, result: Any) -> Result:
        delivered, drawn, gpu_ms, is_canceled = result
        count = min(delivered, job.request.images)
        pictures = [
            StoredPicture(index, f"{mine.job.pk}/{mine.attempt}-{index}", "0" * 64, 9, "image/png")
            for index in range(count)
        ]
        timings = Timings(gpu_ms=gpu_ms)
        return Result(pictures, timings, drawn_images=max(drawn, count), is_canceled=is_canceled)

    def _complete(self, job: Job, made: Result) -> None:
        delivered = len(made.pictures)
        charge = job.request.price.used(job.request.images, made.timings.gpu_ms, made.drawn_images)
        state = "canceled" if made.is_canceled else "succeeded" if delivered else "blocked"
        self.model.settle(job, state, self.now, delivered, charge * delivered)
        self._did(f"complete: {state}")

    def _stop(self, job: Job, verb: str) -> None:
        if verb == "fail":
            self.model.settle(job, "failed", self.now)
        else:
            is_over = verb == "retry" and self.model.has_tried_enough(job)
            self.model.requeue(job, self.now, is_over=is_over)
        job.given_back += job.is_open and verb == "give back"
        self._did(f"{verb}: {job.state}")

    # --- Again, and not at all ------------------------------------------------------------------

    @rule(targets=(every, waiting), job=every, what=repeats, more=up_to(1), result=results)
    def repeat(self, job: Job, what: str, more: int, result: Any) -> Any:
        if what == "hold":
            self._hold_again(job, more)
        elif what == "settle" and not job.is_open:
            self._settle_again(job, more)
        elif what == "complete" and self.claims[job] and not self._is_claimed(job):
            self._end(job, "complete", result, claim=0)
        elif what == "submit" and self.asked[job][-1]:
            return multiple(*self._submit(self.asked[job]))
        return multiple()

    def _is_claimed(self, job: Job) -> bool:
        return self.model.is_held_by(job, self.claims[job][0].attempt)

    def _hold_again(self, job: Job, more: int) -> None:
        row, credits, side = self.rows[job], job.request.credits + more, job.request.side
        place = {"side": side, "max_open_holds": 0}

        refusal, held = world.answer(
            lambda: ledger.hold(self.workspace_id, credits, row.hold_id, row.public_id, self.now, **place)
        )

        agree("refusal of a repeated hold", refusal, Refusal("OperationConflict") if more else None)
        agree("a repeated hold", held and held.operation.operation_id, None if more else row.hold_id)
        self._did("held again")

    def _settle_again(self, job: Job, more: int) -> None:
        row, credits = self.rows[job], job.captured + more

        refusal, settled = world.answer(
            lambda: ledger.capture(row.hold_id, credits, f"settle:{row.public_id}", self.now)
        )

        same = Settlement(job.captured, job.request.credits - job.captured, job.revenue_micros)
        agree("refusal of a repeated settlement", refusal, Refusal("OperationConflict") if more else None)
        agree("a repeated settlement", settled, None if more else same)
        self._did("settled again")

    @rule(job=running, verb=ends, result=results, moment=moments)
    def end_and_break(self, job: Job, verb: str, result: Any, moment: int) -> None:
        mine = self.claims[job][-1]
        made = self._result(job, mine, result)
        self._break(lambda: self._call(verb, mine, made), moment)

    def _break(self, operation: Any, moment: int) -> None:
        is_broken = world.undone(operation, moment)
        self._did("broke in the middle" if is_broken else "rolled back at the end")

    # --- After every step -----------------------------------------------------------------------

    @invariant()
    def everything_agrees(self) -> None:
        agree("discrepancies", [str(one) for one in (*ledger.verify(), *reconciliation.verify_jobs())], [])
        for side in Side:
            self._balance_agrees(side)
            self._shown_quotas_agree(side)
        self._grants_agree()
        self._jobs_agree()
        self._counters_agree()
        told = AuditEvent.objects.for_workspace(self.workspace_id).filter(action=audit.Event.QUOTA_CROSSED)
        agree("soft limits told", told.count(), self.model.crossings)

    def _balance_agrees(self, side: Side) -> None:
        row = ledger.balance(self.workspace_id, side)
        found = (row.available_credits, row.held_credits, row.debt_credits, row.open_holds)
        agree(f"{side} balance", found, self.model.balance(side))
        agree(f"{side} balance below zero", min(found) < 0, False)

    def _grants_agree(self) -> None:
        rows = GrantRow.objects.for_workspace(self.workspace_id).order_by("pk")
        found = list(rows.values_list("remaining_credits", "held_credits", "captured_credits"))
        agree("grants", found, [(one.remaining, one.held, one.captured) for one in self.model.grants])

    def _jobs_agree(self) -> None:
        rows = JobRow.objects.for_workspace(self.workspace_id)
        columns = ("state", "attempt", "captured_credits", "lease_until", "start_deadline_at")
        found = {pk: tuple(told) for pk, *told in rows.values_list("pk", *columns)}
        expected = {
            self.rows[job].pk: (job.state, job.attempt, job.captured, job.lease_until, job.start_deadline_at)
            for job in self.model.jobs
        }
        agree("jobs", found, expected)

    def _counters_agree(self) -> None:
        found, expected = {}, {}
        for row in QuotaUse.objects.for_workspace(self.workspace_id):
            place = (Subject(row.subject), row.subject_id, QuotaUnit(row.unit), Window(row.window))
            used = self.model.counted(Side(row.side), place, row.period_start_at)
            if used is not None:
                key = (row.side, *map(str, place), row.period_start_at.isoformat())
                found[key], expected[key] = row.used, used
        agree("counters", found, expected)

    def _shown_quotas_agree(self, side: Side) -> None:
        mine = limits_of_workspace.read(self.workspace_id)
        states = quotas.states(self.workspace_id, side, mine, self.now)
        found = {one.limit.counter: (one.used, one.resets_at) for one in states}
        agree(f"{side} quotas as they are shown", found, self.model.shown_quotas(side, self.now))
