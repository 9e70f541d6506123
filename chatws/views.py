"""HTTP: is the process well, who is online, and of the chat API what the page needs (docs/protocol.md, HTTP)."""

import asyncio
import re
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from functools import wraps
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET

from chatws import conf, csp, services
from chatws.exceptions import FrameError
from chatws.rpc.gateway import PAGE_SIZE, ChatServiceError, all_user_group_ids
from realtime import metrics as realtime_metrics
from realtime.auth import MAX_USER_ID, Principal
from realtime.exceptions import AuthenticationError, Unavailable
from realtime.redis import RedisError, address_of

READY_SECONDS = 2.0
RECALLED = 2
LARGEST_PAGE = 2**31 - 1
GROUP_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
DIGITS = re.compile(r"[0-9]{1,20}")

View = Callable[..., Coroutine[Any, Any, HttpResponse]]


def answers_json(view: View) -> View:
    """Only GET; what is refused or can't be had is answered as ``{"code", "message"}`` with that status."""

    @csrf_exempt  # no cookie is looked at; another method is a 405
    @require_GET
    @wraps(view)
    async def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return await view(request, *args, **kwargs)
        except AuthenticationError as error:
            return _refusal(401, str(error))
        except FrameError as error:
            return _refusal(error.code, error.message)
        except Unavailable as error:
            return _refusal(503, str(error))
        except ChatServiceError as error:
            return _refusal(error.code, str(error))
        except (RedisError, OSError) as error:
            return _refusal(503, f"Redis can't be reached: {error}")

    return wrapped


@require_GET
async def page(request: HttpRequest) -> HttpResponse:
    """The chat page."""
    here = conf.get()
    response = render(request, "chatws/chat.html", {"demo_login": here.demo_login})
    response.headers["Content-Security-Policy"] = csp.policy(here.image_sources)
    return response


@require_GET
async def favicon(request: HttpRequest) -> HttpResponse:
    """Where browsers look for an icon, for the pages that don't name one."""
    return redirect(static("chatws/icon.svg"))


@require_GET
async def health(request: HttpRequest) -> HttpResponse:
    """200 while the process lives."""
    return HttpResponse("OK", content_type="text/plain")


@require_GET
async def ready(request: HttpRequest) -> HttpResponse:
    """200 if sockets can be served; each dependency and its state."""
    here = services.of(request)
    here.node.start()
    redis, chat_rpc = await asyncio.gather(_redis_state(here), here.chat.state())
    gateway = here.node.state
    well = redis == chat_rpc == gateway == "ok"
    return JsonResponse({"gateway": gateway, "redis": redis, "chat_rpc": chat_rpc}, status=200 if well else 503)


@require_GET
async def metrics(request: HttpRequest) -> HttpResponse:
    """What is counted, for Prometheus; with several workers on the port, of all of them."""
    here = conf.get()
    if here.metrics_token:
        if not constant_time_compare(_bearer_token(request), here.metrics_token):
            return _refusal(401, "the token of CHATWS_METRICS_TOKEN is needed")
    elif not here.public_status:
        raise Http404
    return HttpResponse(realtime_metrics.render(), content_type=realtime_metrics.CONTENT_TYPE_LATEST)


@answers_json
async def stats(request: HttpRequest) -> HttpResponse:
    """Users, connections and gateways of the whole cluster."""
    await _require_reader(request)
    return JsonResponse(asdict(await services.of(request).node.presence.stats()))


@answers_json
async def user_status(request: HttpRequest) -> HttpResponse:
    """Whether a user is online, and since when."""
    await _require_reader(request)
    user_id = _number(request.GET.get("user_id", ""), "user_id", MAX_USER_ID)
    return _success(asdict(await services.of(request).node.presence.status(user_id)))


@answers_json
async def user_groups(request: HttpRequest, user_id: str) -> HttpResponse:
    """The chat groups of the caller."""
    caller = await _caller(request)
    wanted = _number(user_id, "user_id", MAX_USER_ID)
    if wanted != caller.user_id and caller.role != "admin":
        raise FrameError(403, "user_id: another user's")
    page_number, page_size = _page(request)
    found = await services.of(request).chat.user_groups(wanted, page_number, page_size)
    return _success({"groups": [asdict(group) for group in found.items], "total": found.total})


@answers_json
async def messages(request: HttpRequest) -> HttpResponse:
    """Messages of a chat group of the caller, newest first; a recalled one without its content."""
    caller = await _caller(request)
    group_id = request.GET.get("group_id", "")
    if not GROUP_ID.fullmatch(group_id):
        raise FrameError(400, "group_id: not a chat group's id")
    limit = _number(request.GET.get("limit", "20"), "limit", PAGE_SIZE)
    before_id = request.GET.get("before_id", "")
    if len(before_id) > 64:
        raise FrameError(400, "before_id: over 64 characters")
    chat = services.of(request).chat
    if caller.role != "admin" and group_id not in await all_user_group_ids(chat, caller.user_id):
        raise FrameError(403, f"group_id: not a member of {group_id}")
    history = await chat.message_history(group_id, before_id, limit)
    shown = [{**asdict(message), "sender": str(message.sender_id)} for message in history.messages]
    for message in shown:
        if message["status"] == RECALLED:
            message |= {"content": "", "image_url": ""}
    return _success({"messages": shown, "has_more": history.has_more})


async def _redis_state(here: services.Services) -> str:
    try:
        async with asyncio.timeout(READY_SECONDS):
            await here.node.redis.ping()
    except (RedisError, OSError, TimeoutError) as error:
        return f"can't be reached at {address_of(here.node.conf.redis_url)}: {error or 'no answer in time'}"
    return "ok"


async def _caller(request: HttpRequest) -> Principal:
    return await services.of(request).node.authenticate(_bearer_token(request))


def _bearer_token(request: HttpRequest) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def _require_reader(request: HttpRequest) -> None:
    if not conf.get().public_status:
        await _caller(request)


def _page(request: HttpRequest) -> tuple[int, int]:
    number = _number(request.GET.get("page", "1"), "page", LARGEST_PAGE)
    return number, _number(request.GET.get("page_size", "20"), "page_size", PAGE_SIZE)


def _number(text: str, name: str, largest: int) -> int:
    if DIGITS.fullmatch(text) and 1 <= (value := int(text)) <= largest:
        return value
    raise FrameError(400, f"{name}: not a number from 1 to {largest}" if text else f"{name}: missing")


def _success(data: dict[str, Any]) -> JsonResponse:
    return JsonResponse({"code": 0, "message": "success", "data": data})


def _refusal(code: int, message: str) -> JsonResponse:
    return JsonResponse({"code": code, "message": message}, status=code)
