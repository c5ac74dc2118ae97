"""Settings of the console, each an environment variable TOCSIN_CONSOLE_…"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.shared.schemas.base import Duration


class ConsoleSettings(DispatcherSettings):
    """What the console knows beyond every process; the dispatcher's rules for webhooks are asked here too."""

    console_host: str = "127.0.0.1"
    console_port: int = Field(default=8480, ge=0, le=65535, description="0: any free one")
    console_session: Duration = Field(default=12 * 3_600_000, ge=60_000, description="how long a sign-in lasts")
    console_insecure_cookies: bool = Field(
        default=False, description="let session cookies travel over plain http; never needed on 127.0.0.1"
    )
    console_max_body_bytes: int = Field(default=1 << 20, ge=1 << 10, description="of one request")
    console_behind_proxy: bool = Field(
        default=False, description="a proxy in front sets X-Forwarded-For: failed sign-ins are counted by it"
    )
    oidc_issuer: str | None = Field(default=None, description="of the identity provider; none: local accounts only")
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr | None = None
    oidc_client_secret_file: Path | None = None
    oidc_scopes: str = "openid profile email"
    oidc_name_claim: str = Field(default="preferred_username", description="how somebody is called here")
    oidc_roles_claim: str = Field(default="groups", description="what `oidc_roles` looks at; a.b is a field b of a")
    oidc_roles: str = Field(default="", description="ROLE=GROUP, with commas; * is everybody the provider signs in")
    oidc_label: str = Field(default="Sign in with single sign-on", description="of the button")
    console_dry_run_readings: int = Field(
        default=1_000_000, ge=1, description="messages that a rule is tried on at most, the newest"
    )
    console_dry_run_time: Duration = Field(default=15_000, ge=1_000, description="how long that may take")
