"""The items of one subscription on the way to another state, and what that bills.

A change, an end, a pause and a resumption all go this way; each decides for itself which items are
credited, charged and begun anew. Nothing is read or written here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from postpaid.billing.change_items import item_of_extra, item_of_proration, item_of_usage
from postpaid.billing.check_change import Move
from postpaid.billing.decide_close import fate
from postpaid.billing.gather_items import lines_of_items
from postpaid.billing.net_prices import Nets
from postpaid.billing.perform import Act
from postpaid.core.changes import Change, ProrationBehavior, UsagePricing
from postpaid.core.commitments import Commitment
from postpaid.core.cycles import recurrence_of, started, trial_items, zone_of
from postpaid.core.invoice_items import InvoiceItem
from postpaid.core.invoicing import BillingReason, Invoice, draft
from postpaid.core.lines import (
    Line,
    licensed_quantity,
    lines_of,
    obligation_of,
    opening_zero_line,
    usage_lines,
    with_commitment,
)
from postpaid.core.periods import Period, period_at_index
from postpaid.core.pricing import DetailKind
from postpaid.core.prorations import (
    NOTHING_OFF,
    Charge,
    Proration,
    charge_of_rest,
    credit_at_list_price,
    credits_of_charges,
)
from postpaid.core.subscriptions import (
    BillingMode,
    Catalog,
    CollectionMethod,
    Item,
    Sold,
    Subscription,
    SubscriptionStatus,
    itemizes,
)
from postpaid.core.values import replace


@dataclass(frozen=True, slots=True)
class Known:
    """What was read for the changes: by price, by item, by obligation, by subscription."""

    sold: Catalog
    charges: Mapping[str, Sequence[Charge]]
    used: Mapping[str, Decimal]
    pending: Mapping[str, Sequence[InvoiceItem]]
    nets: Nets = field(default_factory=dict)  # what discounts leave of prices


@dataclass(frozen=True, slots=True)
class Decision:
    """A subscription before and after a change, and what the change bills.

    ``made`` are new invoice items: those with an invoice are on ``invoice``, the others wait.
    """

    before: Subscription
    after: Subscription
    made: tuple[InvoiceItem, ...]
    invoice: Invoice | None


@dataclass(slots=True)
class _Bill:
    """What is gathered while the items are gone through."""

    items: list[InvoiceItem] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)


@dataclass(slots=True)
class Turn:
    """One subscription on its way to another state, with what that bills so far."""

    act: Act
    change: Change
    before: Subscription
    known: Known
    at: datetime
    bill: _Bill = field(default_factory=_Bill)

    @property
    def tries(self) -> bool:
        return self.before.status == SubscriptionStatus.TRIALING

    @property
    def flexible(self) -> bool:
        return self.before.billing_mode == BillingMode.FLEXIBLE

    @property
    def itemizes(self) -> bool:
        """Whether discounts are shown beside the amounts of prorations (flexible)."""
        return self.flexible and itemizes(self.before)

    @property
    def rests(self) -> bool:
        """Whether nothing is billed for the time being: on a trial, or paused."""
        return self.tries or self.before.status == SubscriptionStatus.PAUSED

    @property
    def prorates(self) -> bool:
        return self.change.proration != ProrationBehavior.NONE and not self.rests

    def moved(
        self, after: Subscription, move: Move, resets: bool, begins_trial: bool
    ) -> Item | None:
        """The item as it will be; what it is credited and charged goes on the bill."""
        old, new, sold = move.old, move.new, self.known.sold
        if resets or begins_trial:
            if old is not None:
                self._finish_period(old, leaves=new is None, waits=begins_trial)
            if new is None or begins_trial:
                return new  # a trial places and charges its items by itself
            return self.begun(after, replace(new, generation=old.generation + 1 if old else 0))

        if old is None:
            assert new is not None, "a move has an item"
            return self._added(new)
        if new is None:
            self._leave(old)
            return None
        if (old.price_id, old.quantity) == (new.price_id, new.quantity):
            return new

        was, becomes = sold[old.price_id].price, sold[new.price_id].price
        same_period = was.recurrence == becomes.recurrence
        if was.metered and becomes.metered and same_period:
            return self._repriced(old, new, move.pricing)
        self._leave(old)
        if was.metered or becomes.metered or not same_period:
            new = self._placed(replace(new, generation=old.generation + 1), fresh=not same_period)
        return self.charged(new)

    def _leave(self, old: Item) -> None:
        """What is credited or billed of an item that goes, or is sold at another price now."""
        if not self._sold(old.billing_price_id).price.metered:
            if self.prorates:
                self.credit(old)
        elif self.flexible and self.prorates:  # classic: what was used before is lost (Stripe)
            self.settle(old)

    def _repriced(self, old: Item, new: Item, pricing: UsagePricing) -> Item:
        """A metered item at another metered price."""
        if pricing == UsagePricing.GRANDFATHER:
            return replace(new, usage_price_id=old.billing_price_id)
        if pricing == UsagePricing.RERATE:
            return replace(new, usage_price_id=None)
        self._leave(old)
        return self._from_now(replace(new, generation=old.generation + 1))

    def _added(self, new: Item) -> Item:
        sold = self._sold(new.price_id)
        placed = self._placed(new, fresh=True)
        if (
            sold.price.metered
            and not self.flexible
            and self.change.proration == ProrationBehavior.ALWAYS_INVOICE
        ):
            line = opening_zero_line(placed, sold)
            self.bill.lines.append(replace(line, id=self.act.new_id("il")))
        return self.charged(placed)

    def _placed(self, item: Item, *, fresh: bool) -> Item:
        """The item in the period that runs now by its price's own recurrence."""
        if self.tries:
            assert self.before.trial_start_at is not None, "a trial starts"
            assert self.before.trial_end_at is not None, "a trial ends"
            trying = replace(self.before, items=(item,))
            [item] = trial_items(
                trying,
                self.known.sold,
                start=self.before.trial_start_at,
                end=self.before.trial_end_at,
            )
        elif fresh:
            placed = started(self.before, item, self.known.sold, self.act.now)
            beside = [
                each
                for each in self.before.items
                if (each.period_end, each.period_index) == (placed.period_end, placed.period_index)
            ]
            if beside:
                start = beside[0].period_start
            else:
                start = max(self.whole(placed).start, self.before.start_at)
            item = replace(placed, period_start=start)
        metered = self._sold(item.price_id).price.metered
        return self._from_now(item) if metered else replace(item, usage_from=None)

    def _from_now(self, item: Item) -> Item:
        """A metered item of which nothing is billed that was used before now."""
        return replace(
            item,
            usage_from=self.act.now if self.act.now > item.period_start else None,
            usage_price_id=None,
            billed_quantity=None,
            billed_amount=0,
            charge_ids=None,
        )

    def charged(self, item: Item) -> Item:
        """The licence, charged for the rest of its period."""
        sold = self._sold(item.price_id)
        if sold.price.metered or not self.prorates:
            paused = self.before.status == SubscriptionStatus.PAUSED
            return replace(item, charge_ids=[]) if paused and not sold.price.metered else item
        made = self._item_of(
            item,
            charge_of_rest(
                sold,
                item.quantity,
                self.whole(item),
                at=self.at,
                until=item.period_end,
                zone=self.before.zone,
                off=self._off(item, after=True),
                itemized=self.itemizes,
            ),
        )
        self.bill.items.append(made)
        # What was debited before may be owed back again: its credit may be made void.
        before = [each.id for each in self.known.charges.get(item.id, ())]
        return replace(item, charge_ids=[*before, made.id])

    def credit(self, item: Item) -> None:
        """The unused rest of what the licence was debited, or in classic mode would cost."""
        if item.period_end <= self.at:
            return
        sold, zone = self._sold(item.price_id), self.before.zone
        if self.flexible:
            charges = self.known.charges.get(item.id, ())
            given = credits_of_charges(sold, charges, at=self.at, zone=zone, itemized=self.itemizes)
        else:
            whole = self.whole(item)
            given = [
                credit_at_list_price(
                    sold,
                    item.quantity,
                    whole,
                    at=self.at,
                    until=item.period_end,
                    zone=zone,
                    off=self._off(item, after=False),
                )
            ]
        self.bill.items += [self._item_of(item, each) for each in given]

    def settle(self, item: Item) -> None:
        """Usage that is not billed yet, as invoice items.

        None where nothing was used, unless a least or a most counts the time too.
        """
        lines = self._usage_lines(item)
        least = any(line.kind == DetailKind.MINIMUM for line in lines)
        if least or self._agreed or any(line.quantity for line in lines):
            self.bill.items += [item_of_usage(self.act, self.before, line) for line in lines]

    def bill_usage(self, item: Item) -> None:
        """Usage that is not billed yet, on the invoice itself."""
        self.bill.lines += self._usage_lines(item)

    def _finish_period(self, old: Item, *, leaves: bool, waits: bool) -> None:
        """The period ends now: what was used is billed, what was paid in advance is credited.

        Usage ``waits`` as invoice items where no invoice is made at once.
        """
        if not self._sold(old.billing_price_id).price.metered:
            if self.prorates:
                self.credit(old)
        elif leaves:
            self._leave(old)
        elif waits and not self.rests:
            self.settle(old)
        elif not self.rests:
            self.bill_usage(old)

    def begun(self, after: Subscription, item: Item) -> Item:
        """The item in the period that begins now, which a licence pays in full."""
        item = started(after, item, self.known.sold, self.act.now)
        sold = self._sold(item.price_id)
        if sold.price.metered:
            return item
        lines = [
            replace(line, id=self.act.new_id("il"))
            for line in lines_of(obligation_of(item), sold, licensed_quantity(item))
        ]
        self.bill.lines += lines
        return replace(item, charge_ids=[line.id for line in lines])

    def _usage_lines(self, item: Item) -> list[Line]:
        """What was used of the item from where it is not billed yet until now."""
        if item.usage_start >= self.act.now:
            return []
        used = self.known.used[obligation_of(item).name]
        ending = replace(item, period_end=self.act.now)
        lines = usage_lines(self.before, ending, self.known.sold, used)
        return [replace(line, id=self.act.new_id("il")) for line in lines]

    def add_extras(self) -> None:
        """The one-time prices asked for with the change.

        Raises ``NotFound``, and ``InvalidRequest`` for a price that recurs or has another currency.
        """
        self.bill.items += [
            item_of_extra(
                self.act, self.before, extra, self.known.sold.get(extra.price_id), place=place
            )
            for place, extra in enumerate(self.change.extras)
        ]

    def decided(
        self, after: Subscription, *, immediate: bool, alone: bool, resets: bool
    ) -> Decision:
        waiting = () if alone else self.known.pending.get(self.before.id, ())
        made = tuple(self.bill.items)
        if not immediate or not (made or waiting or self.bill.lines):
            return Decision(self.before, after, made, None)
        now = self.act.now
        invoice_id = self.act.new_id("in")
        made = tuple(replace(each, invoice_id=invoice_id) for each in made)
        lines = lines_of_items(self.act, [*waiting, *made])
        lines += sorted(  # newest item first, each item's as they are (Stripe)
            self.bill.lines, key=lambda line: line.subscription_item_id or "", reverse=True
        )
        if self._agreed and (resets or not self._goes_on(lines)):
            lines = [
                line if line.id else replace(line, id=self.act.new_id("il"))
                for line in with_commitment(lines, self._agreed)
            ]
        collects, grace = fate(self.before)
        if collects and after.collection_method == CollectionMethod.CHARGE_AUTOMATICALLY:
            grace = None  # final at once
        starts = [item.period_start for item in self.before.items]
        invoice = draft(
            invoice_id,
            after,
            lines,
            reason=BillingReason.SUBSCRIPTION_UPDATE,
            period=(min(*starts, now) if resets else now, now),
            auto_advance=collects,
            finalizes_at=None if grace is None else now + grace,
            now=now,
        )
        return Decision(self.before, replace(after, latest_invoice_id=invoice.id), made, invoice)

    @property
    def _agreed(self) -> Commitment:
        """The subscription's own commitment."""
        return Commitment(self.before.minimum_amount, self.before.maximum_amount)

    def _goes_on(self, lines: Sequence[Line]) -> bool:
        """Whether a window of usage goes on, whose end keeps the subscription's commitment."""
        billed = {line.subscription_item_id for line in lines if line.meter_id}
        return any(
            self._sold(item.billing_price_id).price.metered
            and item.usage_start < self.act.now
            and item.id not in billed
            for item in self.before.items
        )

    def whole(self, item: Item) -> Period:
        """The whole period of the calendar that the item's is, or in a stub is the end of."""
        whole = period_at_index(
            self.before.anchor_at,
            recurrence_of(item, self.known.sold),
            item.period_index,
            zone_of(self.before),
        )
        if whole.end != item.period_end or whole.start > item.period_start:
            return Period(item.period_start, item.period_end)
        return whole

    def _item_of(self, item: Item, proration: Proration) -> InvoiceItem:
        return item_of_proration(self.act, self.before, item, self._sold(item.price_id), proration)

    def _off(self, item: Item, *, after: bool) -> Mapping[str, Fraction]:
        return self.known.nets.get((self.before.id, item.price_id, after), NOTHING_OFF)

    def _sold(self, price_id: str) -> Sold:
        return self.known.sold[price_id]
