// What goes wrong arrives as the client's own errors; and what is repeated happens once.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import test from 'node:test';

import Stripe from 'stripe';

import { newClient, newCustomer } from './town.mjs';

const { errors } = Stripe;

test('a card that is declined', async () => {
  const stripe = newClient();
  const customer = await newCustomer(stripe, { card: 'pm_card_chargeCustomerFail' });
  const invoice = await stripe.invoices.create({ customer: customer.id, auto_advance: false });
  await stripe.invoiceItems.create({
    customer: customer.id,
    invoice: invoice.id,
    amount: 1000,
    currency: 'usd',
  });
  await stripe.invoices.finalizeInvoice(invoice.id);

  await assert.rejects(stripe.invoices.pay(invoice.id), (error) => {
    assert.ok(error instanceof errors.StripeCardError, error.type);
    assert.equal(error.statusCode, 402);
    assert.equal(error.code, 'card_declined');
    assert.equal(typeof error.decline_code, 'string');
    assert.match(error.requestId, /^req_/);
    return true;
  });
  assert.equal((await stripe.invoices.retrieve(invoice.id)).status, 'open');

  // Another card pays what is still owed.
  const card = await stripe.paymentMethods.attach('pm_card_visa', { customer: customer.id });
  const paid = await stripe.invoices.pay(invoice.id, { payment_method: card.id });
  assert.deepEqual([paid.status, paid.amount_paid], ['paid', 1000]);
});

test('a request with a parameter that is wrong names it', async () => {
  const stripe = newClient();
  const customer = await newCustomer(stripe);
  await assert.rejects(
    stripe.subscriptions.create({ customer: customer.id, items: [{ price: 'price_none' }] }),
    (error) => {
      assert.ok(error instanceof errors.StripeInvalidRequestError, error.type);
      assert.deepEqual([error.code, error.param], ['resource_missing', 'items[0][price]']);
      return true;
    },
  );
  await assert.rejects(stripe.customers.create({ colour: 'red' }), {
    type: 'StripeInvalidRequestError',
    code: 'parameter_unknown',
    param: 'colour',
    statusCode: 400,
  });
  await assert.rejects(stripe.customers.retrieve('cus_none'), {
    type: 'StripeInvalidRequestError',
    code: 'resource_missing',
    statusCode: 404,
  });
});

test('a key that nobody made', async () => {
  const { hostname, port } = new URL(process.env.POSTPAID_TEST_URL);
  const stranger = new Stripe('sk_test_nobody', { host: hostname, port, protocol: 'http' });
  await assert.rejects(stranger.customers.list(), errors.StripeAuthenticationError);
});

test('a request with the same key happens once', async () => {
  const stripe = newClient();
  const idempotencyKey = randomUUID();
  const first = await stripe.customers.create({ name: 'Ada' }, { idempotencyKey });
  const again = await stripe.customers.create({ name: 'Ada' }, { idempotencyKey });
  assert.deepEqual(again, first);
  assert.equal(again.lastResponse.headers['idempotent-replayed'], 'true');
  assert.equal(first.lastResponse.headers['idempotent-replayed'], undefined);

  await assert.rejects(
    stripe.customers.create({ name: 'Grace' }, { idempotencyKey }),
    errors.StripeIdempotencyError,
  );
});

test('twenty requests with the same key at once happen once', async () => {
  const stripe = newClient({ maxNetworkRetries: 5 });
  const idempotencyKey = randomUUID();
  const made = await Promise.all(
    Array.from({ length: 20 }, () => stripe.customers.create({ name: 'Ada' }, { idempotencyKey })),
  );
  assert.equal(new Set(made.map((each) => each.id)).size, 1);
});
