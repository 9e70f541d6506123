"""The probes: `/health`, `/ready` and `/metrics` (docs/protocol.md, HTTP)."""

import asyncio

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_GET

from chatws import conf, services
from chatws.web.bearer import bearer_token
from realtime.exceptions import RealtimeError
from realtime.observability import metrics as realtime_metrics
from realtime.redis.client import address_of

READY_SECONDS = 2.0


@require_GET
async def health(request: HttpRequest) -> HttpResponse:
    """Answer 200 while the process runs."""
    return HttpResponse("OK", content_type="text/plain")


@require_GET
async def ready(request: HttpRequest) -> HttpResponse:
    """Answer 200 if this process can serve sockets, else 503; the body has each dependency and its state."""
    here = services.of(request)
    redis, chat_rpc, user_rpc = await asyncio.gather(_redis_state(here), here.chat.state(), here.names.state())
    gateway = here.node.state
    well = redis == chat_rpc == gateway == "ok"
    states: dict[str, object] = {"gateway": gateway, "redis": redis, "chat_rpc": chat_rpc}
    if instances := here.chat.instances:
        states["chat_rpc_instances"] = list(instances)
    if here.names.has_service:  # not required: without it users have no names
        states["user_rpc"] = user_rpc
        if instances := here.names.instances:
            states["user_rpc_instances"] = list(instances)
    return JsonResponse(states, status=200 if well else 503)


@require_GET
async def metrics(request: HttpRequest) -> HttpResponse:
    """Serve the metrics for Prometheus; with several workers, of all of them."""
    here = conf.get()
    if here.metrics_token:
        if not constant_time_compare(bearer_token(request.headers.get("Authorization", "")), here.metrics_token):
            return HttpResponse("the token of CHATWS_METRICS_TOKEN is needed", status=401, content_type="text/plain")
    elif not here.public_status:
        raise Http404
    return HttpResponse(realtime_metrics.render(), content_type=realtime_metrics.CONTENT_TYPE_LATEST)


async def _redis_state(here: services.Services) -> str:
    try:
        async with asyncio.timeout(READY_SECONDS):
            await here.node.redis.ping()
    except (RealtimeError, TimeoutError) as error:
        return f"unavailable at {address_of(here.node.conf.redis_url)}: {error or 'no answer in time'}"
    return "ok"
