"""The broker is slow, cut off in the middle of an answer, half open, or refuses us.

Of each: nothing is lost, each delivery has one end, no offset is committed past one without a successor, and all of it
goes on without a hand. A sample of them in the suite, all where TOCSIN_FAULTS is `full`, as `make faults` sets it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from broker_faults import RECIPIENTS, at_work
from broker_proxy import COMMIT_OFFSETS, END_TRANSACTION, FETCH, PRODUCE, BrokerProxy
from delivering import delivery_for, put_deliveries
from support import eventually
from tocsin.deploy.stack import Stack
from tocsin.deploy.stack.ports import HOST, free_port
from tocsin.shared import kafka
from tocsin.shared.settings import KafkaSettings

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(240)]

FULL = os.environ.get("TOCSIN_FAULTS") == "full"
ANSWERS = {"commit": END_TRANSACTION}
RIGHTS = [ResourceType.TOPIC]
if FULL:
    ANSWERS |= {"produce": PRODUCE, "offsets": COMMIT_OFFSETS, "fetch": FETCH}
    RIGHTS += [ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID]

USER, PASSWORD = "tocsin", "a-password-of-the-broker"


@dataclass
class SickBroker:
    """A broker with a listener behind a proxy, and one where a user needs to be allowed what he does."""

    stack: Stack
    proxy: BrokerProxy
    named_port: int

    @property
    def by_proxy(self) -> dict[str, str]:
        return {"KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{self.proxy.port}"}

    @property
    def by_name(self) -> dict[str, str]:
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{self.named_port}",
            "TOCSIN_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "TOCSIN_KAFKA__SASL_MECHANISM": "PLAIN",
            "TOCSIN_KAFKA__SASL_USERNAME": USER,
            "TOCSIN_KAFKA__SASL_PASSWORD": PASSWORD,
        }


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SickBroker]:
    port, behind, named, controller = (free_port() for _ in range(4))
    login = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
    with BrokerProxy(behind) as proxy:
        others = f"CLIENTS://{HOST}:{port},NAMED://{HOST}:{named}"
        properties = {
            "listeners": f"{others},BEHIND://{HOST}:{behind},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": f"{others},BEHIND://{HOST}:{proxy.port}",
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            "listener.security.protocol.map": (
                "CLIENTS:PLAINTEXT,BEHIND:PLAINTEXT,CONTROLLER:PLAINTEXT,NAMED:SASL_PLAINTEXT"
            ),
            "listener.name.named.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.named.plain.sasl.jaas.config": login,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",  # whoever needs no password: the tests, and the proxy's clients
        }
        folder = tmp_path_factory.mktemp("sick-broker")
        stack = Stack(folder, kafka_port=port, with_redis=False, with_smtp=False, broker_properties=properties)
        with stack:
            yield SickBroker(stack, proxy, named)


@contextmanager
def slow(proxy: BrokerProxy, seconds: float) -> Iterator[None]:
    proxy.delay_to_broker = proxy.delay_to_client = seconds
    try:
        yield
    finally:
        proxy.delay_to_broker = proxy.delay_to_client = 0.0


def test_a_slow_broker_slows_and_no_more(sick: SickBroker, tmp_path: Path) -> None:
    """Each request and each answer takes 0.3 s: what is worked on meanwhile is only late."""
    with at_work(sick.stack, tmp_path, sick.by_proxy) as work:
        with slow(sick.proxy, 0.3):
            before = sick.proxy.answered[END_TRANSACTION]
            while sick.proxy.answered[END_TRANSACTION] < before + 4:
                work.put(5)
                work.has_arrived(len(work.expected))
                work.nothing_is_lost_so_far()
            work.ends_well()
        work.put(30)
        work.ends_well()


@pytest.mark.parametrize("kind", ANSWERS.values(), ids=ANSWERS.keys())
def test_a_connection_cut_in_the_middle_of_an_answer(sick: SickBroker, tmp_path: Path, kind: int) -> None:
    """The broker has done it, and nobody heard that it has."""
    with at_work(sick.stack, tmp_path, sick.by_proxy) as work:
        sick.proxy.cut_in_answer(kind, 6)
        while sick.proxy.left_to_cut():
            so_far = sick.proxy.left_to_cut()
            work.put(5)
            eventually(lambda so_far=so_far: sick.proxy.left_to_cut() < so_far)
            work.nothing_is_lost_so_far()
        work.put(5)
        work.ends_well()


def test_connections_left_half_open_are_noticed(sick: SickBroker, tmp_path: Path) -> None:
    """The broker's side has gone and nobody says so: no end of the stream, no reset."""
    with at_work(sick.stack, tmp_path, sick.by_proxy) as work:
        work.put(50)
        work.has_arrived(20 * RECIPIENTS)
        assert sick.proxy.abandon() >= 2
        work.put(20)
        work.nothing_is_lost_so_far()
        work.ends_well(repeats=256)


def everything_allowed() -> list[AclBinding]:
    kinds = (ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID)
    return [
        AclBinding(
            kind, "*", ResourcePatternType.LITERAL, f"User:{USER}", "*", AclOperation.ALL, AclPermissionType.ALLOW
        )
        for kind in kinds
    ]


def allow_everything(stack: Stack) -> None:
    admin = kafka.admin(KafkaSettings({"bootstrap.servers": stack.bootstrap_servers}))
    for future in admin.create_acls(everything_allowed()).values():
        future.result()


def revoke(stack: Stack, kind: ResourceType) -> None:
    admin = kafka.admin(KafkaSettings({"bootstrap.servers": stack.bootstrap_servers}))
    wanted = AclBindingFilter(
        kind, None, ResourcePatternType.ANY, f"User:{USER}", None, AclOperation.ANY, AclPermissionType.ANY
    )
    (future,) = admin.delete_acls([wanted]).values()
    assert future.result()


@pytest.mark.parametrize("kind", RIGHTS)
def test_authorisation_taken_away_and_given_back(sick: SickBroker, tmp_path: Path, kind: ResourceType) -> None:
    allow_everything(sick.stack)
    with at_work(sick.stack, tmp_path, sick.by_name) as work:
        before = {service: len(work.log(service)) for service in work.processes}
        revoke(sick.stack, kind)
        work.put(20)
        # Those may get no further than the router: the dispatcher shall have something to do, too.
        work.expected |= set(put_deliveries(work.settings, [delivery_for(one) for one in work.recipients]))
        for service, at in before.items():
            eventually(lambda service=service, at=at: "uthorization failed" in work.log(service)[at:], within=60)
        work.nothing_is_lost_so_far()
        allow_everything(sick.stack)
        work.put(10)
        work.ends_well(repeats=256)
