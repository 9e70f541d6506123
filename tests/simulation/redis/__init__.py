"""A model of Redis: commands in, replies out, with a time that is set from outside."""

from tests.simulation.redis.model import Model
from tests.simulation.redis.replies import NULL_ARRAY, Blocked, Failure, Reply, Simple, encode
from tests.simulation.redis.session import Session

__all__ = ["NULL_ARRAY", "Blocked", "Failure", "Model", "Reply", "Session", "Simple", "encode"]
