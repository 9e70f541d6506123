"""What `chatws` can be set to. Built once by the settings (`settings.CHATWS`), read through `get()`."""

from dataclasses import dataclass, field

from django.conf import settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatConf:
    """Settings of the chat's meaning; durations in seconds."""

    rpc_target: str = field(repr=False)
    """IPs with ports, comma separated and balanced, one DNS name with a port, or ``etcd://host:port,…/<key>``; may hold
    a password."""
    user_rpc_target: str = field(default="", repr=False)
    """The platform's user service, in the same forms; empty: there is none."""
    rpc_tls_ca: str = ""
    """File with the certificates to trust; empty: no TLS."""
    rpc_seconds: float = 5.0
    """Deadline of one call, its retries included."""
    membership_seconds: float = 300.0
    """How often each user's groups are asked for, whatever the events say; 0: never."""
    publishes_messages: bool = False
    """Whether the gateway publishes `chat.message.new` itself, for a chat service that doesn't."""
    max_image_url: int = 2_048
    """Most characters of an image's address: what the chat service can store."""
    owns_topics: bool = False
    """Whether the chat service's streams are ours to trim, behind their slowest consumer group."""
    owns_messages: bool = False
    """The same of `chat.message.new`."""
    demo_login: bool = False
    """Whether `POST /api/token/` hands out tokens for Django's users."""
    public_status: bool = False
    """Whether `/stats`, `/api/users/status` and `/metrics` answer without a token."""
    metrics_token: str = ""
    """Whoever brings it may read `/metrics`; without one, and not public, there is no such page."""
    image_sources: str = "https:"
    """Where the chat page may load images and avatars from, as a Content-Security-Policy puts it."""


def get() -> ChatConf:
    """The settings of this process."""
    conf: ChatConf = settings.CHATWS
    return conf
