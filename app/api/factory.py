"""Puts the API together: one app, its services, its checks, its addresses."""

from importlib.metadata import version

from apiflask import APIFlask

from app.api import (
    admin,
    admin_anomalies,
    admin_approvals,
    admin_audit,
    admin_consents,
    admin_faces,
    admin_grant_rules,
    admin_ledger,
    admin_limits,
    admin_pricing,
    admin_rate_cards,
    admin_recharges,
    admin_reconciliation,
    admin_sales,
    balance,
    batches,
    caps,
    compare,
    deliveries,
    embeddings,
    endpoints,
    estimates,
    files,
    grants,
    health,
    invoices,
    job_events,
    jobs,
    models,
    openapi,
    own_models,
    quotes,
    uploads,
    usage,
)
from app.api.auth import register_auth
from app.api.compat import face_swap, yolo
from app.api.incoming import (
    FORM_FIELD_BYTES_MAX,
    FORM_PARTS_MAX,
    StrictRequest,
    register_request_checks,
)
from app.api.problems import register_problems
from app.api.request_id import register_request_ids
from app.api.services import install_services
from app.settings import Settings

RESOURCES = (
    health.blueprint,
    openapi.blueprint,
    files.blueprint,
    uploads.blueprint,
    quotes.blueprint,
    estimates.blueprint,
    batches.blueprint,
    jobs.blueprint,
    job_events.blueprint,
    compare.blueprint,
    yolo.blueprint,
    face_swap.blueprint,
    balance.blueprint,
    grants.blueprint,
    caps.blueprint,
    usage.blueprint,
    models.blueprint,
    own_models.blueprint,
    embeddings.blueprint,
    endpoints.blueprint,
    deliveries.blueprint,
    admin.blueprint,
    admin_ledger.blueprint,
    admin_reconciliation.blueprint,
    admin_limits.blueprint,
    admin_anomalies.blueprint,
    usage.admin_blueprint,
    admin_approvals.blueprint,
    admin_grant_rules.blueprint,
    admin_recharges.blueprint,
    admin_audit.blueprint,
    admin_consents.blueprint,
    admin_faces.blueprint,
    admin_rate_cards.blueprint,
    admin_sales.blueprint,
    invoices.blueprint,
    admin_pricing.blueprint,
)


def create_app(settings: Settings) -> APIFlask:
    """Build the API. Nothing connects and no thread or child starts before the first request."""
    app = _Api(
        "app.api",
        title="Pixelmeter",
        version=version("pixelmeter"),
        docs_path=None,
        json_errors=False,
        static_folder=None,  # type: ignore[arg-type] # Flask takes None: no such address
    )
    app.config["MAX_FORM_MEMORY_SIZE"] = FORM_FIELD_BYTES_MAX
    app.config["MAX_FORM_PARTS"] = FORM_PARTS_MAX
    app.config["AUTO_VALIDATION_ERROR_RESPONSE"] = False
    app.config["AUTO_404_RESPONSE"] = False
    app.url_map.strict_slashes = False
    built = install_services(app, settings)
    register_problems(app)
    register_request_ids(app)
    register_request_checks(app, upload_bytes_max=settings.max_upload_bytes)
    anonymous = built.anonymous if settings.allow_anonymous else None
    register_auth(app, built.principals, anonymous=anonymous)
    for blueprint in RESOURCES:
        app.register_blueprint(blueprint)
    openapi.describe_security(app)
    return app


class _Api(APIFlask):
    request_class = StrictRequest
