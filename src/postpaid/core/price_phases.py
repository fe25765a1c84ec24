"""Price phases: what a product costs for so many periods, before its own price goes on.

A product's phases are a pattern. A subscription gets its own when it begins, each with the price
that it bills; later the pattern and the phases go their own ways (Frame).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from decimal import Decimal, Inexact, localcontext
from enum import StrEnum
from itertools import pairwise
from typing import Any

from postpaid.core.catalog import Price
from postpaid.core.cycles import zone_of
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound, Path
from postpaid.core.money import EXACT, plain
from postpaid.core.periods import Recurrence, boundary, index_at
from postpaid.core.pricing import MAX_DECIMALS
from postpaid.core.schedules import FAR, Phase, Schedule, phase_item
from postpaid.core.subscriptions import Item, Subscription
from postpaid.core.values import replace

PRICE_PHASES_MAX = 20
_HUNDRED = Decimal(100)


class PricingType(StrEnum):
    """What says the amount of a phase."""

    STATIC = "static"  # it does itself
    RELATIVE = "relative"  # so many percent off the base price


@dataclass(frozen=True, slots=True)
class PricePhase:
    """What is paid for each of ``period_count`` periods, or, if that is None, from then on.

    It is a product's or a subscription's. A subscription's has the price that it bills and the one
    that goes on after all phases, and says when it started and ended. ``amount`` is in minor units.
    """

    id: str
    product_id: str | None
    subscription_id: str | None
    ordinal: int
    pricing_type: PricingType
    created_at: datetime
    updated_at: datetime
    amount: int | None = None
    discount_percentage: Decimal | None = None
    period_count: int | None = None
    name: str | None = None
    price_id: str | None = None
    base_price_id: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None

    def unit_amount(self, base: Decimal) -> Decimal:
        """What a unit costs in it, exact, of a ``base`` in the same minor units.

        Nothing is rounded but the line. Raises ``InvalidRequest`` where that takes more digits than
        a price has.
        """
        if self.amount is not None:
            return Decimal(self.amount)
        assert self.discount_percentage is not None, "it has one or the other"
        try:
            with localcontext(EXACT):
                amount = base * (_HUNDRED - self.discount_percentage) / _HUNDRED
        except Inexact:
            amount = None
        if amount is None or len(plain(amount).partition(".")[2]) > MAX_DECIMALS:
            raise InvalidRequest(
                f"{plain(self.discount_percentage)}% off {plain(base)} has too many digits.",
                param="discount_percentage",
            )
        return amount


def current(phases: Sequence[PricePhase]) -> PricePhase | None:
    """The phase that runs, of a subscription's in their order."""
    running = [each for each in phases if each.started_at and not each.ended_at]
    return running[-1] if running else None


# ─── What is asked ───────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Edit:
    """What is to become of phases: some ``added``, some ``changed`` by id, some ``removed``.

    Each addition and change has fields of a ``PricePhase`` by name. ``places`` says where in the
    request a phase was named, by id, or by index of an addition.
    """

    added: Sequence[Mapping[str, Any]] = ()
    changed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    removed: Collection[str] = ()
    places: Mapping[str | int, Path] = field(default_factory=dict)


def edited(
    phases: Sequence[PricePhase],
    edit: Edit,
    new: Callable[[Mapping[str, Any]], PricePhase],
    now: datetime,
) -> list[PricePhase]:
    """The phases after the edit, in their order. What began is as it was.

    Raises ``NotFound`` for one that is not there, ``ActionNotAllowed`` for one that began, and
    ``InvalidRequest`` for phases that cannot be.
    """
    known = {each.id: each for each in phases}
    places = {each: edit.places.get(each, ()) for each in [*edit.changed, *edit.removed]}
    for phase_id, place in places.items():
        if phase_id not in known:
            raise NotFound.of("phase", phase_id, param=(*place, "id"))
        if known[phase_id].started_at is not None:
            word = "has ended" if known[phase_id].ended_at else "is running"
            raise ActionNotAllowed(
                f"The phase '{phase_id}' {word} and cannot change; only those to come can.",
                param=(*place, "id"),
            )
    after = []
    for each in phases:
        if each.id in edit.changed:
            given = edit.changed[each.id]
            after.append(with_terms(replace(each, updated_at=now), given, places[each.id]))
        elif each.id not in edit.removed:
            after.append(each)
    for i, given in enumerate(edit.added):
        place = edit.places.get(i, ())
        after.append(with_terms(new(given), given, place))
        places[after[-1].id] = place
    after.sort(key=lambda each: each.ordinal)
    _check(after, places)
    return after


def with_terms(phase: PricePhase, given: Mapping[str, Any], place: Path = ()) -> PricePhase:
    """The phase with what is given; one of another type leaves behind what was of the former.

    Raises ``InvalidRequest`` for a static one without an amount or with a discount, and the
    reverse.
    """
    after = replace(phase, **given)
    static = after.pricing_type == PricingType.STATIC
    needed, other = ("amount", "discount_percentage")[:: 1 if static else -1]
    if given.get(other) is not None:
        raise InvalidRequest(
            f"{_SAID[other]} must not be given for a {after.pricing_type} phase.",
            param=(*place, _SAID[other]),
        )
    if getattr(after, needed) is None:
        raise InvalidRequest(
            f"Missing required param: {_SAID[needed]}; a {after.pricing_type} phase needs it.",
            param=(*place, _SAID[needed]),
        )
    return replace(after, **{other: None})


