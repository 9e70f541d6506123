"""The API's documented paths, and the same with a trailing slash, which the platform's API accepts, too."""

from typing import Any

from django.urls import path

from chatws.web.api import views

urlpatterns = [
    path("stats", views.StatsView.as_view()),
    path("api/users/status", views.UserStatusView.as_view()),
    path("api/users/<user_id>/groups", views.UserGroupsView.as_view()),
    path("api/groups/<group_id>", views.GroupView.as_view()),
    path("api/groups/<group_id>/members", views.MembersView.as_view()),
    path("api/messages", views.MessagesView.as_view()),
    path("api/messages/offline", views.OfflineMessagesView.as_view()),
    path("api/notifications", views.NotificationsView.as_view()),
    path("api/notifications/unread-count", views.UnreadCountView.as_view()),
    path("api/notifications/read", views.MarkReadView.as_view()),
    path("api/notifications/read-all", views.MarkAllReadView.as_view()),
]


def _undocumented(view: Any) -> Any:
    kind: Any = type(view.cls.__name__, (view.cls,), {"schema": None})
    return kind.as_view()


with_slash = [path(f"{known.pattern}/", _undocumented(known.callback)) for known in urlpatterns]
