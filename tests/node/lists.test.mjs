// Lists that are longer than a page, and objects within objects.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import test from 'node:test';

import { newClient, newCustomer } from './town.mjs';

const MANY = 25;

test('a list is paged through by itself', async () => {
  const stripe = newClient();
  const email = `${randomUUID()}@example.com`;
  const made = [];
  for (let n = 0; n < MANY; n += 1) {
    made.push((await stripe.customers.create({ name: `Customer ${n}`, email })).id);
  }

  const listed = [];
  for await (const customer of stripe.customers.list({ email, limit: 10 })) {
    listed.push(customer.id);
  }
  assert.deepEqual(listed, made.reverse());

  const some = await stripe.customers.list({ email, limit: 3 }).autoPagingToArray({ limit: 7 });
  assert.deepEqual(
    some.map((each) => each.id),
    listed.slice(0, 7),
  );

  const page = await stripe.customers.list({ email, limit: 5, ending_before: listed[10] });
  assert.deepEqual(
    page.data.map((each) => each.id),
    listed.slice(5, 10),
  );
});

test('an object is shown within another when it is asked for', async () => {
  const stripe = newClient();
  const customer = await newCustomer(stripe);
  const price = await stripe.prices.create({
    currency: 'usd',
    unit_amount: 500,
    recurring: { interval: 'month' },
    product_data: { name: 'Access' },
  });
  const subscription = await stripe.subscriptions.create({
    customer: customer.id,
    items: [{ price: price.id }],
    expand: ['latest_invoice.customer', 'default_payment_method'],
  });
  assert.equal(subscription.latest_invoice.customer.id, customer.id);

  const listed = await stripe.subscriptions.list({
    customer: customer.id,
    expand: ['data.customer', 'data.items.data.price.product'],
  });
  assert.equal(listed.data[0].customer.name, 'John Doe');
  assert.equal(listed.data[0].items.data[0].price.product.name, 'Access');

  const found = await stripe.customers.retrieve(customer.id, {
    expand: ['invoice_settings.default_payment_method'],
  });
  assert.equal(found.invoice_settings.default_payment_method.card.last4, '4242');
});
