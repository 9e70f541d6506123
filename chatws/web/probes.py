"""The probes: `/health`, `/ready`, `/startup` and `/metrics` (docs/protocol.md, HTTP).

They are served in the event loop, without Django's middleware: a probe must not wait for a thread, and a prober's Host
is none of the names that Django serves.
"""

from collections.abc import Awaitable, Callable
from io import BytesIO
from ipaddress import ip_network
from typing import Any

from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import resolve
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_safe

from chatws import conf, services
from chatws.web.bearer import bearer_token
from chatws.web.csp import POLICY
from realtime.addresses import is_in
from realtime.connection.proxies import client_address_of
from realtime.observability import metrics as realtime_metrics

Send = Callable[[dict[str, object]], Awaitable[None]]
LOOPBACK = ip_network("127.0.0.0/8"), ip_network("::1/128")


async def serve(scope: dict[str, Any], send: Send) -> None:
    """Serve the probe of an HTTP scope, without the request's body."""
    try:
        view = resolve(scope["path"])
        response = await view.func(ASGIRequest(scope, BytesIO()), *view.args, **view.kwargs)
    except Http404:
        response = HttpResponse("not found", status=404, content_type="text/plain")
    response.headers["Content-Security-Policy"], response.headers["X-Content-Type-Options"] = POLICY, "nosniff"
    headers = [(name.encode(), value.encode("latin-1")) for name, value in response.items()]
    length = (b"content-length", b"%d" % len(response.content))
    await send({"type": "http.response.start", "status": response.status_code, "headers": [*headers, length]})
    for part, is_last in ASGIHandler.chunk_bytes(response.content):
        await send({"type": "http.response.body", "body": part, "more_body": not is_last})


@require_safe
async def health(request: HttpRequest) -> HttpResponse:
    """Answer 200 while the process runs."""
    return HttpResponse("OK", content_type="text/plain")


@require_safe
async def ready(request: HttpRequest) -> HttpResponse:
    """Answer 200 if this process can take a connection and let its user in, else 503.

    Dependencies are shown but have no vote: a slow chat service would take all gateways out of the balancer at once.
    """
    return _answer(request, services.of(request).node.state == "ok")


@require_safe
async def startup(request: HttpRequest) -> HttpResponse:
    """Answer 200 from the moment on when this process has all it needs: each required dependency has answered once."""
    here = services.of(request)
    return _answer(request, not here.node.missing and here.dependencies.have_answered("redis", "chat_rpc"))


def states_of(here: services.Services) -> dict[str, object]:
    """Return the state of the gateway and of each dependency, and the instances that are called."""
    states: dict[str, object] = {"gateway": here.node.state}
    instances = {"chat_rpc": here.chat.instances, "user_rpc": here.names.instances}
    for name, state in here.dependencies.states.items():
        states[name] = state
        if called := instances.get(name):
            states[f"{name}_instances"] = list(called)
    return states


def _answer(request: HttpRequest, well: bool) -> JsonResponse:
    """Answer with the gateway's state; an operator sees the dependencies as well."""
    here = services.of(request)
    states = states_of(here) if _is_operator(request) else {"gateway": here.node.state}
    return JsonResponse(states, status=200 if well else 503)


def _is_operator(request: HttpRequest) -> bool:
    """Return whether a request comes from this machine or a trusted network, or has the token of the metrics."""
    here = conf.get()
    token = bearer_token(request.headers.get("Authorization", ""))
    if here.public_status or (here.metrics_token and constant_time_compare(token, here.metrics_token)):
        return True
    trusted = [*services.of(request).node.conf.trusted_proxies, *LOOPBACK]
    address = client_address_of(request.scope, trusted)  # type: ignore[attr-defined]  # ASGIRequest has it
    return not address or is_in(address, trusted)  # without an address: a Unix socket, and nobody forwarded the request


@require_safe
async def metrics(request: HttpRequest) -> HttpResponse:
    """Serve the metrics for Prometheus; with several workers, of all of them."""
    here = conf.get()
    if here.metrics_token:
        if not constant_time_compare(bearer_token(request.headers.get("Authorization", "")), here.metrics_token):
            return HttpResponse("the token of CHATWS_METRICS_TOKEN is needed", status=401, content_type="text/plain")
    elif not here.public_status:
        raise Http404
    return HttpResponse(await realtime_metrics.render(), content_type=realtime_metrics.CONTENT_TYPE_LATEST)