_SAID = {"amount": "amount_cents", "discount_percentage": "discount_percentage"}


def _check(phases: Sequence[PricePhase], places: Mapping[str, Path]) -> None:
    """Raises ``InvalidRequest`` unless each has its own place and only the last one goes on."""
    if len(phases) > PRICE_PHASES_MAX:
        raise InvalidRequest(f"There can be at most {PRICE_PHASES_MAX} phases.", param="phases")
    named = list(places)  # of two that do not go together the one named last is at fault
    for before, each in pairwise(phases):
        asked = max(before, each, key=lambda one: named.index(one.id) if one.id in named else -1)
        place = places.get(asked.id, ())
        if before.ordinal == each.ordinal:
            raise InvalidRequest(
                f"There is a phase with the ordinal {each.ordinal} already.",
                param=(*place, "ordinal"),
            )
        if before.started_at is None and each.started_at is not None:
            raise InvalidRequest(
                f"A phase to come must have an ordinal above {each.ordinal}, whose phase began.",
                param=(*place, "ordinal"),
            )
        if before.period_count is None and before.ended_at is None:
            raise InvalidRequest(
                f"The phase with the ordinal {before.ordinal} goes on without end, so that none "
                "can follow: it needs a period_count.",
                param=(*place, "period_count" if asked is before else "ordinal"),
            )


# ─── When they are ───────────────────────────────────────────────────────────────────────────


def planned(
    subscription: Subscription,
    kept: Sequence[Phase],
    coming: Sequence[PricePhase],
    base_price_id: str,
    recurrence: Recurrence,
    zone: tzinfo,
    start: datetime,
) -> tuple[Phase, ...]:
    """The phases of a schedule: those that are ``kept``, from ``start`` on those that come, and
    then the base price.

    Each begins and ends with a period, counted from the subscription's anchor. After the last one
    the subscription goes on as it is: one period of what is to go on is enough to say so. Raises
    ``InvalidRequest`` for what would end too far away.
    """
    phases = list(kept)
    index = index_at(subscription.anchor_at, recurrence, start, zone)
    asked: list[tuple[str, int | None, str | None]] = [
        (each.price_id or "", each.period_count, each.id) for each in coming
    ]
    if not coming or coming[-1].period_count is not None:
        asked.append((base_price_id, None, None))
    for price_id, count, phase_id in asked:
        index += count or 1
        try:
            end = boundary(subscription.anchor_at, recurrence, index, zone)
        except (ValueError, OverflowError):  # no date says when
            end = FAR
        if end >= FAR:
            raise InvalidRequest("A phase must end before the year 5000.", param="period_count")
        phases.append(phase_of(subscription, price_id, start, end, phase_id))
        start = end
    return tuple(phases)


def plan_of_running(
    subscription: Subscription, running: PricePhase, base: Price, now: datetime
) -> tuple[Phase, ...]:
    """The running phase for all its periods, in the first of which the plan begins, and the base.

    Where the subscription's periods were counted anew since, it is over with the running period.
    """
    assert base.recurrence is not None, "phases come before what recurs"
    assert running.started_at is not None, "it runs"
    zone, item = zone_of(subscription), sold_item(subscription)
    plan = planned(subscription, (), [running], base.id, base.recurrence, zone, running.started_at)
    if plan[0].end_at > now:
        return plan
    whole = phase_of(subscription, item.price_id, item.period_start, item.period_end, running.id)
    end = item.period_end
    return planned(subscription, [whole], (), base.id, base.recurrence, zone, end)


def leads_to(schedule: Schedule, base_price_id: str) -> bool:
    """Whether all that is to come of the schedule is price phases and the base price after them."""
    coming = schedule.phases[(schedule.phase_index or 0) + 1 :]
    return all(
        each.price_phase_id is not None or base_price_id in {item.price_id for item in each.items}
        for each in coming
    )


def phase_of(
    subscription: Subscription,
    price_id: str,
    start: datetime,
    end: datetime,
    phase_id: str | None = None,
) -> Phase:
    """The subscription as it is, but for the price of what it sells first, for that time."""
    sold = sold_item(subscription).id
    return Phase(
        start_at=start,
        end_at=end,
        items=tuple(
            replace(phase_item(item), price_id=price_id) if item.id == sold else phase_item(item)
            for item in subscription.items
        ),
        threshold_amount=subscription.threshold_amount,
        threshold_resets_anchor=subscription.threshold_resets_anchor,
        price_phase_id=phase_id,
        changes_plan_only=True,
    )


def sold_item(subscription: Subscription) -> Item:
    """The item whose price the phases change: the first licence. Raises ``InvalidRequest``."""
    for item in subscription.items:
        if item.quantity is not None:
            return item
    raise InvalidRequest("This subscription sells no licence whose price could change.")
