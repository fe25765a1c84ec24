"""Ask whether test cards can be set up at all, before they become a customer's.

What another gateway's own token names was set up there: of that nobody is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from postpaid.billing import gateways
from postpaid.billing.manage_payment_methods import (
    NewBankAccount,
    NewCard,
    of_test_token,
    of_typed,
)
from postpaid.billing.perform import Act
from postpaid.core.errors import PaymentFailed
from postpaid.outside.gateways import test as test_gateway
from postpaid.outside.gateways.protocol import Declined, Gateway, SetupRequest
from postpaid.storage import payment_methods
from postpaid.storage.database import Database
from postpaid.storage.payment_methods import PaymentMethod


def check_methods(database: Database, act: Act, method_ids: Iterable[str | None]) -> None:
    """Ask about payment methods that are to be attached, outside any transaction.

    Stripe: attaching validates the card. One whose holder must prove who they are attaches all the
    same. Raises ``PaymentFailed`` for the first that is declined; what is not there, or somebody's
    already, is for whoever attaches it to say.
    """
    asked = [each for each in method_ids if each]
    if not asked or act.livemode:
        return
    with database.connection() as conn:
        found = payment_methods.load(conn, act.account_id, asked)
    known = gateways.load(database, act, [test_gateway.NAME])
    for method_id in asked:
        method = of_test_token(act, method_id) or found.get(method_id)
        if method is not None and not method.customer_id:
            _ask(known, method)


def check_means(database: Database, act: Act, means: NewCard | NewBankAccount) -> None:
    """Ask about what was typed and is to be attached as it is created.

    Raises ``PaymentFailed`` where it is declined, or cannot be, and ``InvalidRequest``.
    """
    method = of_typed(act, means)
    _ask(gateways.load(database, act, [method.gateway]), method)


def _ask(known: Mapping[str, Gateway], method: PaymentMethod) -> None:
    if method.gateway not in known:
        return
    request = SetupRequest(f"{method.id}/attach", method.gateway_token, off_session=False)
    answer = known[method.gateway].set_up(request)
    if isinstance(answer, Declined):
        raise PaymentFailed(answer.message, code=answer.code, decline_code=answer.decline_code)
