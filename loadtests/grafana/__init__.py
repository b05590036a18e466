"""Makes the dashboards of config/grafana: `python -m loadtests.grafana`.

They are written here in a short form and committed as Grafana's JSON; a test says that the two agree.
"""
