"""`/api/explain` (L6): which way requests took, and why; and which further ones are explained."""

import ipaddress

from aiohttp import web

from balancer.admin.answers import Query, answer, body_of, error
from balancer.admin.bodies import ExplainOrder, decoded, quoted
from balancer.admin.changing import Asked
from balancer.admin.explained import Watched, Wish
from balancer.admin.keys import INSTANCE
from balancer.admin.replies import Explaining
from balancer.admin.view import RefusedError
from balancer.spec.part import encode_plain


async def list_explained(request: web.Request) -> web.Response:
    """The requests that are explained, newest first, and which will be."""
    Query(request)
    kept = request.app[INSTANCE].explanations
    return answer(Explaining(kept.watched(), kept.left_out, kept.recent()))


async def show_explained(request: web.Request) -> web.Response:
    """All that is kept of the requests with this id."""
    Query(request)
    wanted = request.match_info["id"]
    kept = request.app[INSTANCE].explanations
    found = kept.about(wanted)
    if not found:
        sentence = f"no request {quoted(wanted)} is explained here. {remedy(kept.watched())}"
        return error(sentence, 404, result="unknown")
    return answer({"request_id": wanted, "explanations": [encode_plain(one) for one in found]})


async def order_explanations(request: web.Request) -> web.Response:
    """Explain such requests for some seconds, 60 unless said otherwise; 0 ends it."""
    order = decoded(await body_of(request), ExplainOrder)
    wish = Wish(order.seconds, order.path, order.host, order.method, order.client, order.route)
    about = f"explains {wish} for {wish.seconds:g} s" if wish.seconds else "explains no more"
    asked = Asked(request, "", None, about)
    asked.is_still_wanted()
    if wish.client:
        _check_client(wish.client)
    kept = request.app[INSTANCE].explanations
    kept.wish(wish)
    asked.audit("done")
    return answer(Explaining(kept.watched(), kept.left_out, []))


def remedy(watched: Watched) -> str:
    """What makes a request be kept."""
    header = (
        "those that a trusted proxy marks with X-Balancer-Explain: 1"
        if watched.by_header
        else "with TRUSTED_PROXIES, those that such a proxy marks with X-Balancer-Explain: 1"
    )
    return (
        "Kept are the last errors that the balancer answered itself and the last requests that were sent "
        f"more than once; of the others, a share EXPLAIN__SAMPLE (now {watched.sample:g}), {header}, and "
        "what balancer explain --watch asks for"
    )


def _check_client(client: str) -> None:
    try:
        ipaddress.ip_network(client, strict=False)
    except ValueError:
        text = f"client {quoted(client)} is no address or network; write 192.0.2.7 or 192.0.2.0/24"
        raise RefusedError(text) from None
