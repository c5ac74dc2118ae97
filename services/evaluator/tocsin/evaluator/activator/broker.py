"""How to reach the broker, said in Faust's words: librdkafka's settings in, the few that Faust knows out. Pure."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from tocsin.shared.errors import SettingsError
from tocsin.shared.settings import KafkaSettings

_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI")
_PROTOCOLS = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
_KNOWN = frozenset(
    {
        "bootstrap.servers",
        "client.id",
        "security.protocol",
        "sasl.mechanism",
        "sasl.mechanisms",
        "sasl.username",
        "sasl.password",
        "sasl.kerberos.service.name",
        "ssl.ca.location",
        "ssl.ca.pem",
        "ssl.certificate.location",
        "ssl.key.location",
        "ssl.key.password",
        "enable.ssl.certificate.verification",
        "ssl.endpoint.identification.algorithm",
    }
)


@dataclass(frozen=True, slots=True)
class Sasl:
    """Who we are to the broker."""

    mechanism: str
    username: str | None
    password: str | None = field(repr=False)
    kerberos_service: str


@dataclass(frozen=True, slots=True)
class Broker:
    """What Faust has to be told."""

    servers: tuple[str, ...]
    client_id: str
    sasl: Sasl | None
    tls: ssl.SSLContext | None
    ignored: tuple[str, ...]  # librdkafka settings without a counterpart


def broker_of(kafka: KafkaSettings) -> Broker:
    """Raises SettingsError for what Faust cannot do, and for files that cannot be read."""
    given = kafka.properties
    protocol = given.get("security.protocol", "plaintext").lower()
    if protocol not in _PROTOCOLS:
        raise SettingsError(f"TOCSIN_KAFKA__SECURITY_PROTOCOL: must be one of {', '.join(_PROTOCOLS)}")
    return Broker(
        servers=tuple(server.strip() for server in given["bootstrap.servers"].split(",") if server.strip()),
        client_id=given.get("client.id", "tocsin-activator"),
        sasl=_sasl(given) if protocol.startswith("sasl") else None,
        tls=_tls(given) if protocol.endswith("ssl") else None,
        ignored=tuple(sorted(set(given) - _KNOWN)),
    )


def _sasl(given: dict[str, str]) -> Sasl:
    mechanism = (given.get("sasl.mechanism") or given.get("sasl.mechanisms") or "GSSAPI").upper()
    if mechanism not in _MECHANISMS:
        raise SettingsError(f"TOCSIN_KAFKA__SASL_MECHANISM: the activator knows {', '.join(_MECHANISMS)}")
    username, password = given.get("sasl.username"), given.get("sasl.password")
    if mechanism != "GSSAPI" and not (username and password):
        raise SettingsError(f"TOCSIN_KAFKA__SASL_USERNAME and TOCSIN_KAFKA__SASL_PASSWORD: {mechanism} needs both")
    return Sasl(mechanism, username, password, given.get("sasl.kerberos.service.name", "kafka"))


def _tls(given: dict[str, str]) -> ssl.SSLContext:
    location, pem = given.get("ssl.ca.location"), given.get("ssl.ca.pem")
    try:
        folder = location is not None and Path(location).is_dir()
        context = ssl.create_default_context(
            cafile=None if folder else location, capath=location if folder else None, cadata=pem
        )
        if certificate := given.get("ssl.certificate.location"):
            context.load_cert_chain(certificate, given.get("ssl.key.location"), given.get("ssl.key.password", ""))
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise SettingsError(f"TOCSIN_KAFKA__SSL_…: certificates cannot be used: {error}") from None
    if given.get("ssl.endpoint.identification.algorithm", "https").lower() == "none":
        context.check_hostname = False
    if given.get("enable.ssl.certificate.verification", "true").lower() == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
