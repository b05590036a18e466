"""`/` (L6): the dashboard for browsers, the list of endpoints for curl and scripts."""

from aiohttp import web

from balancer import __version__, build
from balancer.admin import pages

_PAGE = "dashboard.html"
_TEXT = f"""\
balancer {__version__} ({build.kind()})

/healthz                               liveness
/readyz                                readiness; ?strict=1 also requires an eligible upstream in every pool
/metrics                               metrics for Prometheus
/api/pools                             pools and upstreams: states, weights, counts, last checks
/api/pools/POOL                        one pool
/api/pools/POOL/upstreams              its upstreams; POST adds one
/api/pools/POOL/upstreams/ID           one upstream; PATCH changes it, DELETE removes an added one
/api/routes                            routes, and the counts of each pool that serves them
/api/routes/ROUTE                      PATCH {{"read_only": SECONDS}} serves no changes for a while
/api/routes/ROUTE/split                the weights of a split route; PATCH changes them
/api/certificates                      certificates of the TLS listener: names, issuer, end
/api/events                            state changes; ?after=REVISION&wait=SECONDS waits for the next
/api/failures                          the last errors that the balancer itself returned: when, what, why
/api/explain                           explained requests; POST {{"path": "/api"}} explains such for a minute
/api/explain/ID                        which way a request took, and why, by its X-Request-ID
/api/config                            the effective settings; ?format=yaml: as a settings file
/api/live_changes                      DELETE forgets what operators have changed
/api/reload                            POST {{}} takes up changed settings; {{"dry_run": true}} only compares
/api/replace                           POST {{}} starts the program anew, on the same sockets
/api/overview                          what the dashboard shows: findings, rates of the last 10 s, states
/api/stream                            the same as server-sent events, with what changes each second
/api/history                           thirty minutes of it; ?only=route:NAME or pool:NAME
/api/openapi.json                      all of this as an OpenAPI document

A browser gets a dashboard here.
In a shell: balancer status, balancer top, balancer events --follow, balancer drain UPSTREAM
"""


async def overview(request: web.Request) -> web.Response:
    """The page `dashboard.html` if the client takes HTML, else plain text."""
    response = pages.page(request, _PAGE) if pages.is_browser(request) else web.Response(text=_TEXT)
    response.headers["Vary"] = "Accept"
    return response
