"""librdkafka's settings, said in Faust's words."""

from __future__ import annotations

import ssl

import pytest

from tocsin.evaluator.activator.broker import broker_of
from tocsin.evaluator.activator.faust_shell import credentials
from tocsin.shared.errors import SettingsError
from tocsin.shared.settings import KafkaSettings


def given(**properties: str) -> KafkaSettings:
    dotted = {name.replace("_", "."): value for name, value in properties.items()}
    return KafkaSettings({"bootstrap.servers": "a:1, b:2", **dotted})


def test_a_plain_broker_has_no_credentials() -> None:
    broker = broker_of(given())
    assert broker.servers == ("a:1", "b:2")
    assert credentials(broker) is None


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "sasl_ssl"])
def test_passwords_reach_the_client_and_no_text(mechanism: str, protocol: str) -> None:
    broker = broker_of(
        given(security_protocol=protocol, sasl_mechanism=mechanism, sasl_username="u", sasl_password="canary")
    )
    made = credentials(broker)
    assert (made.protocol.value, made.mechanism.value) == (protocol.upper(), mechanism)
    assert (made.username, made.password) == ("u", "canary")
    assert (made.ssl_context is not None) is (protocol == "sasl_ssl")
    assert "canary" not in repr(broker)


def test_tls_verifies_unless_told_otherwise() -> None:
    strict = credentials(broker_of(given(security_protocol="ssl"))).context
    assert (strict.verify_mode, strict.check_hostname) == (ssl.CERT_REQUIRED, True)
    unnamed = credentials(broker_of(given(security_protocol="ssl", ssl_endpoint_identification_algorithm="none")))
    assert (unnamed.context.verify_mode, unnamed.context.check_hostname) == (ssl.CERT_REQUIRED, False)
    off = credentials(broker_of(given(security_protocol="ssl", enable_ssl_certificate_verification="false")))
    assert off.context.verify_mode == ssl.CERT_NONE


def test_what_faust_does_not_know_is_named() -> None:
    assert broker_of(given(socket_keepalive_enable="true", client_id="me")).ignored == ("socket.keepalive.enable",)


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"security_protocol": "magic"}, "SECURITY_PROTOCOL"),
        ({"security_protocol": "sasl_ssl", "sasl_mechanism": "OAUTHBEARER"}, "SASL_MECHANISM"),
        ({"security_protocol": "sasl_ssl", "sasl_mechanism": "PLAIN", "sasl_username": "u"}, "SASL_PASSWORD"),
        ({"security_protocol": "ssl", "ssl_ca_location": "/nowhere/ca.pem"}, "certificates"),
    ],
)
def test_what_cannot_work_is_refused_by_name(properties: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        broker_of(given(**properties))
