"""What a demo remembers of the one before."""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from pathlib import Path

from tocsin.deploy.stack.ports import HOST, free_port
from tocsin.shared.settings import CommonSettings

CONSOLE_PORT = 8480


class Facts:
    """What stays the same from one demo to the next: the receiver's port and secret. And how many there have been."""

    def __init__(self, port: int, gateway_port: int, console_port: int, secret: str, runs: int = 0) -> None:
        self.port, self.gateway_port, self.console_port = port, gateway_port, console_port
        self.secret, self.runs = secret, runs

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/"

    @property
    def console_url(self) -> str:
        return f"http://{HOST}:{self.console_port}"

    @property
    def trigger(self) -> str:
        """Another one than last time: an edited sensor starts over, so each run shows a crossing of its own, even
        where the last one ended in the middle of it, or this host is never idle."""
        return f"> {80 + self.runs % 2}"

    @classmethod
    def load(cls, state_dir: Path) -> Facts:
        path = state_dir / "demo.json"
        try:
            known = json.loads(path.read_text())
            ports = (
                free_port(known["port"]),
                free_port(known["gateway_port"]),
                free_port(known.get("console_port", CONSOLE_PORT)),
            )
            facts = cls(*ports, known["secret"], int(known.get("runs", 0)) + 1)
        except (OSError, ValueError, KeyError, TypeError):
            facts = cls(
                free_port(),
                free_port(),
                free_port(CONSOLE_PORT),
                "whsec_" + b64encode(secrets.token_bytes(32)).decode(),
            )
        path.touch(mode=0o600)
        path.write_text(json.dumps(vars(facts)))
        return facts

    def environment(self, settings: CommonSettings, state_dir: Path) -> dict[str, str]:
        """For the services and the commands the demo runs: the receiver is on this machine and speaks plain http."""
        return {
            "TOCSIN_STATE_DIR": str(state_dir),
            "KAFKA_BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "TOCSIN_EGRESS_ALLOW": "127.0.0.0/8",
            "TOCSIN_EGRESS_HTTP": "true",
            "TOCSIN_DEMO_SECRET": self.secret,
            "TOCSIN_CONSOLE_URL": self.console_url,
            "TOCSIN_LOG_FORMAT": "json",
        }
