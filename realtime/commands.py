"""What a publication may ask the hub to do as it passes, besides being delivered.

To `realtime` these are all it knows of membership; the frame beside them is the application's.
"""

import msgspec


class DropUser(msgspec.Struct, frozen=True, tag="drop", array_like=True):
    """This user's connections stop hearing the feed right after this publication; access is then asked again."""

    user_id: int


class AskAccess(msgspec.Struct, frozen=True, tag="ask", array_like=True):
    """The connections that hear this publication ask whether they may hear ``feed``."""

    feed: str


Command = DropUser | AskAccess
