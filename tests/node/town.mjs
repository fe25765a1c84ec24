// What every story here is told with: the official client, clocks, and somebody who receives.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

import Stripe from 'stripe';

export const MONTH_BEGINS = 1767264700; // 2026-01-01 10:51:40 UTC, a second like any other
export const HOUR = 3600;
export const FEBRUARY = MONTH_BEGINS + 31 * 24 * HOUR;

const PATIENCE_MS = 60_000;

/** The client, told where we are and nothing else, as its own documentation has it. */
export function newClient(options = {}, key = process.env.POSTPAID_TEST_KEY) {
  const { hostname, port, protocol } = new URL(process.env.POSTPAID_TEST_URL);
  return new Stripe(key, {
    host: hostname,
    port,
    protocol: protocol.slice(0, -1),
    ...options,
  });
}

/** Wait until the function gives something; but not for ever. */
export async function until(found, what) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const result = await found();
    if (result) return result;
    assert.ok(Date.now() < deadline, `It never happened: ${what}.`);
    await sleep(20);
  }
}

/** Let the clock's time pass, and wait until everything due has been done. */
export async function advance(stripe, clock, to) {
  await stripe.testHelpers.testClocks.advance(clock.id, { frozen_time: to });
  await until(async () => {
    const { status } = await stripe.testHelpers.testClocks.retrieve(clock.id);
    assert.ok(status === 'ready' || status === 'advancing', status);
    return status === 'ready';
  }, 'the clock arrives');
}

/** A customer who pays with this test card. */
export async function newCustomer(stripe, { clock, card = 'pm_card_visa' } = {}) {
  const customer = await stripe.customers.create({
    name: 'John Doe',
    ...(clock && { test_clock: clock.id }),
  });
  const method = await stripe.paymentMethods.attach(card, { customer: customer.id });
  return stripe.customers.update(customer.id, {
    invoice_settings: { default_payment_method: method.id },
  });
}

/** A meter that sums, under a name of its own. */
export function newMeter(stripe, eventName) {
  return stripe.billing.meters.create({
    display_name: eventName,
    event_name: eventName,
    default_aggregation: { formula: 'sum' },
    customer_mapping: { type: 'by_id', event_payload_key: 'stripe_customer_id' },
    value_settings: { event_payload_key: 'value' },
  });
}

/** The guide's two prices: $100 a month, and 4 cents for every token above 1,000. */
export async function newPrices(stripe, meter) {
  const product = await stripe.products.create({ name: 'Hypernian Usage' });
  const licence = await stripe.prices.create({
    currency: 'usd',
    unit_amount: 10_000,
    recurring: { interval: 'month', interval_count: 1 },
    product_data: { name: 'Hypernian Fee' },
  });
  const usage = await stripe.prices.create({
    product: product.id,
    currency: 'usd',
    billing_scheme: 'tiered',
    tiers_mode: 'graduated',
    recurring: { interval: 'month', usage_type: 'metered', meter: meter.id },
    tiers: [
      { up_to: 1000, unit_amount_decimal: '0', flat_amount_decimal: '0' },
      { up_to: 'inf', unit_amount_decimal: '4', flat_amount_decimal: '0' },
    ],
  });
  return { licence, usage };
}

/** Tell the story with somebody who listens on this machine. */
export async function withReceiver(story) {
  const receiver = await newReceiver();
  try {
    await story(newClient(), receiver);
  } finally {
    receiver.close();
  }
}

/** It keeps each request's headers and raw body, and answers 200. */
async function newReceiver() {
  const received = [];
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    received.push({ headers: request.headers, body: Buffer.concat(chunks) });
    response.writeHead(200).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    received,
    url: `http://127.0.0.1:${server.address().port}/webhooks`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
