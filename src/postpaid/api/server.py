"""One ASGI application: Stripe's API, its description, and whether we are well."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib.metadata import version

import anyio
from anyio import to_thread
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from starlette.types import StatelessLifespan

from postpaid.api import openapi
from postpaid.api.stripe import (
    catalog,
    customers,
    events,
    invoices,
    meters,
    payment_methods,
    subscriptions,
    test_clocks,
    usage,
)
from postpaid.api.stripe.facade import Facade
from postpaid.api.stripe.routes import Routes
from postpaid.config import Settings
from postpaid.storage.database import Database

# What Stripe's API has here, in the order of the documentation.
RESOURCES: Sequence[Routes] = (
    customers.routes,
    payment_methods.routes,
    catalog.routes,
    meters.routes,
    usage.routes,
    subscriptions.routes,
    invoices.routes,
    events.routes,
    test_clocks.routes,
)

HEALTH_TIMEOUT_S = 2


def create_app(
    database: Database,
    settings: Settings,
    *,
    resources: Sequence[Routes] = RESOURCES,
    lifespan: StatelessLifespan[FastAPI] | None = None,
) -> FastAPI:
    """The application; the caller opens and closes the database, perhaps in ``lifespan``."""
    app = FastAPIOffline(docs_url="/docs", redoc_url=None, title="Postpaid", lifespan=lifespan)
    facade = Facade(database, resources, body_bytes_max=settings.body_bytes_max)
    app.mount("/v1", facade)
    app.mount("/v2", facade)
    app.openapi = functools.cache(  # type: ignore[method-assign]
        lambda: openapi.document(resources, version=version("postpaid"))
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

    return app
