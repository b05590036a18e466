"""`/api/certificates` (L6): the certificates of the TLS listener."""

from aiohttp import web

from balancer.admin.answers import answer
from balancer.admin.keys import INSTANCE


async def list_certificates(request: web.Request) -> web.Response:
    """`{"certificates": [...]}`, the default first; see `CertificateView` for the fields."""
    return answer({"certificates": request.app[INSTANCE].certificates()})
