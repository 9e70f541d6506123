"""The gRPC servicer of `chat.ext`: read cursors."""

from chatws.chat_service.pb import ext_pb2 as ext
from chatws.chat_service.pb.ext_pb2_grpc import ReadCursorsServicer
from chatws.reference import cursors, threads
from chatws.reference.cursors import Unread
from chatws.reference.models import ReadCursor
from chatws.reference.servicer import Context, answer_of


class CursorServicer(ReadCursorsServicer):
    """All methods of `chat.ext.ReadCursors`."""

    async def MarkRead(self, request: ext.MarkReadReq, context: Context) -> ext.MarkReadResp:
        marking = threads.write(cursors.mark_read, request.user_id, request.group_id, request.message_id)
        return ext.MarkReadResp(message_id=await answer_of(context, marking))

    async def GetGroupCursors(self, request: ext.GetGroupCursorsReq, context: Context) -> ext.GetCursorsResp:
        asking = threads.read(cursors.group_cursors, request.group_id, list(request.user_ids))
        return ext.GetCursorsResp(cursors=map(_cursor, await answer_of(context, asking)))

    async def GetUserCursors(self, request: ext.GetUserCursorsReq, context: Context) -> ext.GetCursorsResp:
        asking = threads.read(cursors.user_cursors, request.user_id, list(request.group_ids))
        found = await answer_of(context, asking)
        return ext.GetCursorsResp(cursors=[_unread(request.user_id, one) for one in found])


def _cursor(cursor: ReadCursor) -> ext.ReadCursor:
    return ext.ReadCursor(
        group_id=cursor.group_id, user_id=cursor.user_id, message_id=cursor.message.message_id, read_at=cursor.read_at
    )


def _unread(user_id: int, found: Unread) -> ext.ReadCursor:
    shown = _cursor(found.cursor) if found.cursor else ext.ReadCursor(group_id=found.group_id, user_id=user_id)
    shown.unread_count = found.count
    return shown
