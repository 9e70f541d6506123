"""The settings of `chatws`: built once by `settings.CHATWS`, read through `get()`."""

from dataclasses import dataclass, field

from django.conf import settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatConf:
    """Settings of the chat; durations in seconds."""

    rpc_target: str = field(repr=False)
    """The chat service: comma-separated IPs with ports (balanced), a DNS name with a port, or
    ``etcd://host:port,…/<key>``. It may contain a password."""
    url_prefix: str = ""
    """Path below which a proxy serves the gateway; empty: none."""
    user_rpc_target: str = field(default="", repr=False)
    """The platform's user service, in the same forms; empty: none."""
    rpc_tls_ca: str = ""
    """File with the trusted certificates; empty: no TLS."""
    rpc_seconds: float = 5.0
    """Deadline of one call, its retries included."""
    membership_seconds: float = 300.0
    """How often each user's groups are refreshed, independent of events; 0: never."""
    publishes_messages: bool = False
    """Whether the gateway publishes `chat.message.new`, because the chat service does not."""
    max_image_url: int = 2_048
    """Most characters of an image's URL that the chat service can store."""
    owns_topics: bool = False
    """Whether the relay trims the chat service's streams, behind their slowest consumer group."""
    owns_messages: bool = False
    """The same for `chat.message.new`."""
    is_owner_known: bool = True
    """Whether it was said who trims these streams. If not, and the relay doesn't, perhaps nobody does."""
    demo_login: bool = False
    """Whether `POST /api/token/` issues tokens for Django's users."""
    http_threads: int = 16
    """Threads that serve HTTP requests; logins have their own."""
    logins_per_name: int = 5
    """Failed logins in 5 minutes with one name from one address; 0: no limit."""
    logins_per_address: int = 50
    """Failed logins in 5 minutes from one address; 0: no limit."""
    public_status: bool = False
    """Whether `/stats`, `/api/users/status` and `/metrics` answer without a token."""
    status_for: str = "everyone"
    """Whose status a caller sees: of ``everyone``, or of itself and those in its ``shared_groups``."""
    metrics_token: str = field(default="", repr=False)
    """The bearer token that `/metrics` requires; without one, `/metrics` answers only if `public_status` is on."""
    image_sources: str = "https:"
    """Allowed sources of images and avatars on the chat page, in Content-Security-Policy syntax."""


def get() -> ChatConf:
    """Return the settings of this process."""
    conf: ChatConf = settings.CHATWS
    return conf
