"""Run the reference chat service: the gRPC server with health and reflection, and the outbox's publisher."""

import asyncio
import logging
import signal
from functools import partial

import grpc
from django.db import connection
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from chatws.chat_service.pb import chat_pb2, ext_pb2
from chatws.chat_service.pb.chat_pb2_grpc import add_ChatServiceServicer_to_server
from chatws.chat_service.pb.ext_pb2_grpc import add_ReadCursorsServicer_to_server
from chatws.reference import outbox, threads
from chatws.reference.ext_servicer import CursorServicer
from chatws.reference.outbox import OutboxPublisher
from chatws.reference.servicer import ReferenceServicer
from chatws.reference.timing import Timing
from realtime import database
from realtime.aio import tasks
from realtime.conf import RealtimeConf
from realtime.exceptions import DatabaseUnavailable
from realtime.observability import metrics, tracing
from realtime.observability.dependencies import Check
from realtime.observability.probes import listening_on
from realtime.redis.client import connect, state_of, wait_for_redis

logger = logging.getLogger(__name__)

GRACE_SECONDS = 3.0


async def serve(address: str, probes_at: str, conf: RealtimeConf) -> None:
    """Serve until SIGTERM or SIGINT; serve the probes on ``probes_at`` (``host:port``) unless empty.

    Raises:
        RedisUnavailable: Redis did not answer within the start timeout.
        RuntimeError: the process cannot listen on the address.
        ListenError: the process cannot listen on the address of the probes.
    """
    async with connect(conf.redis_url) as redis:
        await wait_for_redis(redis, conf.redis_url, conf.start_timeout)
        publisher = OutboxPublisher(redis, conf.redis_replicas)
        server, checks = await _started(address, publisher)
        logger.info("the reference chat service serves at %s", address)
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        states: dict[str, Check] = {
            "redis": partial(state_of, redis, conf.redis_url),
            "database": partial(asyncio.to_thread, _database_state),
        }
        async with tasks.Group() as beside:
            beside.supervise(publisher.run, "the outbox")
            beside.supervise(metrics.watch_loop, "the loop's lag")
            async with listening_on(probes_at, states):
                await stop.wait()
            await checks.enter_graceful_shutdown()
            await server.stop(GRACE_SECONDS)
    await tracing.current.stop()


async def _started(address: str, publisher: OutboxPublisher) -> tuple[grpc.aio.Server, health.aio.HealthServicer]:
    """Start the gRPC server with its services, health and reflection."""
    server = grpc.aio.server(interceptors=[Timing()], options=[("grpc.so_reuseport", 0)])
    add_ChatServiceServicer_to_server(ReferenceServicer(publisher.wake), server)
    add_ReadCursorsServicer_to_server(CursorServicer(), server)
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    contracts = [*chat_pb2.DESCRIPTOR.services_by_name.values(), *ext_pb2.DESCRIPTOR.services_by_name.values()]
    names = [contract.full_name for contract in contracts]
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    server.add_insecure_port(address)
    await server.start()
    for service in ("", *names):
        await checks.set(service, health_pb2.HealthCheckResponse.SERVING)
    return server, checks


def _database_state() -> str:
    """Return ``ok``, or why the database can't be used; after a failed write, a write has to succeed again."""
    try:
        with database.database_access():
            if threads.State.write_problem:
                threads.write_here(outbox.try_to_write)
            else:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
    except DatabaseUnavailable as error:
        return str(error)
    finally:
        connection.close()
    return "ok"
