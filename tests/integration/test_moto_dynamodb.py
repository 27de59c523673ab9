"""The repaired DynamoDB of the twin: as stock moto on random work, as AWS where stock moto is wrong, flat in size."""

import os
import pickle
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError, ParamValidationError
from moto import mock_aws

from infra.twin import moto_fixes

SURROUNDINGS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
}
WORDS = ("a", "b", "bb", "c", "ca", "d")


session = cache(botocore.session.get_session)


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in SURROUNDINGS.items():
        monkeypatch.setenv(name, value)
    yield
    moto_fixes.undo()


@contextmanager
def aws(repaired: bool = True) -> Iterator[Any]:
    """A DynamoDB client on fresh moto with the table ``tab`` (pk, sk; index ``by_g`` on g, n; all images streamed)."""
    (moto_fixes.apply if repaired else moto_fixes.undo)()
    with mock_aws():
        db = client("dynamodb")
        db.create_table(
            TableName="tab",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": kind}
                for name, kind in (("pk", "S"), ("sk", "S"), ("g", "S"), ("n", "N"))
            ],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "by_g",
                    "KeySchema": [
                        {"AttributeName": "g", "KeyType": "HASH"},
                        {"AttributeName": "n", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        yield db


@pytest.fixture
def db() -> Iterator[Any]:
    with aws() as made:
        yield made


def client(service: str) -> Any:
    return session().create_client(service, region_name="eu-west-1")


def key(pk: str, sk: str = "s") -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def item(pk: str, sk: str = "s", **numbers: int) -> dict[str, Any]:
    return {**key(pk, sk), **{name: {"N": str(number)} for name, number in numbers.items()}}


def put(db: Any, wire: dict[str, Any], **more: Any) -> None:
    db.put_item(TableName="tab", Item=wire, **more)


def get(db: Any, pk: str, sk: str = "s") -> dict[str, Any] | None:
    return db.get_item(TableName="tab", Key=key(pk, sk)).get("Item")


def stream(db: Any) -> list[dict[str, Any]]:
    streams = client("dynamodbstreams")
    arn = streams.list_streams(TableName="tab")["Streams"][0]["StreamArn"]
    shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    start = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    return streams.get_records(ShardIterator=start["ShardIterator"])["Records"]


def error(code: str) -> Any:
    return pytest.raises(ClientError, match=code)


# ── as stock moto on random work ─────────────────────────────────────────────────────────────────────────────────────


def random_value(draw: random.Random, depth: int = 0) -> dict[str, Any]:
    kinds = ["S", "N", "B", "BOOL", "NULL", "SS", "NS"] + (["L", "M"] if depth < 2 else [])
    kind = draw.choice(kinds)
    some = draw.sample(WORDS, draw.randint(1, 3))
    return {
        "S": lambda: {"S": draw.choice(("", "x", "Nguyễn 🎈"))},
        "N": lambda: {"N": draw.choice(("0", "-3", "12", "1.5", "-0.25"))},
        "B": lambda: {"B": draw.choice((b"", b"\x00\xff", b"abc"))},
        "BOOL": lambda: {"BOOL": draw.random() < 0.5},
        "NULL": lambda: {"NULL": True},
        "SS": lambda: {"SS": some},
        "NS": lambda: {"NS": [str(len(word) * 10 + position) for position, word in enumerate(some)]},
        "L": lambda: {"L": [random_value(draw, depth + 1) for _ in some]},
        "M": lambda: {"M": {word: random_value(draw, depth + 1) for word in some}},
    }[kind]()


def random_item(draw: random.Random) -> dict[str, Any]:
    wire = {**key(draw.choice(WORDS), draw.choice(WORDS)), "v": {"N": str(draw.randint(0, 3))}}
    if draw.random() < 0.6:
        wire |= {"g": {"S": draw.choice(WORDS[:2])}, "n": {"N": str(draw.randint(-5, 50))}}
    return wire | {name: random_value(draw) for name in draw.sample(("t", "u", "w"), draw.randint(0, 3))}


def random_condition(draw: random.Random) -> dict[str, Any]:
    choice = draw.choice(
        (
            ({}, "", {}),
            ({}, "attribute_not_exists(pk)", {}),
            ({}, "attribute_exists(t) OR NOT begins_with(sk, :s)", {":s": {"S": "b"}}),
            ({"#v": "v"}, "#v = :v", {":v": {"N": str(draw.randint(0, 3))}}),
            (
                {"#v": "v"},
                "#v BETWEEN :a AND :b AND v IN (:b, :c)",
                {f":{n}": {"N": str(i)} for i, n in enumerate("abc")},
            ),
            ({}, "attribute_exists(sk) AND size(sk) > :n AND contains(sk, :s)", {":n": {"N": "1"}, ":s": {"S": "b"}}),
        )
    )
    names, expression, values = choice
    wire: dict[str, Any] = {"ConditionExpression": expression} if expression else {}
    if expression and draw.random() < 0.5:
        wire["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    return (
        wire
        | ({"ExpressionAttributeNames": names} if names else {})
        | ({"ExpressionAttributeValues": values} if values else {})
    )


def random_update(draw: random.Random) -> dict[str, Any]:
    expression, values = draw.choice(
        (
            ("SET t = :x, u = if_not_exists(u, :y)", {":x": random_value(draw), ":y": {"S": "first"}}),
            ("ADD c :one", {":one": {"N": "1"}}),
            ("REMOVE t, w SET v = :z", {":z": {"N": "2"}}),
            ("ADD tags :tags", {":tags": {"SS": draw.sample(WORDS, 2)}}),
        )
    )
    return {"UpdateExpression": expression, "ExpressionAttributeValues": values, "ReturnValues": "ALL_NEW"}


def random_call(draw: random.Random) -> tuple[str, dict[str, Any]]:
    table = {"TableName": "tab"}
    place = key(draw.choice(WORDS), draw.choice(WORDS))
    call = draw.choice(
        (
            "put_item",
            "put_item",
            "update_item",
            "delete_item",
            "get_item",
            "batch_get_item",
            "batch_write_item",
            "transact",
        )
    )
    if call == "put_item":
        return call, {**table, "Item": random_item(draw), "ReturnValues": "ALL_OLD", **random_condition(draw)}
    if call == "update_item":
        return call, {**table, "Key": place, **random_update(draw)}
    if call == "delete_item":
        return call, {**table, "Key": place, "ReturnValues": "ALL_OLD", **random_condition(draw)}
    if call == "get_item":
        return call, {**table, "Key": place, **draw.choice(({}, {"ProjectionExpression": "sk, t, u"}))}
    places = [key(pk, sk) for pk, sk in draw.sample([(a, b) for a in WORDS for b in WORDS], draw.randint(1, 8))]
    if call == "batch_get_item":
        return call, {"RequestItems": {"tab": {"Keys": places}}}
    if call == "batch_write_item":
        requests = [
            {"DeleteRequest": {"Key": at}} if draw.random() < 0.3 else {"PutRequest": {"Item": random_item(draw) | at}}
            for at in places
        ]
        return call, {"RequestItems": {"tab": requests}}
    writes: list[dict[str, Any]] = []
    for at in places[:4]:
        kind = draw.choice(("Put", "Put", "Delete", "Update", "ConditionCheck"))
        body: dict[str, Any] = {**table, **random_condition(draw)}
        if kind == "Update":
            body = {**table, "UpdateExpression": "ADD c :one", "ExpressionAttributeValues": {":one": {"N": "1"}}}
        if kind == "ConditionCheck" and "ConditionExpression" not in body:
            body["ConditionExpression"] = "attribute_exists(pk)"
        writes.append({kind: {**body, **({"Item": random_item(draw) | at} if kind == "Put" else {"Key": at})}})
    return "transact_write_items", {"TransactItems": writes}


def comparable(thing: Any) -> Any:
    """Answers without what may differ: order of sets and spelling of numbers."""
    if isinstance(thing, dict):
        if set(thing) <= {"SS", "NS", "BS"} and thing:
            ((kind, members),) = thing.items()
            return kind, frozenset(Decimal(m) if kind == "NS" else m for m in members)
        if set(thing) == {"N"}:
            return Decimal(thing["N"])
        hidden = {"ResponseMetadata", "ConsumedCapacity", "ItemCollectionMetrics"}
        return {name: comparable(entry) for name, entry in thing.items() if name not in hidden}
    return [comparable(entry) for entry in thing] if isinstance(thing, list) else thing


def answer(db: Any, call: str, request: dict[str, Any]) -> Any:
    try:
        return comparable(getattr(db, call)(**request))
    except ClientError as failed:
        told: Any = failed.response
        reasons = [(reason["Code"], comparable(reason.get("Item"))) for reason in told.get("CancellationReasons", [])]
        return told["Error"]["Code"], told["ResponseMetadata"]["HTTPStatusCode"], comparable(told.get("Item")), reasons


def pages(call: Callable[..., Any], **request: Any) -> list[Any]:
    """All items of all pages."""
    found: list[Any] = []
    while True:
        page = call(**request)
        found += page["Items"]
        if "LastEvaluatedKey" not in page:
            return comparable(found)
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def content(db: Any) -> dict[str, Any]:
    """Everything that queries and scans say about the table."""
    said: dict[str, Any] = {}
    for pk in WORDS:
        for condition, sk in (
            ("", None),
            (" AND sk > :s", "b"),
            (" AND begins_with(sk, :s)", "c"),
            (" AND sk <= :s", "bb"),
        ):
            values = {":p": {"S": pk}} | ({":s": {"S": sk}} if sk else {})
            for forward in (True, False):
                said[f"{pk}{condition}{forward}"] = pages(
                    db.query,
                    TableName="tab",
                    KeyConditionExpression="pk = :p" + condition,
                    ExpressionAttributeValues=values,
                    ScanIndexForward=forward,
                    Limit=2,
                )
    for group in WORDS[:2]:
        request = {"KeyConditionExpression": "g = :g AND n BETWEEN :a AND :b", "IndexName": "by_g", "TableName": "tab"}
        values = {":g": {"S": group}, ":a": {"N": "0"}, ":b": {"N": "30"}}
        said[f"group {group}"] = pages(db.query, **request, ExpressionAttributeValues=values, Limit=3)
        filtered = {"FilterExpression": "v <> :v", "ExpressionAttributeValues": values | {":v": {"N": "1"}}}
        said[f"filtered {group}"] = pages(db.query, **request, **filtered)
    for segments in (1, 3):
        found = [
            wire
            for segment in range(segments)
            for wire in pages(db.scan, TableName="tab", Segment=segment, TotalSegments=segments, Limit=4)
        ]
        said[f"scan {segments}"] = sorted(found, key=lambda wire: (wire["pk"]["S"], wire["sk"]["S"]))
    return said


SEEDS = range(6)


def told(seed: int, *, repaired: bool) -> Any:
    """What random work answers and leaves behind."""
    draw = random.Random(seed)
    with aws(repaired) as db:
        calls = (random_call(draw) for _ in range(120))
        return [(call, request, answer(db, call, request)) for call, request in calls], content(db)


@pytest.fixture(scope="module")
def stock() -> Any:
    """What stock moto tells, in a process in which nobody ever repaired it."""
    script = (
        "import pickle, sys; from tests.integration.test_moto_dynamodb import SEEDS, told\n"
        "sys.stdout.buffer.write(pickle.dumps([told(seed, repaired=False) for seed in SEEDS]))"
    )
    root = Path(__file__).parents[2]
    given = {**SURROUNDINGS, "PYTHONPATH": f"{root}:{root / 'functions'}"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, env={**os.environ, **given}, capture_output=True, check=True
    )
    return pickle.loads(done.stdout)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_work_has_the_same_answers_as_on_stock_moto(seed: int, stock: Any) -> None:
    answers, left = told(seed, repaired=True)

    for known, given in zip(stock[seed][0], answers, strict=True):
        assert known == given
    assert stock[seed][1] == left


def test_the_short_way_and_http_give_the_same_answers() -> None:
    from infra.twin import calls

    told: list[Any] = []
    for short in (True, False):
        draw = random.Random(99)
        with aws() as db:
            if not short:
                calls.drop("engine")
            work = [random_call(draw) for _ in range(80)]
            told.append([answer(db, call, request) for call, request in work] + [content(db)])
        moto_fixes.undo()
    assert told[0] == told[1]


# ── as AWS where stock moto is wrong ─────────────────────────────────────────────────────────────────────────────────


def test_a_failed_transaction_leaves_nothing_behind(db: Any) -> None:
    put(db, item("a", v=1))
    writes = [
        {"Put": {"TableName": "tab", "Item": item("new")}},
        {"Delete": {"TableName": "tab", "Key": key("a")}},
        {"ConditionCheck": {"TableName": "tab", "Key": key("b"), "ConditionExpression": "attribute_exists(pk)"}},
    ]
    with pytest.raises(ClientError) as failed:
        db.transact_write_items(TransactItems=writes)
    assert [reason["Code"] for reason in failed.value.response["CancellationReasons"]] == [
        "None",
        "None",
        "ConditionalCheckFailed",
    ]
    assert get(db, "new") is None and get(db, "a") == item("a", v=1)
    assert [record["eventName"] for record in stream(db)] == ["INSERT"]


def test_a_repeated_request_token_acts_once(db: Any) -> None:
    add = {
        "TableName": "tab",
        "Key": key("a"),
        "UpdateExpression": "ADD c :o",
        "ExpressionAttributeValues": {":o": {"N": "1"}},
    }
    for _ in range(2):
        db.transact_write_items(TransactItems=[{"Update": add}], ClientRequestToken="one")
    assert get(db, "a") == item("a", c=1)
    with error("IdempotentParameterMismatchException"):
        db.transact_write_items(
            TransactItems=[{"Put": {"TableName": "tab", "Item": item("b")}}], ClientRequestToken="one"
        )


def test_a_request_token_is_forgotten_after_ten_minutes(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = [{"Put": {"TableName": "tab", "Item": item("a"), "ConditionExpression": "attribute_not_exists(pk)"}}]
    db.transact_write_items(TransactItems=writes, ClientRequestToken="one")
    later = time.monotonic() + 601
    monkeypatch.setattr("infra.twin.moto_fixes.dynamodb.time.monotonic", lambda: later)
    with error("TransactionCanceledException"):
        db.transact_write_items(TransactItems=writes, ClientRequestToken="one")


def test_a_stream_has_one_record_per_change_and_none_for_no_change(db: Any) -> None:
    update = {
        "TableName": "tab",
        "Key": key("a"),
        "UpdateExpression": "SET x = :x",
        "ExpressionAttributeValues": {":x": {"B": b"\x00"}},
    }
    db.update_item(**update)
    db.update_item(**update)
    put(db, item("b"))
    put(db, item("b"))
    put(db, item("b", v=1))
    db.delete_item(TableName="tab", Key=key("b"))
    records = stream(db)
    assert [record["eventName"] for record in records] == ["INSERT", "INSERT", "MODIFY", "REMOVE"]
    assert records[0]["dynamodb"]["NewImage"] == {**key("a"), "x": {"B": b"\x00"}}
    assert records[2]["dynamodb"]["OldImage"] == item("b") and records[2]["dynamodb"]["NewImage"] == item("b", v=1)
    assert records[3]["dynamodb"]["Keys"] == key("b")
    assert records[0]["awsRegion"] == "eu-west-1"


@pytest.mark.parametrize(
    ("sent", "stored"),
    [("1.10", "1.1"), ("-0", "0"), ("1E2", "100"), ("007", "7"), ("12e-2", "0.12"), ("100", "100")],
)
def test_numbers_are_stored_in_canonical_form(db: Any, sent: str, stored: str) -> None:
    put(db, {**key("a"), "x": {"N": sent}})
    assert get(db, "a") == {**key("a"), "x": {"N": stored}}


def nested(depth: int) -> dict[str, Any]:
    return {"L": [nested(depth - 1)]} if depth else {"S": "x"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"N": "1" * 39}, "38 significant digits"),
        ({"N": "1E126"}, "overflow"),
        ({"N": "1E-131"}, "underflow"),
        ({"N": "NaN"}, "numeric value"),
        ({"N": "１"}, "numeric value"),
        ({"SS": ["a", "a"]}, "duplicates"),
        ({"NS": ["1", "1.0"]}, "duplicates"),
        ({"SS": []}, "may not be empty"),
        (nested(33), "Nesting Levels"),
        ({"S": "x" * 409_600}, "maximum allowed size"),
        ({"B": b"x" * 409_600}, "maximum allowed size"),
    ],
    ids=lambda case: str(case)[:24],
)
def test_values_that_aws_refuses_are_refused_on_every_way_in(db: Any, value: dict[str, Any], message: str) -> None:
    bad = {**key("a"), "x": value}
    with error(message):
        put(db, bad)
    with error(message):
        db.batch_write_item(RequestItems={"tab": [{"PutRequest": {"Item": bad}}]})
    with error(message):
        db.transact_write_items(TransactItems=[{"Put": {"TableName": "tab", "Item": bad}}])
    assert get(db, "a") is None


