"""A Redis without persistence, where there is a `redis-server`: Tocsin works without one."""

from __future__ import annotations

import shutil
import socket
from datetime import timedelta
from pathlib import Path

from tocsin.deploy.processes import Child, Supervisor
from tocsin.deploy.stack.errors import StackError
from tocsin.deploy.stack.ports import HOST, free_port, wait_until

BOOT_TIMEOUT = timedelta(seconds=10)


def start_redis(folder: Path, supervisor: Supervisor, port: int | None = None) -> tuple[Child, int] | None:
    """The process and its port, or None where Redis isn't installed."""
    program = shutil.which("redis-server")
    if program is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    chosen = free_port(port)
    # No snapshots, no log of writes: nothing in it may be needed after a restart.
    options = ["--bind", HOST, "--port", str(chosen), "--dir", str(folder), "--save", "", "--appendonly", "no"]
    child = supervisor.start("redis", [program, *options, "--daemonize", "no"], log_path=folder / "redis.log")
    if not wait_until(lambda: not child.running or redis_answers(chosen), BOOT_TIMEOUT) or not child.running:
        child.kill()
        raise StackError(f"redis-server did not start; its log is {folder / 'redis.log'}")
    return child, chosen


def redis_answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
