"""Permissions of the API: a caller sees its own user id and its chat groups; role `admin` sees all."""

import asyncio
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from rest_framework.exceptions import NotAuthenticated, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from chatws import conf, services
from chatws.chat_service.port import ChatGateway, all_user_group_ids

if TYPE_CHECKING:
    from chatws.web.api.views import ApiView


class SeesUser(BasePermission):
    """Allow the request if ``user_id`` is the caller's own."""

    def has_permission(self, request: Request, view: "ApiView") -> bool:  # type: ignore[override]  # our views only
        caller: Any = request.user
        if view.given["user_id"] != caller.user_id and not caller.is_admin:
            raise PermissionDenied("user_id: another user's")
        return True


class SeesStatus(BasePermission):
    """Allow the request for every user, or, by the setting, for the caller and members of its chat groups."""

    def has_permission(self, request: Request, view: "ApiView") -> bool:  # type: ignore[override]  # our views only
        if conf.get().status_for == "everyone":
            return True
        if request.auth is None:  # also where the status is public
            raise NotAuthenticated("a bearer token is needed")
        caller: Any = request.user
        user_id = view.given["user_id"]
        if user_id != caller.user_id and not caller.is_admin:
            async_to_sync(_check_shared)(services.of(request).chat, caller.user_id, user_id)
        return True


async def _check_shared(chat: ChatGateway, one: int, other: int) -> None:
    ours, theirs = await asyncio.gather(all_user_group_ids(chat, one), all_user_group_ids(chat, other))
    if ours.isdisjoint(theirs):
        raise PermissionDenied("user_id: shares no chat group with you")


class SeesGroup(BasePermission):
    """Allow the request if the chat service says that the caller is a member of ``group_id`` now."""

    def has_permission(self, request: Request, view: "ApiView") -> bool:  # type: ignore[override]  # our views only
        caller: Any = request.user
        if caller.is_admin:
            return True
        chat = services.of(request).chat
        if view.given["group_id"] not in async_to_sync(all_user_group_ids)(chat, caller.user_id):
            raise PermissionDenied(f"group_id: not a member of {view.given['group_id']}")
        return True
