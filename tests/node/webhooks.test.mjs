// A delivery that was really received, verified as the client's documentation has it.

import assert from 'node:assert/strict';
import test from 'node:test';

import Stripe from 'stripe';

import { until, withReceiver } from './town.mjs';

test('an event is delivered, signed, and the same as it is read', () =>
  withReceiver(async (stripe, receiver) => {
    const endpoint = await stripe.webhookEndpoints.create({
      url: receiver.url,
      enabled_events: ['customer.created', 'customer.updated'],
    });
    assert.match(endpoint.secret, /^whsec_/);
    assert.equal((await stripe.webhookEndpoints.retrieve(endpoint.id)).secret, undefined);

    const customer = await stripe.customers.create({ name: 'Ada' });
    await stripe.products.create({ name: 'Nobody asked to be told of it' });
    await stripe.customers.update(customer.id, { name: 'Grace' });
    await until(() => receiver.received.length >= 2, 'two deliveries');

    const events = receiver.received.map(({ headers, body }) =>
      stripe.webhooks.constructEvent(body, headers['stripe-signature'], endpoint.secret),
    );
    assert.deepEqual(
      events.map((event) => event.type),
      ['customer.created', 'customer.updated'],
    );
    assert.equal(events[1].data.object.name, 'Grace');
    assert.deepEqual(events[1].data.previous_attributes, { name: 'Ada' });
    for (const event of events) {
      const { pending_webhooks: _, ...read } = await stripe.events.retrieve(event.id);
      const { pending_webhooks: __, ...told } = event;
      assert.deepEqual(told, read);
    }

    // Whoever has another secret, or changes what was said, is found out.
    const [{ headers, body }] = receiver.received;
    const altered = body.toString().replace('Ada', 'Eve');
    const { StripeSignatureVerificationError } = Stripe.errors;
    for (const [said, secret] of [
      [body, 'whsec_another'],
      [altered, endpoint.secret],
    ]) {
      assert.throws(
        () => stripe.webhooks.constructEvent(said, headers['stripe-signature'], secret),
        StripeSignatureVerificationError,
      );
    }
    await stripe.webhookEndpoints.del(endpoint.id);
  }));

test('a thin event is delivered, and leads to the event and to its object', () =>
  withReceiver(async (stripe, receiver) => {
    const destination = await stripe.v2.core.eventDestinations.create({
      name: 'The shop',
      type: 'webhook_endpoint',
      event_payload: 'thin',
      enabled_events: ['v1.customer.created'],
      webhook_endpoint: { url: receiver.url },
      include: ['webhook_endpoint.signing_secret'],
    });
    const customer = await stripe.customers.create({ name: 'Ada' });
    await until(() => receiver.received.length > 0, 'a delivery');

    const [{ headers, body }] = receiver.received;
    const secret = destination.webhook_endpoint.signing_secret;
    const told = stripe.parseEventNotification(body, headers['stripe-signature'], secret);
    assert.equal(told.type, 'v1.customer.created');
    assert.equal(told.related_object.id, customer.id);
    assert.equal((await told.fetchRelatedObject()).name, 'Ada');
    assert.equal((await told.fetchEvent()).id, told.id);
    assert.throws(
      () => stripe.parseEventNotification(body, headers['stripe-signature'], 'whsec_another'),
      Stripe.errors.StripeSignatureVerificationError,
    );

    const listed = [];
    for await (const event of stripe.v2.core.events.list({ object_id: customer.id, limit: 1 })) {
      listed.push(event.id);
    }
    assert.deepEqual(listed, [told.id]);
    await stripe.v2.core.eventDestinations.del(destination.id);
  }));
