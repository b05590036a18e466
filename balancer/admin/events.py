"""`/api/events` (L6): state changes with their cause, as a list or as a long poll."""

from dataclasses import asdict

from aiohttp import web

from balancer.admin.answers import Query, answer
from balancer.admin.keys import INSTANCE
from balancer.admin.replies import Events, EventView
from balancer.admin.view import moment

MOST_WAIT = 60.0


async def list_events(request: web.Request) -> web.Response:
    """The events after `?after=REVISION`, oldest first.

    If there are none yet, `&wait=SECONDS` waits for one. Revisions restart with each instance, whose start is
    `started`; a reader that is ahead of the log has seen another instance and is answered at once.
    """
    query = Query(request, "after", "wait")
    after, wait = query.count("after", 0), query.seconds("wait", MOST_WAIT)
    instance = request.app[INSTANCE]
    log = instance.events
    events = await log.wait(after, wait if after <= log.last else 0.0)
    shown = [EventView(**{**asdict(event), "time": moment(event.time)}) for event in events]
    return answer(Events(moment(instance.started), log.last, shown))


async def let_go(app: web.Application) -> None:
    """End long polls and streams: the stopping server would wait for them."""
    app[INSTANCE].events.close()
    app[INSTANCE].overviews.close()