def test_an_item_of_exactly_400_kb_and_32_levels_is_stored(db: Any) -> None:
    names = len("pk" + "a" + "sk" + "s" + "x")
    put(db, {**key("a"), "x": {"S": "x" * (409_600 - names)}})
    put(db, {**key("b"), "x": nested(32)})
    assert get(db, "b") is not None


def test_an_update_cannot_grow_an_item_over_the_limit(db: Any) -> None:
    put(db, {**key("a"), "x": {"S": "x" * 300_000}})
    grow = {"UpdateExpression": "SET y = :y", "ExpressionAttributeValues": {":y": {"S": "y" * 200_000}}}
    with error("Item size to update"):
        db.update_item(TableName="tab", Key=key("a"), **grow)
    with error("TransactionCanceledException.*ValidationError"):
        db.transact_write_items(TransactItems=[{"Update": {"TableName": "tab", "Key": key("a"), **grow}}])


def test_a_transaction_over_4_mb_is_refused(db: Any) -> None:
    writes = [{"Put": {"TableName": "tab", "Item": {**key(str(n)), "x": {"S": "x" * 400_000}}}} for n in range(11)]
    with error("4 MB"):
        db.transact_write_items(TransactItems=writes)
    db.transact_write_items(TransactItems=writes[:10])


