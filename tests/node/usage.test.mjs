// Usage in v2: single events, and the stream, with a session's token.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import test from 'node:test';

import { newClient, newCustomer, newMeter, until } from './town.mjs';

async function used(stripe, meter, customer) {
  const minute = Math.floor(Date.now() / 60_000) * 60;
  const summaries = await stripe.billing.meters.listEventSummaries(meter.id, {
    customer: customer.id,
    start_time: minute - 600,
    end_time: minute + 600,
  });
  return summaries.data.reduce((sum, each) => sum + each.aggregated_value, 0);
}

test('an event of v2 counts once, with the moment as a date', async () => {
  const stripe = newClient();
  const meter = await newMeter(stripe, `tokens_${randomUUID().slice(0, 8)}`);
  const customer = await newCustomer(stripe);
  const identifier = randomUUID();
  const event = {
    event_name: meter.event_name,
    identifier,
    payload: { stripe_customer_id: customer.id, value: '25' },
    timestamp: new Date().toISOString(),
  };
  const accepted = await stripe.v2.billing.meterEvents.create(event);
  assert.deepEqual([accepted.object, accepted.identifier], ['v2.billing.meter_event', identifier]);
  await assert.rejects(stripe.v2.billing.meterEvents.create(event), { statusCode: 400 });
  assert.equal(await used(stripe, meter, customer), 25);
});

test('a session streams many events in a request', async () => {
  const stripe = newClient();
  const meter = await newMeter(stripe, `tokens_${randomUUID().slice(0, 8)}`);
  const customer = await newCustomer(stripe);
  const session = await stripe.v2.billing.meterEventSession.create();
  assert.ok(Date.parse(session.expires_at) > Date.now());

  const streamer = newClient({}, session.authentication_token);
  const events = Array.from({ length: 100 }, (_, n) => ({
    event_name: meter.event_name,
    identifier: `${meter.id}-${n}`,
    payload: { stripe_customer_id: customer.id, value: '2' },
  }));
  await streamer.v2.billing.meterEventStream.create({ events });
  await streamer.v2.billing.meterEventStream.create({ events: events.slice(0, 10) });
  await until(async () => (await used(stripe, meter, customer)) === 200, 'each event counts once');

  await assert.rejects(stripe.v2.billing.meterEventStream.create({ events }), {
    statusCode: 401,
  });
});
