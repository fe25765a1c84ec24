// Stripe's guide to a flat fee with overages, top to bottom, and its webhook.

import assert from 'node:assert/strict';
import test from 'node:test';

import {
  FEBRUARY,
  HOUR,
  MONTH_BEGINS,
  advance,
  newCustomer,
  newMeter,
  newPrices,
  until,
  withReceiver,
} from './town.mjs';

test('a month is billed with the overage in arrears, and the shop is told', () =>
  withReceiver(async (stripe, receiver) => {
    const endpoint = await stripe.webhookEndpoints.create({
      url: receiver.url,
      enabled_events: ['invoice.paid'],
    });
    const meter = await newMeter(stripe, 'hypernian_tokens');
    const { licence, usage } = await newPrices(stripe, meter);
    const clock = await stripe.testHelpers.testClocks.create({ frozen_time: MONTH_BEGINS });
    const customer = await newCustomer(stripe, { clock });

    // 1 January: the fee is paid in advance.
    const subscription = await stripe.subscriptions.create({
      customer: customer.id,
      items: [{ price: licence.id, quantity: 1 }, { price: usage.id }],
      expand: ['latest_invoice'],
    });
    assert.equal(subscription.status, 'active');
    assert.equal(subscription.latest_invoice.status, 'paid');
    assert.equal(subscription.latest_invoice.amount_paid, 10_000);
    assert.equal(subscription.latest_invoice.billing_reason, 'subscription_create');

    // During the month: tokens.
    const event = await stripe.billing.meterEvents.create({
      event_name: 'hypernian_tokens',
      payload: { value: '3000', stripe_customer_id: customer.id },
      identifier: 'identifier_123',
    });
    assert.equal(event.identifier, 'identifier_123');
    const summaries = await stripe.billing.meters.listEventSummaries(meter.id, {
      customer: customer.id,
      start_time: Math.floor(MONTH_BEGINS / 60) * 60,
      end_time: Math.floor(FEBRUARY / 60) * 60,
    });
    assert.deepEqual(
      summaries.data.map((each) => each.aggregated_value),
      [3000],
    );

    const upcoming = await stripe.invoices.createPreview({ subscription: subscription.id });
    assert.equal(upcoming.total, 18_000);
    assert.deepEqual(
      upcoming.lines.data.map((line) => [line.quantity, line.amount, line.description]),
      [
        [1000, 0, '1000 × Hypernian Usage (Tier 1 at $0.00 / month)'],
        [0, 0, 'Hypernian Usage (Tier 1 at $0.00 / month)'],
        [2000, 8000, '2000 × Hypernian Usage (Tier 2 at $0.04 / month)'],
        [0, 0, 'Hypernian Usage (Tier 2 at $0.00 / month)'],
        [1, 10_000, '1 × Hypernian Fee (at $100.00 / month)'],
      ],
    );

    // 1 February, and the hour of grace.
    await advance(stripe, clock, FEBRUARY + HOUR);
    const { data: invoices } = await stripe.invoices.list({ subscription: subscription.id });
    assert.equal(invoices.length, 2);
    const [second] = invoices;
    assert.deepEqual([second.status, second.total, second.amount_paid], ['paid', 18_000, 18_000]);
    assert.equal(second.billing_reason, 'subscription_cycle');
    assert.deepEqual([second.period_start, second.period_end], [MONTH_BEGINS, FEBRUARY]);
    assert.equal(second.status_transitions.finalized_at, FEBRUARY + HOUR);
    assert.deepEqual(
      second.lines.data.map((line) => line.amount),
      upcoming.lines.data.map((line) => line.amount),
    );

    // The shop is told of both invoices, by us and nobody else.
    await until(() => receiver.received.length === 2, 'two deliveries');
    const told = receiver.received
      .map(({ headers, body }) =>
        stripe.webhooks.constructEvent(body, headers['stripe-signature'], endpoint.secret),
      )
      .sort((one, other) => one.created - other.created); // of two objects, in any order
    assert.deepEqual(
      told.map((event) => [event.type, event.data.object.id]),
      invoices.reverse().map((invoice) => ['invoice.paid', invoice.id]),
    );
    assert.deepEqual(
      told.map((event) => event.data.object.total),
      [10_000, 18_000],
    );
  }));
