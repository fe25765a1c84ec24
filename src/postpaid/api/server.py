"""One ASGI application: Stripe's API, Frame's, their description, and whether we are well."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import anyio
from anyio import to_thread
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi_offline import FastAPIOffline
from starlette.types import Receive, Scope, Send, StatelessLifespan

from postpaid.api.frame import accounts as frame_accounts
from postpaid.api.frame import billing_credits as frame_billing_credits
from postpaid.api.frame import billing_invoices as frame_billing_invoices
from postpaid.api.frame import charge_intents as frame_charge_intents
from postpaid.api.frame import charges as frame_charges
from postpaid.api.frame import coupons as frame_coupons
from postpaid.api.frame import customers as frame_customers
from postpaid.api.frame import discounts as frame_discounts
from postpaid.api.frame import events as frame_events
from postpaid.api.frame import invoice_lines as frame_invoice_lines
from postpaid.api.frame import invoices as frame_invoices
from postpaid.api.frame import merchant as frame_merchant
from postpaid.api.frame import metering_events as frame_metering_events
from postpaid.api.frame import meters as frame_meters
from postpaid.api.frame import openapi as frame_openapi
from postpaid.api.frame import payment_methods as frame_payment_methods
from postpaid.api.frame import phases as frame_phases
from postpaid.api.frame import products as frame_products
from postpaid.api.frame import promotion_codes as frame_promotion_codes
from postpaid.api.frame import refunds as frame_refunds
from postpaid.api.frame import reports as frame_reports
from postpaid.api.frame import subscriptions as frame_subscriptions
from postpaid.api.frame import thresholds as frame_thresholds
from postpaid.api.frame import transfers as frame_transfers
from postpaid.api.frame import webhook_endpoints as frame_webhook_endpoints
from postpaid.api.frame.facade import Facade as FrameFacade
from postpaid.api.frame.routes import Routes as FrameRoutes
from postpaid.api.stripe import (
    adjustments,
    alerts,
    backfills,
    balance_transactions,
    billing_settings,
    charges,
    conflicts,
    coupons,
    credit_grants,
    credit_notes,
    customers,
    deliveries,
    discounts,
    event_destinations,
    events,
    invoice_drafts,
    invoice_items,
    invoice_payments,
    invoice_receipts,
    invoices,
    ledger,
    meter_events,
    meters,
    openapi,
    pauses,
    payment_gateways,
    payment_intents,
    payment_methods,
    payment_records,
    positions,
    prices,
    products,
    promotion_codes,
    refunds,
    retry_schedules,
    searches,
    setup_intents,
    subscription_items,
    subscription_modes,
    subscription_schedules,
    subscriptions,
    summaries,
    tax_rates,
    test_clocks,
    thin_events,
    usage_batch,
    v2_metering,
    webhook_endpoints,
)
from postpaid.api.stripe.facade import Facade
from postpaid.api.stripe.routes import Routes
from postpaid.config import Settings
from postpaid.storage.database import Database

# What Stripe's API has here, in the order of the documentation.
RESOURCES: Sequence[Routes] = (
    customers.routes,
    balance_transactions.routes,
    payment_methods.routes,
    setup_intents.routes,
    payment_intents.routes,
    charges.routes,
    payment_gateways.routes,
    products.routes,
    prices.routes,
    meters.routes,
    meter_events.routes,
    usage_batch.routes,
    backfills.routes,
    summaries.routes,
    adjustments.routes,
    conflicts.routes,
    v2_metering.routes,
    subscriptions.routes,
    pauses.routes,
    subscription_items.routes,
    subscription_modes.routes,
    subscription_schedules.routes,
    positions.routes,
    alerts.routes,
    coupons.routes,
    promotion_codes.routes,
    discounts.routes,
    tax_rates.routes,
    invoice_items.routes,
    invoices.routes,
    invoice_receipts.routes,
    payment_records.routes,
    refunds.routes,
    invoice_drafts.routes,
    invoice_payments.routes,
    credit_notes.routes,
    credit_grants.routes,
    ledger.routes,
    searches.routes,
    events.routes,
    thin_events.routes,
    event_destinations.routes,
    webhook_endpoints.routes,
    deliveries.routes,
    billing_settings.routes,
    retry_schedules.routes,
    test_clocks.routes,
)

# What Frame's API has here.
FRAME_RESOURCES: Sequence[FrameRoutes] = (
    frame_merchant.routes,
    frame_customers.routes,
    frame_accounts.routes,
    frame_payment_methods.routes,
    frame_thresholds.routes,
    frame_webhook_endpoints.routes,
    frame_events.routes,
    frame_products.routes,
    frame_phases.routes,
    frame_meters.routes,
    frame_metering_events.routes,
    frame_reports.routes,
    frame_invoices.routes,
    frame_invoice_lines.routes,
    frame_billing_credits.routes,
    frame_billing_invoices.routes,
    frame_subscriptions.routes,
    frame_coupons.routes,
    frame_promotion_codes.routes,
    frame_discounts.routes,
    frame_charge_intents.routes,
    frame_charges.routes,
    frame_transfers.routes,
    frame_refunds.routes,
)

HEALTH_TIMEOUT_S = 2

STRIPE_PREFIXES = {"/v1", "/v2"}
FRAME_PREFIX = "/frame/"
FRAME_OPENAPI = "/frame/openapi.json"
FRAME_DOCS = "/frame/docs"
STATIC_URL = "/static-offline-docs"


@dataclass(frozen=True, slots=True)
class App:
    """A façade's requests go straight to it, all others to the framework.

    The framework's layers would cost a usage event more than all that is done with it.
    """

    stripe: Facade
    frame: FrameFacade
    framework: FastAPI
    frame_hosts: frozenset[bytes] = frozenset()

    def is_frames(self, scope: Scope) -> bool:
        """Whether the request asks for Frame's API: by its path, or by the server's name.

        Frame's own base path is /v1 too, and some of its clients take a host and no path.
        """
        if scope["path"].startswith(FRAME_PREFIX):
            return scope["path"] not in (FRAME_OPENAPI, FRAME_DOCS)
        if not (self.frame_hosts and scope["path"].startswith("/v1/")):
            return False
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        return not self.frame_hosts.isdisjoint({host.lower(), host.rpartition(b":")[0].lower()})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self.is_frames(scope):
            await self.frame(scope, receive, send)
        elif scope["type"] == "http" and scope["path"][:3] in STRIPE_PREFIXES:
            await self.stripe(scope, receive, send)
        else:
            await self.framework(scope, receive, send)


def create_app(
    database: Database,
    settings: Settings,
    *,
    resources: Sequence[Routes] = RESOURCES,
    lifespan: StatelessLifespan[FastAPI] | None = None,
) -> App:
    """The application; the caller opens and closes the database, perhaps in ``lifespan``."""
    app = FastAPIOffline(
        docs_url="/docs",
        redoc_url=None,
        title="Postpaid",
        lifespan=lifespan,
        static_url=STATIC_URL,
    )
    app.openapi = functools.cache(  # type: ignore[method-assign]
        lambda: openapi.document(resources, version=version("postpaid"))
    )

    describe_frames = functools.cache(
        lambda: frame_openapi.document(FRAME_RESOURCES, version=version("postpaid"))
    )

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        """Whoever only knows the address is shown what is there."""
        return RedirectResponse("/docs")

    @app.get(FRAME_OPENAPI)
    async def frame_description() -> JSONResponse:
        """Frame's API, for programs."""
        return JSONResponse(describe_frames())

    @app.get(FRAME_DOCS)
    async def frame_docs() -> HTMLResponse:
        """Frame's API, for people."""
        return get_swagger_ui_html(
            openapi_url=FRAME_OPENAPI,
            title="Postpaid: Frame's API",
            swagger_js_url=f"{STATIC_URL}/swagger-ui-bundle.js",
            swagger_css_url=f"{STATIC_URL}/swagger-ui.css",
            swagger_favicon_url=f"{STATIC_URL}/favicon.png",
        )

    @app.get("/health")
    async def health() -> JSONResponse:
        """Whether requests are answered now."""
        try:
            with anyio.fail_after(HEALTH_TIMEOUT_S):
                await to_thread.run_sync(database.ping, abandon_on_cancel=True)
        except Exception:
            return JSONResponse({"status": "unavailable"}, status_code=503)
        return JSONResponse({"status": "ok"})

    networks = settings.webhook_allowed_networks
    return App(
        Facade(
            database,
            resources,
            body_bytes_max=settings.body_bytes_max,
            allowed_networks=networks,
        ),
        FrameFacade(
            database,
            FRAME_RESOURCES,
            body_bytes_max=settings.body_bytes_max,
            allowed_networks=networks,
        ),
        app,
        frozenset(host.encode() for host in settings.frame_hosts),
    )
