"""The whole pipeline as real processes, for the runs in which they get killed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support import read_all, settings_for
from tocsin.deploy.fleet import PIPELINE, TOCSIN, Fleet
from tocsin.deploy.processes import Supervisor
from tocsin.deploy.stack import Stack
from tocsin.deploy.stack.ports import free_port
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topic_admin import apply_topics

API_KEY = "a-key-for-tests"
READY_SECONDS = 60.0


class Pipeline:
    """All services on topics of their own. Everything it starts ends with the supervisor."""

    def __init__(self, stack: Stack, supervisor: Supervisor, folder: Path, **environment: str) -> None:
        self.settings: CommonSettings = settings_for(stack.bootstrap_servers, folder)
        self.gateway_port = free_port()
        self.environment = {
            "KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
            "TOCSIN_STATE_DIR": str(folder),
            "TOCSIN_TOPIC_PREFIX": self.settings.topic_prefix,
            "TOCSIN_SECRET_KEYS": "k1:" + "QUFB" * 10 + "QUE=",
            "TOCSIN_EGRESS_ALLOW": "127.0.0.0/8",
            "TOCSIN_EGRESS_HTTP": "true",
            "TOCSIN_RETRY_TIERS": "1s,2s,5s",
            "TOCSIN_SMTP_HOST": "127.0.0.1",
            "TOCSIN_SMTP_PORT": str(stack.smtp_port),
            "TOCSIN_SMTP_TLS": "none",
            "TOCSIN_GATEWAY_PORT": str(self.gateway_port),
            "TOCSIN_GATEWAY_API_KEYS": API_KEY,
            "TOCSIN_LOG_FORMAT": "json",
            **environment,
        }
        self.settings = self.settings.model_copy(update={"retry_tiers": (1_000, 2_000, 5_000)})
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.fleet = Fleet(supervisor, folder / "logs", self.environment)

    @property
    def readings_url(self) -> str:
        return f"http://127.0.0.1:{self.gateway_port}/v1/readings"

    def create_topics(self) -> None:
        apply_topics(self.settings)

    def start(self) -> None:
        for service in (*PIPELINE, "gateway"):
            self.fleet.start(service)

    def wait_ready(self) -> None:
        self.fleet.wait_ready(READY_SECONDS)

    def tocsin(self, *arguments: str, more: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """A `tocsin` command in the pipeline's environment."""
        environment = {**os.environ, **self.environment, **(more or {})}
        return subprocess.run(
            [*TOCSIN, *arguments], capture_output=True, text=True, env=environment, timeout=120, check=False
        )

    def apply(self, yaml: str, **secrets: str) -> None:
        path = self.folder / "configuration.yaml"
        path.write_text(yaml)
        done = self.tocsin("apply", "-f", str(path), more=secrets)
        assert done.returncode == 0, done.stdout + done.stderr

    def records(self, topic: str) -> list[dict[str, Any]]:
        """Every committed record there is now, partition by partition."""
        return [json.loads(message.value() or b"") for message in read_all(self.settings, topic)]

    def ledger(self) -> tuple[int, str]:
        done = self.tocsin("ledger")
        return done.returncode, done.stdout + done.stderr
