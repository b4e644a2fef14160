"""Everything about a request that is settled before the accepting transaction, without locks.

Resolve the model, fill in the template and the defaults, judge the prompt, quote the price, draft the row.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from accounts import entitlements, key_terms, keyring
from accounts.entitlements import Limits
from accounts.keyring import Keyring
from accounts.models import Workspace
from billing import pricing
from billing.pricing import Quote, Work
from inference import catalog, moderation, prompts, quotas
from inference.models import Job, ModelVersion, State
from inference.moderation.base import Verdict
from inference.quotas import InForce
from inference.requests import Caller, Delivery, GenerationRequest, ResolvedRequest


@dataclass(frozen=True)
class Tenant:
    """What acceptance needs to know of a workspace; all of it is kept in the process while it is current."""

    workspace: Workspace
    ring: Keyring
    limits: Limits
    quotas: InForce


def tenant_of(workspace_id: uuid.UUID) -> Tenant:
    known = quotas.in_force(workspace_id)
    return Tenant(known.workspace, keyring.of(workspace_id), entitlements.of(workspace_id), known)


@dataclass(frozen=True)
class Prepared:
    """A request that can be accepted, or whose verdict blocks it."""

    caller: Caller
    request: GenerationRequest
    version: ModelVersion
    resolved: ResolvedRequest
    verdict: Verdict
    quote: Quote
    evaluations_per_image: int


def prepare(caller: Caller, request: GenerationRequest) -> Prepared:
    """Raises ModelNotFound, TemplateNotFound, InvalidRequest, KeyForbids or PriceNotFound."""
    version = catalog.resolve(request.model)
    rendered = prompts.render(caller.workspace_id, request)
    resolved = catalog.fill_in(version, request, rendered.prompt, rendered.negative_prompt)
    _check_key(caller, version, resolved)
    verdict = moderation.get_backend().check_prompt(resolved.prompt, resolved.negative_prompt)
    evaluations = catalog.evaluations_per_image(resolved)
    work = Work(
        pixels=resolved.width * resolved.height,
        evaluations=evaluations,
        seconds=version.run_limit_seconds,
        num_images=resolved.num_images,
    )
    quoted = pricing.quote(version.sku, resolved.operation, work)
    return Prepared(caller, request, version, resolved, verdict, quoted, evaluations)


def _check_key(caller: Caller, version: ModelVersion, resolved: ResolvedRequest) -> None:
    """The calling key's own terms, held against what will really be drawn."""
    if caller.api_key is not None:
        key_terms.check_model(caller.api_key, version.model_id)
        key_terms.check_generation(
            caller.api_key,
            width=resolved.width,
            height=resolved.height,
            steps=resolved.num_inference_steps,
            images=resolved.num_images,
        )


def draft(ring: Keyring, prepared: Prepared, delivery: Delivery, now: datetime) -> Job:
    """The row of a job, not saved yet; `blocked` from the start when the verdict says so."""
    caller, request, resolved, verdict = (
        prepared.caller,
        prepared.request,
        prepared.resolved,
        prepared.verdict,
    )
    prompt_hash = ring.hash(resolved.prompt)
    job = Job(
        workspace_id=caller.workspace_id,
        side=caller.side,
        api_key=caller.api_key,
        membership=caller.membership,
        end_user_hash=ring.end_user(caller.end_user),
        dialect=caller.dialect,
        request_id=caller.request_id,
        model_version=prepared.version,
        operation=resolved.operation,
        width=resolved.width,
        height=resolved.height,
        num_images=resolved.num_images,
        num_inference_steps=resolved.num_inference_steps,
        guidance_scale=resolved.guidance_scale,
        seed=resolved.seed,
        scheduler=resolved.scheduler,
        output_format=request.output_format,
        output_quality=request.output_quality,
        delivery={"response_format": delivery.response_format, "metadata": dict(delivery.metadata)},
        prompt_hash=prompt_hash.digest,
        prompt_hash_key_id=prompt_hash.key_id,
        price_book_version=prepared.quote.price_book_version,
        price_unit=prepared.quote.unit,
        credits_per_image=prepared.quote.credits_per_image,
        evaluations_per_image=prepared.evaluations_per_image,
        job_class=caller.job_class,
        created_at=now,
        is_flagged=verdict.is_flagged or verdict.is_blocked,
        moderation_category=verdict.category,
        moderation_rule=verdict.rule,
    )
    if verdict.is_blocked:
        job.state, job.finished_at = State.BLOCKED, now
        job.error_code, job.error_message = "prompt_blocked", f"The prompt was refused: {verdict.category}."
    return job
