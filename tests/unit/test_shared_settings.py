"""Settings: environment variables, librdkafka's own passed through, errors that name the variable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from delivering import unsigned_recipient
from tocsin.dispatcher.core.egress import EgressPolicy
from tocsin.dispatcher.settings import LOOPBACK, DispatcherSettings
from tocsin.evaluator.activator.settings import ActivatorSettings
from tocsin.evaluator.detector.settings import DetectorSettings
from tocsin.ingest.settings import GatewaySettings
from tocsin.shared import kafka
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.errors import SettingsError
from tocsin.shared.settings import CommonSettings, KafkaSettings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("TOCSIN_STATE_DIR", "TOCSIN_TOPIC_PREFIX", "KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)


def load(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> CommonSettings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return CommonSettings.load()


def test_every_setting_is_an_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        {
            "KAFKA_BOOTSTRAP_SERVERS": "broker:9092",
            "TOCSIN_TOPIC_PREFIX": "prod.",
            "TOCSIN_RETRY_TIERS": "1s, 2m",
            "TOCSIN_PARTITIONS_READINGS": "12",
            "TOCSIN_SHUTDOWN_GRACE": "5s",
        },
        monkeypatch,
    )
    assert settings.kafka.bootstrap_servers == "broker:9092"
    assert settings.topic("configuration") == "prod.configuration"
    assert settings.retry_tiers == (1_000, 120_000)
    assert settings.partitions().readings == 12
    assert settings.shutdown_grace == 5_000
    assert [topic.name for topic in settings.topics() if "retry" in topic.name] == [
        "delivery-retry-1s",
        "delivery-retry-2m",
    ]


def test_settings_of_the_kafka_client_pass_through(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        {
            "KAFKA_BOOTSTRAP_SERVERS": "broker:9092",
            "TOCSIN_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
            "TOCSIN_KAFKA__SASL_MECHANISM": "PLAIN",
            "TOCSIN_KAFKA__SASL_PASSWORD": "canary",
        },
        monkeypatch,
    )
    assert settings.kafka.properties["security.protocol"] == "SASL_SSL"
    assert settings.kafka.properties["sasl.mechanism"] == "PLAIN"
    assert settings.kafka.properties["sasl.password"] == "canary"
    assert "canary" not in repr(settings)
    assert "canary" not in settings.model_dump_json()


def test_what_a_guarantee_rests_on_cannot_be_set_away() -> None:
    config = kafka.client_config(KafkaSettings({"bootstrap.servers": "b", "acks": "0", "linger.ms": "9"}), acks="all")
    assert config["acks"] == "all"
    assert config["linger.ms"] == "9"


def test_a_given_broker_wins_over_the_local_stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".tocsin").mkdir()
    (tmp_path / ".tocsin" / "stack.json").write_text(json.dumps({"bootstrap_servers": "127.0.0.1:1"}))
    assert CommonSettings.load({}).kafka.bootstrap_servers == "127.0.0.1:1"
    assert load({"KAFKA_BOOTSTRAP_SERVERS": "given:2"}, monkeypatch).kafka.bootstrap_servers == "given:2"


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"bootstrap_servers": null}'])
def test_without_a_broker_the_error_says_the_way_out(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / ".tocsin").mkdir()
        (tmp_path / ".tocsin" / "stack.json").write_text(content)
    with pytest.raises(SettingsError, match="set KAFKA_BOOTSTRAP_SERVERS, or run `tocsin stack up`"):
        CommonSettings.load({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOCSIN_PARTITIONS_READINGS", "none"),
        ("TOCSIN_PARTITIONS_READINGS", "0"),
        ("TOCSIN_RETRY_TIERS", "5"),
        ("TOCSIN_LOG_FORMAT", "xml"),
        ("TOCSIN_INSTANCE", "a b"),
        ("TOCSIN_HTTP_PORT", "70000"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: "):
        load({"KAFKA_BOOTSTRAP_SERVERS": "b", name: value}, monkeypatch)


def test_secret_keys_are_in_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load({"KAFKA_BOOTSTRAP_SERVERS": "b", "TOCSIN_SECRET_KEYS": "k:canary"}, monkeypatch)
    assert "canary" not in repr(settings)
    assert "canary" not in settings.model_dump_json()


def test_a_setting_the_kafka_client_does_not_know_is_one_clear_line() -> None:
    with pytest.raises(SettingsError, match='refuses a setting: No such configuration property: "nonsense"'):
        kafka.admin(KafkaSettings({"bootstrap.servers": "b", "nonsense": "1"}))


def test_every_duration_of_every_service_is_written_with_its_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SHUTDOWN_GRACE", "ACTIVATOR_TICK", "DETECTOR_LINGER", "GATEWAY_DELIVERY_TIMEOUT", "SETTLE_EVERY"):
        monkeypatch.setenv(f"TOCSIN_{name}", "7s")
    broker = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092"}
    assert ActivatorSettings.load(broker).activator_tick == 7_000
    assert DetectorSettings.load(broker).detector_linger == 7_000
    assert GatewaySettings.load(broker).gateway_delivery_timeout == 7_000
    assert DispatcherSettings.load(broker).settle_every == 7_000
    assert DispatcherSettings.load(broker).shutdown_grace == 7_000


def test_what_is_in_flight_may_last_as_long_as_its_recipient_allows_when_the_dispatcher_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092"}
    quick, slow = (unsigned_recipient("https://x.example/", timeout=timeout) for timeout in (1_000, 30_000))
    mailed = Recipient(id="m", name="Mailed", type="distribution-list", email="a@b.example")
    settings = DispatcherSettings.load(broker, smtp_timeout=40_000)
    assert settings.grace(()) == settings.grace((quick,)) == 20_000
    assert settings.grace((slow, quick)) == 35_000
    assert settings.grace((slow, mailed)) == 45_000
    monkeypatch.setenv("TOCSIN_SHUTDOWN_GRACE", "7s")
    assert DispatcherSettings.load(broker).grace((slow, mailed)) == 7_000


@pytest.mark.parametrize("sender", ["Tocsin", "Tocsin alerts@b.example", "a@b.example, c@d.example", ""])
def test_a_sender_of_emails_that_is_no_address_is_refused_at_the_start(
    sender: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_SMTP_FROM", sender)
    with pytest.raises(SettingsError, match=r"^TOCSIN_SMTP_FROM: .*is not an email address"):
        DispatcherSettings.load({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092"})


def test_a_retry_tier_given_twice_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"TOCSIN_RETRY_TIERS: .*a tier is given twice"):
        CommonSettings.load({"KAFKA_BOOTSTRAP_SERVERS": "k:1"}, retry_tiers="5s,30s,5s")


def test_an_unknown_log_level_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="TOCSIN_LOG_LEVEL"):
        load({"KAFKA_BOOTSTRAP_SERVERS": "x:1", "TOCSIN_LOG_LEVEL": "loud"}, monkeypatch)


def test_with_the_local_stacks_broker_a_receiver_on_this_machine_may_be_reached(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text(json.dumps({"bootstrap_servers": "127.0.0.1:1"}))
    local = DispatcherSettings.load({}, state_dir=tmp_path)
    elsewhere = DispatcherSettings.load({"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092"}, state_dir=tmp_path)
    assert local.egress_policy == EgressPolicy.of(LOOPBACK, http=True)
    assert elsewhere.egress_policy == EgressPolicy.of("", http=False)
