"""Whatever can be stored can be exported, read again, and is then the same."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from sensor_strategies import sensors
from tocsin.console.checks import EgressPolicy
from tocsin.console.findings import Findings
from tocsin.console.plan import Planner
from tocsin.console.state import Put, State, compose
from tocsin.console.yaml_export import dump_yaml, export_state
from tocsin.console.yaml_fields import Reader
from tocsin.console.yaml_files import read_files
from tocsin.console.yaml_nodes import parse_yaml
from tocsin.console.yaml_recipients import Rules
from tocsin.shared.configuration.condition import Condition
from tocsin.shared.configuration.names import check_name
from tocsin.shared.configuration.records import (
    Group,
    MailTemplates,
    Matcher,
    Notification,
    Recipient,
    Record,
    Schedule,
    Sensor,
    SensorUse,
    SignedSecret,
    Silence,
    ThresholdSpec,
    Webhook,
)
from tocsin.shared.configuration.schedules import PRESETS, WHOLE_DAY, Week
from tocsin.shared.configuration.sensor_checks import check_sensor
from tocsin.shared.configuration.sensor_options import OverrideSpec
from tocsin.shared.configuration.silences import FIELDS, parse_matcher
from tocsin.shared.secrets import KeyRing
from tocsin.shared.times import MAX_EPOCH_MS
from tocsin.shared.topics import DEFAULT_RETRY_TIERS

KEYS = KeyRing({"k": b"k" * 32})
RULES = Rules(EgressPolicy(), DEFAULT_RETRY_TIERS)

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40).filter(str.strip)


def _is_name(text: str) -> bool:
    try:
        return check_name(text) == text
    except ValueError:
        return False


names = words.filter(_is_name)
numbers = st.floats(allow_nan=False, allow_infinity=False)
conditions = st.one_of(
    st.builds(Condition, st.sampled_from([">", ">=", "<", "<=", "==", "!="]), numbers),
    st.builds(
        lambda op, ends: Condition(op, min(ends), max(ends)),
        st.sampled_from(["between", "outside"]),
        st.tuples(numbers, numbers),
    ),
)
durations = st.integers(0, 10**11)
thresholds = st.one_of(
    st.builds(lambda n: ThresholdSpec(value=Decimal(n), is_percent=False), st.integers(1, 10**9 - 1)),
    st.builds(lambda n: ThresholdSpec(value=(Decimal(n) / 10**6).normalize(), is_percent=True), st.integers(1, 10**8)),
)


def read_back(state: State, text: str) -> tuple[list[str], list[str]]:
    """Findings, and what would not stay the same."""
    findings = Findings()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "c.yaml"
        file.write_text(text, encoding="utf-8", newline="")
        drafts = read_files([str(file)], Reader(findings, {}), RULES)
    plan = Planner(state, findings, lambda: KEYS, lambda: "new", prune=True, now_ms=0).plan(drafts)
    return [str(finding) for finding in findings.all], [step.verb for step in plan.steps if step.verb != "unchanged"]


@settings(max_examples=150, deadline=None)
@given(names, st.tuples(words, words, words, words), conditions, st.none() | conditions, durations)
@example("25%", ("- a\n", "a: b", "x\n\n", " \u2028\x85\ufeff"), Condition(">", 1e22), None, 5_400_001)
@example("null", ("line\n  indented\nlast  \n\n", "#", "\tp", "~"), Condition("==", -0.0), None, 1)
@example("0", ("0", "0", "0\x85", "0"), Condition(">", 0.0), None, 0)  # a key that only quotes can hold
@example("<<", ("\n\n a", "\r\nm", "a\rb", "😀"), Condition("<", 5e-324), None, 1)
def test_an_export_applied_again_changes_nothing(
    name: str, texts: tuple[str, str, str, str], trigger: Condition, clear: Condition | None, holds: int
) -> None:
    description, metric, pattern, tag = texts
    sensor = Sensor.model_validate(
        {"id": "s", "name": name, "description": description, "metric": metric, "trigger": trigger, "clear": clear}
        | {"for": holds}
    )
    assume(not check_sensor(sensor))
    group = Group(id="g", name=name, systems=(pattern, metric), tags={pattern: tag})
    state = compose(State(), [Put(sensor), Put(group)], 1, 0).state
    findings, changed = read_back(state, dump_yaml(export_state(state)))
    assert (findings, changed) == ([], [])


@settings(max_examples=150, deadline=None)
@given(sensors(), st.lists(sensors(), max_size=2), st.data())
def test_every_option_of_a_sensor_survives(sensor: Sensor, others: list[Sensor], data: st.DataObject) -> None:
    overrides = []
    for number, other in enumerate(others):
        options = data.draw(st.sets(st.sampled_from(["for", "keep", "hold", "aggregate", "no_data", "flapping"])))
        given_options = {name: getattr(other, name.replace("for", "for_")) for name in options}
        levels = {"levels": sensor.levels} if sensor.levels else {"trigger": Condition(">", float(number))}
        overrides.append(OverrideSpec.model_validate({"systems": (f"DB-{number}*",), **given_options, **levels}))
    sensor = sensor.model_copy(update={"overrides": tuple(overrides)})
    assume(not check_sensor(sensor))
    state = compose(State(), [Put(sensor)], 1, 0).state
    findings, changed = read_back(state, dump_yaml(export_state(state)))
    assert (findings, changed) == ([], [])
    assert Sensor.decode(sensor.encode()) == sensor


@settings(max_examples=100, deadline=None)
@given(names, thresholds, st.none() | words, durations.filter(bool), st.tuples(words, words, words))
def test_notifications_and_webhooks_survive_too(
    name: str, threshold: ThresholdSpec, instance: str | None, within: int, texts: tuple[str, str, str]
) -> None:
    value, secret, template = texts
    sensor = Sensor.model_validate({"id": "s", "name": name, "metric": "m", "trigger": "> 1"})
    body = "".join(letter for letter in template if letter.isprintable() or letter == "\n").translate(
        dict.fromkeys(map(ord, "{}%#@"))
    )
    plain = "".join(letter for letter in value if letter.isprintable()).strip() or "x"
    webhook = Webhook.model_validate(
        {
            "url": "https://example.com/a?b=c&d=%20",
            "authentication": SignedSecret(secret=KEYS.encrypt(secret, "r", "webhook.authentication.secret")),
            "headers": [
                {"name": "X-A", "value": plain},
                {"name": "X-B", "secret": KEYS.encrypt(secret, "r", "webhook.headers.x-b")},
            ],
            "body": body if body.strip() else "x",
            "content_type": "text/plain",
            "permanent": (400, 404),
        }
    )
    mail = MailTemplates(subject="@{notificationName}", text=body if body.strip() else None)
    told = Recipient(id="t", name=name + "t", type="system", email="on-call@example.com", mail=mail, enabled=False)
    recipient = Recipient(
        id="r",
        name=name,
        type="system",
        webhook=webhook,
        retry=(5_000, 30_000),
        rate="100/m",
        ordered="activation",
        expire_after=86_400_000,
        on_failing_id="t",
        paused=True,
    )
    notification = Notification(
        id="n",
        name=name,
        sensors=(SensorUse(sensor_id="s", instance=instance),),
        threshold=threshold,
        recipient_ids=("r",),
        reporting_within=within,
        notify_on=("resolved",),
    )
    state = compose(State(), [Put(sensor), Put(told), Put(recipient), Put(notification)], 1, 0).state
    findings, changed = read_back(state, dump_yaml(export_state(state)))
    assert (findings, changed) == ([], [])


weeks = st.builds(lambda *days: Week(days), *[st.integers(0, WHOLE_DAY)] * 7)
matchers = st.builds(
    lambda field, sign, pattern: parse_matcher(f"{field}{sign}{pattern}"),
    st.sampled_from(FIELDS),
    st.sampled_from(("=", "!=")),
    names,
)
times = st.integers(1, MAX_EPOCH_MS - 1)


@settings(max_examples=100, deadline=None)
@given(
    names,
    weeks,
    st.lists(matchers, min_size=1, max_size=4),
    st.tuples(times, times).filter(lambda pair: pair[0] != pair[1]),
    st.sampled_from([None, "12x5", "never", "w"]),
    st.tuples(durations, durations.map(lambda ms: ms and ms + 1_000), durations),
)
def test_schedules_silences_and_what_has_to_do_with_time_survive(
    name: str,
    week: Week,
    found: list[Matcher],
    ends: tuple[int, int],
    schedule: str | None,
    options: tuple[int, int, int],
) -> None:
    for_, remind_every, cooldown = options
    sensor = Sensor.model_validate({"id": "s", "name": name, "metric": "m", "trigger": "> 1"})
    recipient = Recipient(id="r", name=name, type="distribution-list", email="a@example.com")
    notification = Notification(
        id="n",
        name=name,
        sensors=(SensorUse(sensor_id="s"),),
        threshold=ThresholdSpec(value=Decimal(1), is_percent=False),
        recipient_ids=("r",),
        for_=for_,
        remind_every=remind_every,
        cooldown=cooldown,
        schedule_id=schedule,
        forget_after=10**12 + for_,
    )
    silence = Silence(
        id="q", name=name, matchers=tuple(found), starts_at=min(ends), until=max(ends), comment=name, created_by="x"
    )
    records: list[Record] = [sensor, recipient, notification, silence]
    if check_name(name).casefold() not in PRESETS:
        records.append(Schedule(id="w", name=name, time_zone="Europe/Berlin", slots=week))
    elif schedule == "w":
        return
    state = compose(State(), [Put(record) for record in records], 1, 0).state
    findings, changed = read_back(state, dump_yaml(export_state(state)))
    assert (findings, changed) == ([], [])


@settings(max_examples=300, deadline=2_000)
@given(st.text(st.sampled_from(" \n:-[]{}&*!|>'\"%@#?,ab0~<="), max_size=60))
def test_no_text_makes_the_reader_fail_in_any_other_way_than_by_a_finding(text: str) -> None:
    findings = Findings()
    parse_yaml(text, "x.yaml", findings)
    assert all(finding.place.file == "x.yaml" for finding in findings.all)
