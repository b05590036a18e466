"""Makes what the admin API shows of the settings (L1)."""

from balancer.config.catalogue import SETTINGS, key, pool_of
from balancer.config.exported import Exported, as_file
from balancer.config.loader import Loaded
from balancer.config.masking import masked


def export(loaded: Loaded) -> Exported:
    """The settings, with secrets masked."""
    tree = masked(loaded.settings.model_dump(mode="json", exclude={"config"}))
    origins: dict[str, str] = {}
    for setting in SETTINGS:
        origin = loaded.origins.get(setting.path)
        if setting.path != ("config",):
            origins[key(setting.path)] = "default" if origin is None else origin.kind
    of_pools = {path: one for path, one in loaded.origins.items() if pool_of(path) is not None}
    origins |= {key(path): origin.kind for path, origin in of_pools.items()}
    return Exported(tree, origins, as_file(tree))
