"""Issue tokens for Django's users, so that a demo needs no other service: `POST /api/token/`, `/api/token/refresh/`."""

from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ObjectDoesNotExist
from django.urls import path
from rest_framework_simplejwt.exceptions import InvalidToken
from rest_framework_simplejwt.serializers import TokenObtainPairSerializer, TokenRefreshSerializer
from rest_framework_simplejwt.tokens import Token
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView

from chatws import services
from realtime.auth.tokens import principal_of
from realtime.exceptions import AuthenticationError


class DemoTokenSerializer(TokenObtainPairSerializer):
    """A pair of tokens with the claims that the gateway reads."""

    @classmethod
    def get_token(cls, user: Any) -> Token:
        token = super().get_token(user)
        assert isinstance(user, AbstractUser)  # noqa: S101  # the demo's users are Django's own
        token["userId"] = user.pk
        token["role"] = "admin" if user.is_superuser else "user"
        token["name"] = user.get_full_name() or user.get_username()
        return token


class DemoRefreshSerializer(TokenRefreshSerializer):
    """A new access token for a refresh token, unless that is revoked: the new one would be younger than that."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        revocations = services.of(self.context["request"]).node.revocations
        try:
            async_to_sync(revocations.check)(principal_of(self.token_class(attrs["refresh"]).payload))
            return super().validate(attrs)
        except AuthenticationError as error:
            raise InvalidToken(str(error)) from error
        except ObjectDoesNotExist as error:
            raise InvalidToken("the token's user does not exist any more") from error


urlpatterns = [
    path("token/", TokenObtainPairView.as_view(serializer_class=DemoTokenSerializer)),
    path("token/refresh/", TokenRefreshView.as_view(serializer_class=DemoRefreshSerializer)),
]
