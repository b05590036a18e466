"""`/api/failures` (L6): the last errors that the balancer itself answered, not an upstream."""

from aiohttp import web

from balancer.admin.answers import Query, answer
from balancer.admin.keys import INSTANCE
from balancer.admin.replies import Failures, FailureView
from balancer.admin.view import moment


async def list_failures(request: web.Request) -> web.Response:
    """The last errors, newest first."""
    Query(request)
    records = request.app[INSTANCE].failures()
    return answer(Failures([FailureView(**{**record, "time": moment(record["time"])}) for record in records]))
