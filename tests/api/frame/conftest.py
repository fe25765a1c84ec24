"""Clients of Frame's API, and of Stripe's for the same account."""

from collections.abc import Iterator

import pytest
import stripe

from frame_client import Frame
from postpaid import clock, ids
from postpaid.billing.manage_keys import IssuedKey
from postpaid.billing.perform import Act
from postpaid.storage.accounts import Account


@pytest.fixture
def frame(server: str, key: IssuedKey) -> Iterator[Frame]:
    """Frame's API, with the account's key."""
    with Frame(server, key.secret) as client:
        yield client


@pytest.fixture
def other_frame(server: str, other_key: IssuedKey) -> Iterator[Frame]:
    """Frame's API, with the key of another account."""
    with Frame(server, other_key.secret) as client:
        yield client


@pytest.fixture
def stripe_client(server: str, key: IssuedKey) -> stripe.StripeClient:
    """Stripe's API for the same account, by the official SDK."""
    return stripe.StripeClient(key.secret, base_addresses={"api": server})


@pytest.fixture
def act(account: Account) -> Act:
    """What is done for the account now, by no request."""
    return Act(account.account_id, False, "test", clock.now(), ids.new_id)
