"""The OpenAPI description of each view: parameters, answers, and an example that a test executes.

Only the document imports this module, so that a gateway serves the API without drf-spectacular.
"""

from functools import cache
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_field,
    extend_schema_view,
)  # fmt: skip
from rest_framework.serializers import CharField, IntegerField, Serializer

from chatws.web.api import serializers, views
from chatws.web.api.authentication import BearerAuthentication
from chatws.web.api.examples import EXAMPLES
from realtime.auth.tokens import MAX_USER_ID

OWN = "Allowed for the user and for role `admin`."
OF_MEMBERS = "Allowed for members of the chat group and for role `admin`."
STATUS = "Allowed for every caller with a token, or without one if `CHATWS_PUBLIC_STATUS` is on, as in development."
STATUS_OF_USER = (
    f"{STATUS} With `CHATWS_STATUS_FOR=shared_groups` only for callers with a token, of their own user and of members "
    "of their chat groups; for role `admin` of all."
)
PROBLEMS = {
    400: "A field is malformed or missing; the message begins with its name",
    401: "The token is missing or not valid",
    403: "The caller has no access",
    404: "Not found",
    405: "The path has no such method",
    429: "The chat service is overloaded; retry later",
    503: "The chat service or Redis is unavailable; retry later",
}


OF_BODY = {413: "The body is too long", 415: "The body is not JSON"}
OPTIONAL_TOKEN: Any = [{"bearer": []}, {}]
USER_ID: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": MAX_USER_ID}
IN_PATH: dict[str, dict[str, Any]] = {
    "user_id": USER_ID,
    "group_id": {"type": "string", "pattern": f"^{serializers.GROUP_ID}$"},
}
DIGITS = 10**19
extend_schema_field(IN_PATH["group_id"])(serializers.GroupIdField)
extend_schema_field({"type": "string", "maxLength": 64, "pattern": r"^[^\x00]*$"})(serializers.OptionalName)
extend_schema_field({"type": "integer", "minimum": -DIGITS, "maximum": DIGITS})(serializers.Size)


def _document(
    view: type[views.ApiView], summary: str, answer: type[Serializer[Any]], *,
    query: type[Serializer[Any]] | None = None, body: type[Serializer[Any]] | None = None, bare: bool = False,
    who: str, tag: str,
) -> None:  # fmt: skip
    """Describe a view's input, answer and permission; ``bare``: its answer is not wrapped in code and message."""
    example = EXAMPLES[summary]
    kind = answer if bare else _wrapped(answer)
    value = example.answer if bare else {"code": 0, "message": "success", "data": example.answer}
    examples = [OpenApiExample("an answer", value, response_only=True, status_codes=["200"])]
    if body is not None:
        examples.append(OpenApiExample("a request", example.body, request_only=True))
    in_path = [
        OpenApiParameter(name, IN_PATH[name], OpenApiParameter.PATH, examples=[OpenApiExample("one", value)])
        for name, value in example.path.items()
    ]
    in_query = [
        OpenApiExample(f"a {name}", value, parameter_only=(name, "query")) for name, value in example.query.items()
    ]
    problems = PROBLEMS | (OF_BODY if body else {})
    schema = extend_schema(
        summary=summary,
        description=who,
        tags=[tag],
        auth=OPTIONAL_TOKEN if view.is_public_where_status_is else None,
        parameters=[*in_path, *([query] if query else [])],
        request=body,
        responses={
            200: OpenApiResponse(kind, "The answer"),
            **{code: OpenApiResponse(serializers.Problem, what) for code, what in problems.items()},
        },
        examples=[*examples, *in_query],
    )
    method = "post" if hasattr(view, "post") else "get"
    extend_schema_view(**{method: schema})(view)


@cache
def _wrapped(data: type[Serializer[Any]]) -> type[Serializer[Any]]:
    fields = {"code": IntegerField(), "message": CharField(), "data": data()}
    return type(f"{data.__name__}Answer", (Serializer,), fields)


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # drf-spectacular's
    """The document's description of the bearer token."""

    target_class = BearerAuthentication
    name = "bearer"

    def get_security_definition(self, auto_schema: object) -> dict[str, object]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


_document(
    views.StatsView,
    "Users, connections and gateways of the whole cluster",
    serializers.Stats,
    bare=True,
    who=STATUS,
    tag="status",
)
_document(
    views.UserStatusView,
    "Whether a user is online, and since when",
    serializers.Status,
    query=serializers.OfUser,
    who=STATUS_OF_USER,
    tag="status",
)
_document(views.GroupView, "A chat group", serializers.GroupInfo, who=OF_MEMBERS, tag="groups")
_document(
    views.MembersView,
    "The members of a chat group",
    serializers.Members,
    query=serializers.PageQuery,
    who=OF_MEMBERS,
    tag="groups",
)
_document(
    views.UserGroupsView,
    "The chat groups of a user",
    serializers.UserGroups,
    query=serializers.PageQuery,
    who=OWN,
    tag="groups",
)
_document(
    views.MessagesView,
    "Messages of a chat group, newest first",
    serializers.History,
    query=serializers.HistoryQuery,
    who=OF_MEMBERS,
    tag="messages",
)
_document(
    views.OfflineMessagesView,
    "Messages of a user's chat groups after a time",
    serializers.Offline,
    query=serializers.OfflineQuery,
    who=OWN,
    tag="messages",
)
_document(
    views.NotificationsView,
    "A user's notifications, newest first",
    serializers.Notifications,
    query=serializers.UserPageQuery,
    who=OWN,
    tag="notifications",
)
_document(
    views.UnreadCountView,
    "How many notifications are unread",
    serializers.UnreadCount,
    query=serializers.OfUser,
    who=OWN,
    tag="notifications",
)
_document(
    views.MarkReadView,
    "Mark notifications as read",
    serializers.Marked,
    body=serializers.MarkNotificationsBody,
    who=OWN,
    tag="notifications",
)
_document(
    views.MarkAllReadView,
    "Mark all notifications as read",
    serializers.Marked,
    body=serializers.OfUser,
    who=OWN,
    tag="notifications",
)
