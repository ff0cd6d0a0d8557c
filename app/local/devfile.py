"""``PIXELMETER_HOME/dev.json``: addresses and keys for a person at this machine and for tests."""

from app.local.bootstrap import DemoTenant
from app.local.layout import Layout
from app.local.processes import FLOWER_USER, Addresses
from app.local.state import write_json


def write_dev_file(layout: Layout, addresses: Addresses, tenant: DemoTenant) -> None:
    """Write the file anew for this run; the keys stay those of the first start.

    ``metrics_url`` is null while nothing serves it.
    """
    document = {
        "base_url": addresses.base_url,
        "admin_key": tenant.admin_key,
        "tenant_key": tenant.tenant_key,
        "tenant": tenant.tenant,
        "comfyui_url": addresses.comfyui_url,
        "flower_url": addresses.flower_url,
        "metrics_url": None,
        "flower_user": FLOWER_USER,
        "flower_password": addresses.flower_password,
    }
    write_json(layout.dev_file, document)
