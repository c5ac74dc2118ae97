"""A broker that wants TLS and a password: librdkafka's settings pass through to every process, Faust's included."""

from __future__ import annotations

import datetime
import json
import urllib.request
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from acceptance.pipeline import API_KEY, Pipeline
from support import eventually
from tocsin.deploy.processes import Supervisor
from tocsin.deploy.stack import Stack
from tocsin.deploy.stack.ports import HOST, free_port
from tocsin.shared.topics import NOTIFICATION_EVENTS

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

USER, PASSWORD = "tocsin", "a-password-of-the-broker"

CONFIGURATION = """
sensors:
  - {name: Hot, metric: temperature, trigger: "> 30"}
notifications:
  - {name: Too hot, sensors: [Hot], threshold: 1, recipients: [On call]}
recipients:
  - {name: On call, type: distribution-list, email: oncall@example.com}
"""


def self_signed(folder: Path) -> tuple[Path, dict[str, str]]:
    """A certificate for 127.0.0.1, and the broker's settings that use it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    today = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today)
        .not_valid_after(today + datetime.timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
        .decode()
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    path = folder / "broker.pem"
    path.write_text(certificate)
    (folder / "keystore.pem").write_text(private + certificate)
    return path, {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(folder / "keystore.pem")}


def secured(folder: Path, port: int, secure_port: int, controller: int) -> tuple[Path, dict[str, str]]:
    """The certificate, and the properties of a broker with one more listener: TLS, and a password."""
    certificate, keystore = self_signed(folder)
    login = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
    clients = f"CLIENTS://{HOST}:{port},SECURE://{HOST}:{secure_port}"
    return certificate, {
        **keystore,
        "listeners": f"{clients},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": clients,
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL",
        "listener.name.secure.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.secure.plain.sasl.jaas.config": login,
    }


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """Not started: a pipeline whose only broker address is the secured one."""
    tmp_path = tmp_path_factory.mktemp("secured")
    port, secure_port, controller = free_port(), free_port(), free_port()
    certificate, properties = secured(tmp_path, port, secure_port, controller)
    local = Stack(tmp_path / "stack", kafka_port=port, with_redis=False, broker_properties=properties)
    supervisor = Supervisor()
    with local, supervisor:
        yield Pipeline(
            local,
            supervisor,
            tmp_path / "state",
            KAFKA_BOOTSTRAP_SERVERS=f"{HOST}:{secure_port}",
            TOCSIN_KAFKA__SECURITY_PROTOCOL="SASL_SSL",
            TOCSIN_KAFKA__SASL_MECHANISM="PLAIN",
            TOCSIN_KAFKA__SASL_USERNAME=USER,
            TOCSIN_KAFKA__SASL_PASSWORD=PASSWORD,
            TOCSIN_KAFKA__SSL_CA_LOCATION=str(certificate),
        )


def test_the_whole_pipeline_runs_against_a_broker_with_tls_and_a_password(pipeline: Pipeline) -> None:
    applied = pipeline.tocsin("topics", "apply")
    assert applied.returncode == 0, applied.stderr
    pipeline.apply(CONFIGURATION)
    pipeline.start()
    pipeline.wait_ready()
    reading = {"system": "boiler", "metric": "temperature", "value": 31, "time": "2026-11-23T10:00:00Z"}
    request = urllib.request.Request(
        pipeline.readings_url,
        json.dumps(reading).encode(),
        {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 202
    events = eventually(lambda: pipeline.records(NOTIFICATION_EVENTS))
    assert [event["kind"] for event in events] == ["activated"]
    eventually(lambda: "delivered          1" in pipeline.ledger()[1])
    logs = {path.name: path.read_text() for path in (pipeline.folder / "logs").iterdir()}
    assert [name for name, text in logs.items() if PASSWORD in text] == []


def test_a_wrong_password_is_told_in_one_line(pipeline: Pipeline) -> None:
    done = pipeline.tocsin("topics", "check", more={"TOCSIN_KAFKA__SASL_PASSWORD": "wrong"})
    assert done.returncode == 1
    assert "Authentication failed" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
