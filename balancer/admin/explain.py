"""`/api/explain` (L6): which way requests took, and why; and which further ones are explained."""

import ipaddress
import re

from aiohttp import web

from balancer.admin.answers import BadRequestError, Query, answer, body_of, error
from balancer.admin.bodies import ExplainOrder, decoded, quoted
from balancer.admin.changing import Asked
from balancer.admin.explained import Watched, Wish
from balancer.admin.keys import INSTANCE
from balancer.admin.replies import Explaining
from balancer.spec.part import encode_plain

_HOST = re.compile(r"(\*\.)?[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\]")
_METHOD = re.compile(r"[A-Za-z-]{1,32}")
_PATH = re.compile(r"/[\x21-\x7e]{0,1023}")
_SECONDS = 60.0


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
    wish = _wish(order)
    about = str(wish) or "every request"
    asked = Asked(
        request, "", None, f"explains {about} for {wish.seconds:g} s" if wish.seconds else "explains no more"
    )
    asked.is_still_wanted()
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


def _wish(order: ExplainOrder) -> Wish:
    if order.path and _PATH.fullmatch(order.path) is None:
        raise BadRequestError(f"path {quoted(order.path)} is not a path; write /api")
    if order.host and _HOST.fullmatch(order.host) is None:
        raise BadRequestError(
            f"host {quoted(order.host)} is not a name; write shop.example or *.shop.example"
        )
    if order.method and _METHOD.fullmatch(order.method) is None:
        raise BadRequestError(f"method {quoted(order.method)} is not a method; write GET")
    if order.client:
        try:
            ipaddress.ip_network(order.client, strict=False)
        except ValueError:
            raise BadRequestError(
                f"client {quoted(order.client)} is no address or network; write 192.0.2.7 or 192.0.2.0/24"
            ) from None
    return Wish(order.seconds, order.path, order.host, order.method, order.client, order.route)
