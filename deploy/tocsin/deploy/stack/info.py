"""stack.json: how other processes find the running stack. Plain on purpose, so that anything can read it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tocsin.deploy.processes import ProcessRef
from tocsin.deploy.stack.kafka import cluster_id
from tocsin.deploy.stack.ports import HOST, answers

STACK_FILE = "stack.json"
_MAIL = "tocsin.deploy.stack.mail"


@dataclass(frozen=True, slots=True)
class StackInfo:
    """A stack as it was when it came up."""

    bootstrap_servers: str
    cluster_id: str
    redis_url: str | None
    smtp_port: int | None
    mail_dir: str | None
    processes: Mapping[str, ProcessRef]

    def write(self, state_dir: Path) -> None:
        record = {
            "bootstrap_servers": self.bootstrap_servers,
            "cluster_id": self.cluster_id,
            "redis_url": self.redis_url,
            "smtp": None if self.smtp_port is None else {"host": HOST, "port": self.smtp_port},
            "mail_dir": self.mail_dir,
            "pids": {name: process.pid for name, process in self.processes.items()},
            "started": {name: process.started for name, process in self.processes.items()},
        }
        unfinished = state_dir / f"{STACK_FILE}.part"
        unfinished.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        os.replace(unfinished, state_dir / STACK_FILE)


def read_info(state_dir: Path) -> StackInfo | None:
    """What stack.json says, true or not; None when there is none or it can't be understood."""
    try:
        record: dict[str, Any] = json.loads((state_dir / STACK_FILE).read_text(encoding="utf-8"))
        started = record["started"]
        return StackInfo(
            bootstrap_servers=record["bootstrap_servers"],
            cluster_id=record["cluster_id"],
            redis_url=record["redis_url"],
            smtp_port=record["smtp"] and record["smtp"]["port"],
            mail_dir=record["mail_dir"],
            processes={name: ProcessRef(pid, started[name]) for name, pid in record["pids"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def is_damaged(state_dir: Path) -> bool:
    """There is a stack.json, and it can't be understood."""
    return (state_dir / STACK_FILE).exists() and read_info(state_dir) is None


def find_processes(state_dir: Path) -> list[ProcessRef]:
    """The processes of a stack in this folder, as the system knows them: for when stack.json does not say."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            command = process.cmdline()
            is_ours = "kafka.Kafka" in command or _MAIL in command or "redis-server" in " ".join(command[:1])
            if is_ours and (
                state_dir in Path(process.cwd()).parents or any(str(state_dir) in part for part in command)
            ):
                found.append(ProcessRef.of(process.pid))
    return found


def forget_info(state_dir: Path) -> None:
    (state_dir / STACK_FILE).unlink(missing_ok=True)


def find_running(state_dir: Path) -> StackInfo | None:
    """The stack of this folder, if its broker answers and is that very one, and its mail sink is there too."""
    info = read_info(state_dir)
    if info is None:
        return None
    if any(process.find() is None for process in info.processes.values()):
        return None
    if info.smtp_port is not None and not answers(info.smtp_port):
        return None
    if "kafka" not in info.processes:
        return info  # that broker was given, and is somebody else's to look after
    if not answers(int(info.bootstrap_servers.rpartition(":")[2])):
        return None
    return info if cluster_id(info.bootstrap_servers) == info.cluster_id else None
