"""Which webhook client there is: as the settings say."""

from __future__ import annotations

from tocsin.dispatcher.channels.http import HttpClient
from tocsin.dispatcher.channels.http_aiohttp import AiohttpClient
from tocsin.dispatcher.channels.http_lean import LeanClient
from tocsin.dispatcher.channels.sockets import Tls
from tocsin.dispatcher.core.egress import EgressPolicy
from tocsin.dispatcher.settings import DispatcherSettings


def http_client(settings: DispatcherSettings, policy: EgressPolicy | None = None) -> HttpClient:
    """`policy` stands in for the settings' own."""
    kind = AiohttpClient if settings.http_client == "aiohttp" else LeanClient
    return kind(policy or settings.egress_policy, Tls(settings.egress_ca_file))
