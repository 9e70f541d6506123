"""The terminal chat's HTTP requests: tokens for a name and password, and the names of groups."""

import asyncio
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit, urlunsplit

SECONDS = 10.0
MAX_BYTES = 4 << 20


class HttpError(Exception):
    """A request failed; the text has the URL and the reason. ``status`` is 0 if there was no answer."""

    def __init__(self, url: str, why: str, status: int = 0) -> None:
        super().__init__(f"{url}: {why}")
        self.status = status


class Http:
    """HTTP requests to the gateway with the WebSocket ``url``. They block: call them in a thread."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        scheme = {"ws": "http", "wss": "https"}[parts.scheme]
        self._root = urlunsplit((scheme, parts.netloc, "", "", ""))

    def ask(self, path: str, *, token: str = "", body: dict[str, str] | None = None) -> Any:
        """Request a path and return the JSON of the answer. Raises `HttpError`."""
        headers = {"Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        url = self._root + path
        request = urllib.request.Request(url, json.dumps(body).encode() if body is not None else None, headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310  # http or https, see above
                return json.loads(answer.read(MAX_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                raise HttpError(url, self._why(error), error.code) from None
        except OSError as error:
            why = getattr(error, "reason", error)
            raise HttpError(url, getattr(why, "strerror", None) or str(why) or "no answer") from None
        except ValueError:
            raise HttpError(url, "the answer is not JSON; is it a chatws gateway?") from None

    @staticmethod
    def _why(error: urllib.error.HTTPError) -> str:
        try:
            said = json.loads(error.read(MAX_BYTES))
            return f"{error.code} {said.get('message') or said['detail']}"
        except (OSError, ValueError, AttributeError, KeyError):
            return f"{error.code} {error.reason}"


class Login:
    """A login at the demo's token API (`CHATWS_DEMO_LOGIN`): its tokens, and new ones."""

    def __init__(self, http: Http, name: str, password: str) -> None:
        pair = http.ask("/api/token/", body={"username": name, "password": password})
        self._http = http
        self.access: str = pair["access"]
        self._refresh: str = pair["refresh"]

    async def bring(self, *, fresh: bool) -> str | None:
        """Return a token for `ChatClient`; None if the login has expired. Raises `HttpError`."""
        return await asyncio.to_thread(self._fresh) if fresh else self.access

    def _fresh(self) -> str | None:
        try:
            self.access = self._http.ask("/api/token/refresh/", body={"refresh": self._refresh})["access"]
        except HttpError as error:
            if error.status == 401:
                return None
            raise
        return self.access


def names(http: Http, user_id: str, token: str) -> dict[str, str]:
    """Return a user's chat groups, id to name, in the service's order. Raises `HttpError`."""
    found: dict[str, str] = {}
    while True:
        page = len(found) // 100 + 1
        data = http.ask(f"/api/users/{user_id}/groups?page={page}&page_size=100", token=token)["data"]
        found |= {group["group_id"]: group["name"] for group in data["groups"]}
        if not data["groups"] or len(found) >= data["total"] or len(found) % 100:
            return found
