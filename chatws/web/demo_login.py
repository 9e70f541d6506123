"""Issue tokens for Django's users, so that a demo needs no other service: `POST /api/token/`, `/api/token/refresh/`."""

from typing import Any

from django.contrib.auth.models import AbstractUser
from django.urls import path
from rest_framework_simplejwt.serializers import TokenObtainPairSerializer
from rest_framework_simplejwt.tokens import Token
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView


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


urlpatterns = [
    path("token/", TokenObtainPairView.as_view(serializer_class=DemoTokenSerializer)),
    path("token/refresh/", TokenRefreshView.as_view()),
]
