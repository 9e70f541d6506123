"""The API's views, one class per path: validate the input, call the chat service on the event loop, wrap the answer."""

from collections.abc import Awaitable, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, TypeVar

from asgiref.sync import async_to_sync
from django.http import Http404
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from chatws import conf, services
from chatws.chat_service.port import ReadCursor, Unsupported
from chatws.messaging.history import NAMELESS, history, shown
from chatws.services import Services
from chatws.web.api import serializers
from chatws.web.api.authentication import BearerAuthentication
from chatws.web.api.permissions import SeesGroup, SeesStatus, SeesUser

Answer = TypeVar("Answer")


class ApiView(APIView):
    """A view for callers with a token. ``given`` is the input from path and query, or body, validated by ``takes``."""

    authentication_classes: Sequence[type[BaseAuthentication]] = (BearerAuthentication,)
    permission_classes: Sequence[type[BasePermission]] = ()
    takes: ClassVar[type[Serializer[Any]] | None] = None
    is_public_where_status_is = False
    http_method_names = ("get", "head", "post")

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Reject a method that the path doesn't have before anything else is looked at."""
        method = str(request.method).lower()
        if method not in self.http_method_names or not hasattr(self, method):
            self.http_method_not_allowed(request, *args, **kwargs)
        super().initial(request, *args, **kwargs)

    def check_permissions(self, request: Request) -> None:
        """Check in this order: a token is there (401), the input is valid (400), the caller has access (403)."""
        if request.auth is None and not (self.is_public_where_status_is and conf.get().public_status):
            raise NotAuthenticated("a bearer token is needed")
        self.given: dict[str, Any] = {}
        if self.takes is not None:
            said = request.data if request.method == "POST" else request.query_params.dict()
            given = self.takes(data={**(said if isinstance(said, dict) else {}), **self.kwargs})
            given.is_valid(raise_exception=True)
            self.given = given.validated_data
        super().check_permissions(request)

    @property
    def here(self) -> Services:
        """The services of this process."""
        return services.of(self.request)

    @property
    def page(self) -> dict[str, int]:
        """The requested page of a listing."""
        return {"page": self.given["page"], "page_size": self.given["page_size"]}


def wait(answer: Awaitable[Answer]) -> Answer:
    """Return a call's result; the call runs on the process's event loop, while this view waits in a thread."""

    async def waiting() -> Answer:
        return await answer

    return async_to_sync(waiting)()


def success(kind: type[Serializer[Any]], data: object) -> Response:
    """Return a successful answer."""
    return Response({"code": 0, "message": "success", "data": kind(data).data})


def cursors_of(asking: Awaitable[Sequence[ReadCursor]]) -> Sequence[ReadCursor] | None:
    """Return read cursors; None if the chat service keeps none."""
    try:
        return wait(asking)
    except Unsupported:
        return None


class StatsView(ApiView):
    is_public_where_status_is = True

    def get(self, request: Request) -> Response:
        return Response(serializers.Stats(wait(self.here.node.presence.stats())).data)


class UserStatusView(ApiView):
    is_public_where_status_is = True
    takes = serializers.OfUser
    permission_classes = (SeesStatus,)

    def get(self, request: Request) -> Response:
        return success(serializers.Status, wait(self.here.node.presence.status(self.given["user_id"])))


class GroupView(ApiView):
    takes = serializers.OfGroup
    permission_classes = (SeesGroup,)

    def get(self, request: Request, group_id: str) -> Response:
        return success(serializers.GroupInfo, wait(self.here.chat.group_info(group_id)))


class MembersView(ApiView):
    takes = serializers.MembersQuery
    permission_classes = (SeesGroup,)

    def get(self, request: Request, group_id: str) -> Response:
        chat = self.here.chat
        page = wait(chat.group_members(group_id, self.given["page"], self.given["page_size"]))
        names = wait(self.here.names.of(member.user_id for member in page.items))
        members = [
            {**asdict(member), "username": (name := names.get(member.user_id, NAMELESS)).name, "avatar": name.avatar}
            for member in page.items
        ]
        cursors = cursors_of(chat.group_cursors(group_id, [member.user_id for member in page.items])) if members else []
        read = {cursor.user_id: cursor.message_id for cursor in cursors or ()}
        if cursors is not None:
            members = [{**member, "read_id": read.get(member["user_id"], "")} for member in members]
        return success(serializers.Members, {"members": members, "total": page.total, **self.page})


class UserGroupsView(ApiView):
    takes = serializers.UserPageQuery
    permission_classes = (SeesUser,)

    def get(self, request: Request, user_id: str) -> Response:
        chat, user = self.here.chat, self.given["user_id"]
        page = wait(chat.user_groups(user, self.given["page"], self.given["page_size"]))
        groups = [asdict(group) for group in page.items]
        cursors = cursors_of(chat.user_cursors(user, [group.group_id for group in page.items])) if groups else []
        by_group = {cursor.group_id: cursor for cursor in cursors or ()}
        for group in groups:
            if cursor := by_group.get(group["group_id"]):
                group |= {"read_id": cursor.message_id, "unread_count": cursor.unread_count}
        return success(serializers.UserGroups, {"groups": groups, "total": page.total, **self.page})


class MessagesView(ApiView):
    takes = serializers.HistoryQuery
    permission_classes = (SeesGroup,)

    def get(self, request: Request) -> Response:
        given = self.given
        found = wait(history(self.here.chat, self.here.names, given["group_id"], given["before_id"], given["limit"]))
        return success(serializers.History, found)


class OfflineMessagesView(ApiView):
    takes = serializers.OfflineQuery
    permission_classes = (SeesUser,)

    def get(self, request: Request) -> Response:
        after = max(self.given["after_time"], 1)  # the platform's service rejects 0
        found = wait(self.here.chat.offline_messages(self.given["user_id"], after))
        return success(serializers.Offline, {"messages": wait(shown(self.here.names, found))})


class NotificationsView(ApiView):
    takes = serializers.UserPageQuery
    permission_classes = (SeesUser,)

    def get(self, request: Request) -> Response:
        given = self.given
        found = wait(self.here.chat.notifications(given["user_id"], -1, given["page"], given["page_size"]))
        data = {"notifications": found.items, "total": found.total, "unread_count": found.unread_count, **self.page}
        return success(serializers.Notifications, data)


class UnreadCountView(ApiView):
    takes = serializers.OfUser
    permission_classes = (SeesUser,)

    def get(self, request: Request) -> Response:
        count = wait(self.here.chat.unread_notifications(self.given["user_id"]))
        return success(serializers.UnreadCount, {"count": count})


class MarkReadView(ApiView):
    takes = serializers.MarkNotificationsBody
    permission_classes = (SeesUser,)

    def post(self, request: Request) -> Response:
        given = self.given
        count = wait(self.here.chat.mark_notifications_read(given["user_id"], given["notification_ids"]))
        return success(serializers.Marked, {"success": True, "updated_count": count})


class MarkAllReadView(ApiView):
    takes = serializers.OfUser
    permission_classes = (SeesUser,)

    def post(self, request: Request) -> Response:
        count = wait(self.here.chat.mark_all_notifications_read(self.given["user_id"]))
        return success(serializers.Marked, {"success": True, "updated_count": count})


class NotFoundView(ApiView):
    """Answer any other path of the API with 404."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise Http404(f"no such path: {request.path}")
