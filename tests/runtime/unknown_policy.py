"""Starts an instance whose workers cannot start, because its settings were not checked."""

import sys

from balancer.config.loader import Loaded
from balancer.config.settings import Settings
from balancer.runtime.interpreter import Interpreters
from balancer.runtime.launch import run
from balancer.runtime.open_files import hard_limit
from balancer.runtime.planning import plan

if __name__ == "__main__":
    settings = Settings.model_validate(
        {
            "listen": "127.0.0.1:0",
            "admin_listen": "127.0.0.1:0",
            "workers": 2,
            "upstreams": "127.0.0.1:1",
            "policy": "nonesuch",
            "limits": {"max_connections": 100},
            "health_check": {"enabled": False},
        }
    )
    sys.exit(run(plan(Loaded(settings, {}), hard_limit()), Interpreters()))
