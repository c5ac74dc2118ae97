"""The local stack: real Kafka in seconds, with nothing installed but Python."""

from tocsin.deploy.stack.errors import StackError
from tocsin.deploy.stack.info import StackInfo, find_running
from tocsin.deploy.stack.local import Stack

__all__ = ["Stack", "StackError", "StackInfo", "find_running"]
