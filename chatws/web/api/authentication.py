"""Authenticate API requests by their bearer token, as sockets are."""

from asgiref.sync import async_to_sync
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from chatws import services
from chatws.web.bearer import bearer_token
from realtime.auth.principal import Principal
from realtime.exceptions import AuthenticationError


class Caller:
    """The user of a request, in the form that Django REST framework needs."""

    is_authenticated = True

    def __init__(self, principal: Principal) -> None:
        self.user_id = principal.user_id
        self.is_admin = principal.role == "admin"


class BearerAuthentication(BaseAuthentication):
    """Authentication by `Authorization: Bearer <jwt>`."""

    def authenticate(self, request: Request) -> tuple[Caller, str] | None:
        """Return the caller; None without the header. Raises `TransientError` if keys or revocations are missing."""
        token = bearer_token(request.headers.get("Authorization", ""))
        if not token:
            return None
        try:
            principal = async_to_sync(services.of(request).node.authenticate)(token)
        except AuthenticationError as error:
            raise AuthenticationFailed(str(error)) from error
        return Caller(principal), token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"
