"""`/api/certificates` (L6): the certificates of the TLS listener."""

from aiohttp import web

from balancer.admin.answers import answer
from balancer.admin.keys import INSTANCE
from balancer.admin.replies import Certificates


async def list_certificates(request: web.Request) -> web.Response:
    """All certificates, the default first."""
    return answer(Certificates(request.app[INSTANCE].certificates()))