@pytest.mark.parametrize(
    ("condition", "holds"),
    [("sk > :n", False), ("v = :t", False), ("v <> :t", True), ("absent < :n", False), ("v < :n", True)],
)
def test_unlike_types_compare_false(db: Any, condition: str, holds: bool) -> None:
    put(db, item("a", v=1))
    values = {name: value for name, value in ((":n", {"N": "5"}), (":t", {"BOOL": True})) if name in condition}
    request = {"TableName": "tab", "FilterExpression": condition, "ExpressionAttributeValues": values}
    assert bool(db.scan(**request)["Items"]) is holds


def test_a_page_of_exactly_limit_items_has_a_last_key(db: Any) -> None:
    for sk in "ab":
        put(db, item("p", sk))
    request = {"TableName": "tab", "KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "p"}}}
    page = db.query(**request, Limit=2)
    assert page["LastEvaluatedKey"] == key("p", "b")
    assert db.query(**request, Limit=2, ExclusiveStartKey=page["LastEvaluatedKey"])["Items"] == []
    assert "LastEvaluatedKey" not in db.query(**request, Limit=3)


def test_a_page_ends_before_one_megabyte(db: Any) -> None:
    for sk in "abc":
        put(db, {**key("p", sk), "x": {"S": "x" * 400_000}})
    found = db.scan(TableName="tab")
    assert len(found["Items"]) == 2 and found["LastEvaluatedKey"] == key("p", "b")


def test_an_item_with_a_wrong_type_for_an_index_key_is_refused(db: Any) -> None:
    with error("Type mismatch for Index Key n"):
        put(db, {**key("a"), "g": {"S": "g"}, "n": {"S": "text"}})


def test_a_batch_that_names_a_key_twice_is_refused_as_a_whole(db: Any) -> None:
    requests = [{"PutRequest": {"Item": item("a", v=1)}}, {"DeleteRequest": {"Key": key("a")}}]
    with error("duplicates"):
        db.batch_write_item(RequestItems={"tab": requests})
    assert get(db, "a") is None
    with error("duplicates"):
        db.batch_get_item(RequestItems={"tab": {"Keys": [key("a"), dict(reversed(key("a").items()))]}})


def test_keys_have_a_longest_and_a_shortest_length(db: Any) -> None:
    put(db, item("p" * 2048, "s" * 1024))
    for wrong in (key("p" * 2049), key("p", "s" * 1025), key("đ" * 1025), key(""), key("p", "")):
        with error("ValidationException"):
            put(db, wrong)
        with error("ValidationException"):
            db.transact_write_items(TransactItems=[{"Delete": {"TableName": "tab", "Key": wrong}}])
    with error("ValidationException"):
        db.get_item(TableName="tab", Key={"pk": {"N": "1"}, "sk": {"S": "s"}})
    with error("ValidationException"):
        db.get_item(TableName="tab", Key={"pk": {"S": "p"}})


def test_a_transaction_reads_up_to_100_items(db: Any) -> None:
    reads = [{"Get": {"TableName": "tab", "Key": key(str(n))}} for n in range(100)]
    assert len(db.transact_get_items(TransactItems=reads)["Responses"]) == 100


def test_a_bad_expression_is_a_validation_error_not_a_crash(db: Any) -> None:
    with error("ValidationException"):
        put(db, item("a"), ConditionExpression="nonsense (((")
    with error("ValidationException"):
        put(db, item("a"), ConditionExpression="#v = :v", ExpressionAttributeNames={"#v": "v"})


def test_wrong_parameters_are_refused_as_by_botocore(db: Any) -> None:
    with pytest.raises(ParamValidationError, match="Unknown parameter"):
        put(db, item("a"), ConditionExpresion="x")
    with pytest.raises(ParamValidationError, match="Unknown parameter"):
        db.transact_write_items(TransactItems=[{"Put": {"TableName": "tab", "Item": item("a"), "If": "x"}}])
    with pytest.raises(ParamValidationError, match="Invalid type"):
        put(db, {**key("a"), "x": {"N": 1}})
    with error("ResourceNotFoundException"):
        db.get_item(TableName="unknown", Key=key("a"))


def test_what_a_caller_gets_and_gave_is_not_the_stored_item(db: Any) -> None:
    wire = {**key("a"), "l": {"L": [{"S": "x"}]}}
    put(db, wire)
    wire["l"]["L"].append({"S": "later"})
    first = get(db, "a")
    assert first is not None
    first["l"]["L"].clear()
    assert get(db, "a") == {**key("a"), "l": {"L": [{"S": "x"}]}}


@pytest.mark.parametrize("short", [True, False], ids=["direct", "http"])
def test_of_many_conditional_puts_at_once_one_succeeds(db: Any, short: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from infra.twin import calls
    from infra.twin.moto_fixes import expressions

    if not short:
        calls.drop("engine")
    stock, wins = expressions.holds, list[int]()

    def slowly(*args: Any) -> bool:
        held = stock(*args)
        time.sleep(0.01)
        return held

    monkeypatch.setattr(expressions, "holds", slowly)

    def try_once(number: int) -> None:
        try:
            put(db, item("a", v=number), ConditionExpression="attribute_not_exists(pk)")
            wins.append(number)
        except db.exceptions.ConditionalCheckFailedException:
            pass

    threads = [threading.Thread(target=try_once, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1 and get(db, "a") == item("a", v=wins[0])


def test_dump_and_restore_keep_the_items_and_make_no_stream_records(db: Any) -> None:
    from moto.dynamodb.models import dynamodb_backends

    from infra.twin.moto_fixes import dynamodb

    put(db, {**item("a", n=1), "g": {"S": "g"}, "b": {"B": b"\xff"}})
    table = dynamodb_backends["123456789012"]["eu-west-1"].tables["tab"]
    kept = list(dynamodb.dump(table))
    db.delete_item(TableName="tab", Key=key("a"))
    before = len(stream(db))
    dynamodb.restore(table, kept)
    assert get(db, "a") == kept[0] and len(stream(db)) == before
    request = {"IndexName": "by_g", "KeyConditionExpression": "g = :g", "ExpressionAttributeValues": {":g": {"S": "g"}}}
    assert db.query(TableName="tab", **request)["Count"] == 1


def test_a_poller_does_not_fill_the_memory_with_iterators(db: Any) -> None:
    from moto.dynamodbstreams.models import dynamodbstreams_backends

    streams = client("dynamodbstreams")
    arn = streams.list_streams(TableName="tab")["Streams"][0]["StreamArn"]
    shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    place = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="LATEST")["ShardIterator"]
    put(db, item("a"))
    found: list[Any] = []
    for _ in range(1_200):
        page = streams.get_records(ShardIterator=place)
        found, place = found + page["Records"], page["NextShardIterator"]
    assert len(found) == 1
    assert len(dynamodbstreams_backends["123456789012"]["eu-west-1"].shard_iterators) < 1_100


# ── flat in the size of the table ────────────────────────────────────────────────────────────────────────────────────


def cpu(work: Callable[[], Any], times: int = 60) -> float:
    """The CPU time of a piece of work: the best of three rounds, so that a busy machine does not count."""
    rounds: list[float] = []
    for _ in range(3):
        start = time.process_time()
        for _ in range(times):
            work()
        rounds.append(time.process_time() - start)
    return min(rounds)


def test_cost_per_call_does_not_grow_with_the_table() -> None:
    measured: dict[int, dict[str, float]] = {}
    for size in (500, 10_000):
        with aws() as db:
            for first in range(0, size, 25):
                requests = [{"PutRequest": {"Item": item(f"p{n}", n=n)}} for n in range(first, first + 25)]
                db.batch_write_item(RequestItems={"tab": requests})
            writes = [{"Put": {"TableName": "tab", "Item": item(f"p{n}", v=n)}} for n in range(4)]
            query = {
                "TableName": "tab",
                "KeyConditionExpression": "pk = :p",
                "ExpressionAttributeValues": {":p": {"S": "p7"}},
            }
            index = query | {"KeyConditionExpression": "g = :p", "IndexName": "by_g"}
            measured[size] = {
                "put": cpu(lambda db=db: put(db, item("x"), ConditionExpression="attribute_not_exists(nothing)")),
                "transaction": cpu(lambda db=db, writes=writes: db.transact_write_items(TransactItems=writes)),
                "query": cpu(lambda db=db, query=query: db.query(**query)),
                "index": cpu(lambda db=db, index=index: db.query(**index)),
                "delete": cpu(lambda db=db: db.delete_item(TableName="tab", Key=key("x"))),
            }
    for name, small in measured[500].items():
        assert measured[10_000][name] <= 1.5 * small + 0.005, f"{name} grows with the table: {measured}"
