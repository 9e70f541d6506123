"""Answer read cursors as well, as the reference chat service does (`chat.ext`)."""

import grpc

from chatws.chat_service.pb import ext_pb2 as ext
from tests.simulation.chat_service.rules import Refusal, Rules, require
from tests.simulation.chat_service.store import Cursor, Membership

MAX_UNREAD = 1_000


class Reference(Rules):
    """The reference chat service with its extension."""

    def mark_read(self, request: ext.MarkReadReq, at: float) -> ext.MarkReadResp:
        require(user_id=request.user_id, group_id=request.group_id, message_id=request.message_id)
        now = self.store.now()
        group = self._group(request.group_id, now)
        if request.user_id not in group.members:
            raise Refusal(grpc.StatusCode.PERMISSION_DENIED, f"user {request.user_id} is not in {request.group_id}")
        message = self._message(request.group_id, request.message_id, now)
        before = self.store.cursors.get((request.group_id, request.user_id))
        if before is not None and before.message.place >= message.place:
            return ext.MarkReadResp(message_id=before.message.message_id)
        self.store.cursors[request.group_id, request.user_id] = Cursor(message, self.store.time())
        return ext.MarkReadResp(message_id=message.message_id)

    def get_group_cursors(self, request: ext.GetGroupCursorsReq, at: float) -> ext.GetCursorsResp:
        require(group_id=request.group_id)
        wanted = set(request.user_ids)
        found = [
            _shown(group_id, user_id, cursor)
            for (group_id, user_id), cursor in self.store.cursors.items()
            if group_id == request.group_id and user_id in wanted
        ]
        return ext.GetCursorsResp(cursors=found)

    def get_user_cursors(self, request: ext.GetUserCursorsReq, at: float) -> ext.GetCursorsResp:
        require(user_id=request.user_id)
        wanted = set(request.group_ids)
        memberships = self.store.memberships_as_of(request.user_id, at)
        return ext.GetCursorsResp(cursors=[self._unread(one, at) for one in memberships if one.group_id in wanted])

    def _unread(self, membership: Membership, at: float) -> ext.ReadCursor:
        """Return a user's cursor with the number of newer messages of others; without one, since the user joined."""
        group_id, user_id = membership.group_id, membership.user_id
        cursor = self.store.cursors.get((group_id, user_id))
        others = [one for one in self.store.messages_as_of(group_id, at) if one.sender_id != user_id]
        if cursor is not None:
            unread = sum(one.place > cursor.message.place for one in others)
        else:
            unread = sum(one.created_at >= membership.joined_at for one in others)
        shown = _shown(group_id, user_id, cursor)
        shown.unread_count = min(unread, MAX_UNREAD)
        return shown


def _shown(group_id: str, user_id: int, cursor: Cursor | None) -> ext.ReadCursor:
    if cursor is None:
        return ext.ReadCursor(group_id=group_id, user_id=user_id)
    return ext.ReadCursor(
        group_id=group_id, user_id=user_id, message_id=cursor.message.message_id, read_at=cursor.read_at
    )
