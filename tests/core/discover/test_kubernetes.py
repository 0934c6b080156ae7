from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rigs.cluster import Cluster, Object, endpoint, slice_of

from modgate.api.authenticator import Document
from modgate.api.discover import (
    Away,
    Found,
    Get,
    Instance,
    Line,
    Lost,
    More,
    Pause,
    Read,
    Told,
    Watch,
)
from modgate.discover.kubernetes import RECONCILE_S, Kubernetes, KubernetesConfig
from modgate.discover.reach import Reach
from modgate.discover.slices import Slices

BUSY = settings(
    derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=150
)


def instances(*slices: Object, port: str | int | None = None) -> list[Instance]:
    store = Slices(reach=Reach(), port=port)
    for each in slices:
        store.put(each)
    return store.instances()


class Talk:
    """A discoverer over a cluster without a network; time stands still but for its pauses."""

    def __init__(self, cluster: Cluster, **config: object) -> None:
        self.cluster = cluster
        self.found: Sequence[Instance] = ()
        self.lost: list[str] = []
        self.pauses: list[float] = []
        self.lists = self.clock_s = 0.0
        self.fail = ""  # what breaks now: get, watch, more
        made = KubernetesConfig.model_validate(
            {"service": "vllm", "namespace": "ml", "port": "http", **config}
        )
        self.finding = Kubernetes(made).discover(lambda: self.clock_s, random.Random(1).random)
        self.want = next(self.finding)
        self._lines: Iterator[bytes] = iter(())
        self._version = 0

    def step(self) -> bool:
        """One answer; False when it waits for a watch that has nothing to tell."""
        try:
            told, waits = self._told()
        except Away as error:
            self.want = self.finding.throw(error)
            return True
        if waits:
            return False
        self.want = self.finding.send(told)
        return True

    def settle(self) -> None:
        """Until it waits for news."""
        for _ in range(10_000):
            if not self.step():
                return
        raise AssertionError("it never comes to rest")

    def _told(self) -> tuple[Told, bool]:
        want = self.want
        if isinstance(want, Found):
            self.found = want.instances
        elif isinstance(want, Lost):
            self.lost.append(want.reason)
        elif isinstance(want, Pause):
            self.pauses.append(want.for_s)
            self.clock_s += want.for_s
        elif isinstance(want, Read):
            return Document(status=200, body=b"ml\n"), False
        elif isinstance(want, Watch):
            self._broken("watch")
            self._version = int(self._query(want)["resourceVersion"])
            return Line(), False
        elif isinstance(want, Get):
            self._broken("get")
            self.lists += 1
            status, body = self.cluster.list(self._query(want))
            return Document(status=status, body=json.dumps(body).encode()), False
        else:
            assert isinstance(want, More)
            self._broken("more")
            return self._next()
        return None, False

    def _next(self) -> tuple[Told, bool]:
        for event in self.cluster.since(self._version):
            self._version = (
                int(event["object"]["metadata"]["resourceVersion"])
                if (event["type"] != "ERROR")
                else self._version
            )
            return Line(data=json.dumps(event).encode()), False
        return None, True

    def end(self) -> None:
        """The watch that it waits for ends in order."""
        assert isinstance(self.want, More)
        self.want = self.finding.send(None)

    def _broken(self, what: str) -> None:
        if self.fail == what:
            self.fail = ""
            raise Away("it broke")

    @staticmethod
    def _query(want: Get) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(want.url).query))


def oracle(cluster: Cluster) -> list[Instance]:
    """What the list says."""
    return instances(*cluster.slices.values(), port="http")


def test_an_endpoint_is_routable_when_it_is_ready_or_says_nothing() -> None:
    found = instances(
        slice_of(
            "s",
            endpoint("10.0.0.1"),
            endpoint("10.0.0.2", ready=True, serving=True, terminating=False),
            endpoint("10.0.0.3", ready=False, serving=False),
            endpoint("10.0.0.4", ready=False),
        )
    )

    assert [each.url for each in found] == ["http://10.0.0.1:8000", "http://10.0.0.2:8000"]
    assert not any(each.draining for each in found)


def test_one_that_terminates_drains_while_it_serves_and_is_gone_when_it_does_not() -> None:
    found = instances(
        slice_of(
            "s",
            endpoint("10.0.0.1", uid="a", ready=False, serving=True, terminating=True),
            endpoint("10.0.0.2", uid="b", ready=False, serving=False, terminating=True),
        )
    )

    assert [(each.uid, each.draining) for each in found] == [("a", True)]


def test_one_that_stands_in_two_slices_is_one_engine_whatever_came_first() -> None:
    old = slice_of("s1", endpoint("10.0.0.1", uid="a", ready=False, serving=True, terminating=True))
    new = slice_of("s2", endpoint("10.0.0.1", uid="a", ready=True))
    six = {**slice_of("s0", endpoint("fd00::1", uid="a", ready=True)), "addressType": "IPv6"}

    assert instances(old, new, six) == instances(six, new, old)
    [found] = instances(old, new, six)
    assert not found.draining
    assert found.url == "http://10.0.0.1:8000"


def test_a_port_is_found_by_name_or_number_and_a_slice_without_it_has_no_engine() -> None:
    both = slice_of("s", endpoint("10.0.0.1"))
    both["ports"] = [
        {"name": "metrics", "port": 9000, "protocol": "TCP"},
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "http", "port": 8000},
    ]

    assert [each.url for each in instances(both, port="http")] == ["http://10.0.0.1:8000"]
    assert [each.url for each in instances(both, port=7000)] == ["http://10.0.0.1:7000"]
    assert [each.url for each in instances(both)] == ["http://10.0.0.1:9000"]
    assert instances(both, port="grpc") == []
    assert instances(both, port="dns") == []


@pytest.mark.parametrize("junk", [None, 1, "x", [], {}, {"endpoints": [3, {}], "ports": [{}, 1]}])
def test_what_is_no_slice_breaks_nothing(junk: object) -> None:
    good = slice_of("s", endpoint("10.0.0.1"))
    odd = {**slice_of("t", endpoint("10.0.0.2")), "endpoints": junk, "ports": junk}

    assert [each.url for each in instances(good, odd)] == ["http://10.0.0.1:8000"]


def test_it_follows_what_happens() -> None:
    cluster = Cluster()
    cluster.put(slice_of("s", endpoint("10.0.0.1", uid="a")))
    talk = Talk(cluster)
    talk.settle()
    first = [each.uid for each in talk.found]
    cluster.put(slice_of("s", endpoint("10.0.0.1", uid="a"), endpoint("10.0.0.2", uid="b")))
    talk.settle()
    second = [each.uid for each in talk.found]
    cluster.delete("s")
    talk.settle()

    assert (first, second, talk.found) == (["a"], ["a", "b"], [])
    assert talk.lists == 1
    assert talk.lost == []


@pytest.mark.parametrize(("expires", "lists"), [(False, 3), (True, 5)])
def test_a_list_comes_in_pages_and_is_begun_anew_where_it_expires_between_them(
    expires: bool, lists: int
) -> None:
    cluster = Cluster()
    for number in range(1203):
        cluster.put(slice_of(f"s{number:04}", endpoint(f"10.0.{number // 250}.{number % 250}")))
    talk = Talk(cluster)
    while talk.lists < 1:
        talk.step()
    if expires:
        cluster.delete("s1202")
        cluster.compact()
    talk.settle()

    assert (len(talk.found), talk.lists, talk.lost) == (1203 - expires, lists, [])


def test_a_410_lists_anew_and_a_burst_of_them_makes_no_storm() -> None:
    cluster = Cluster()
    cluster.put(slice_of("s", endpoint("10.0.0.1", uid="a")))
    talk = Talk(cluster)
    talk.settle()
    cluster.put(slice_of("s", endpoint("10.0.0.2", uid="b")))
    cluster.compact()
    talk.settle()
    after_one, paused = [each.uid for each in talk.found], sum(talk.pauses)
    for _ in range(10):
        cluster.version += 1
        cluster.compact()
        talk.settle()

    assert after_one == ["b"]
    assert paused <= 1.0  # the first relist is at once, or nearly
    assert talk.lists <= 12
    assert sum(talk.pauses) > 60  # those that follow come less and less often


def test_what_went_while_it_could_not_be_told_is_gone_after_the_next_list() -> None:
    cluster = Cluster()
    cluster.put(slice_of("s1", endpoint("10.0.0.1", uid="a")))
    cluster.put(slice_of("s2", endpoint("10.0.0.2", uid="b")))
    talk = Talk(cluster)
    talk.settle()
    cluster.delete("s1")
    cluster.compact()
    talk.settle()

    assert [each.uid for each in talk.found] == ["b"]


def test_a_quiet_watch_goes_on_from_its_bookmark() -> None:
    cluster = Cluster()
    talk = Talk(cluster)
    talk.settle()
    cluster.version += 50  # of other services
    talk.want = talk.finding.send(Line(data=json.dumps(cluster.bookmark()).encode()))
    talk._version = cluster.version
    cluster.compact()
    talk.clock_s += 240
    talk.end()
    talk.settle()

    assert talk.lists == 1


def test_it_lists_again_now_and_then_although_nothing_is_wrong() -> None:
    cluster = Cluster()
    talk = Talk(cluster)
    talk.settle()
    for _ in range(6):
        talk.clock_s += RECONCILE_S / 3
        talk.end()
        talk.settle()

    assert talk.lists in (2, 3)
    assert talk.lost == []


def test_while_the_api_server_is_away_the_set_stays_and_is_told_to_be_old() -> None:
    cluster = Cluster()
    cluster.put(slice_of("s", endpoint("10.0.0.1", uid="a")))
    talk = Talk(cluster)
    talk.settle()
    talk.end()
    for _ in range(20):
        talk.fail = "watch"
        while not isinstance(talk.want, Watch):
            talk.step()
        talk.step()
    kept = [each.uid for each in talk.found]
    cluster.put(slice_of("s", endpoint("10.0.0.2", uid="b")))
    talk.settle()

    assert kept == ["a"]
    assert len(talk.lost) >= 19
    assert max(talk.pauses) <= 30
    assert [each.uid for each in talk.found] == ["b"]


def test_without_a_namespace_it_is_that_of_the_gateways_pod() -> None:
    talk = Talk(Cluster(), namespace="")
    assert isinstance(talk.want, Read)
    talk.step()

    assert isinstance(talk.want, Get)
    assert "/namespaces/ml/endpointslices?" in talk.want.url
    assert talk.want.token == Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


addresses = st.integers(1, 6).map(lambda number: f"10.0.0.{number}")
conditions = st.sampled_from([None, True, False])
endpoints = st.builds(
    lambda address, uid, ready, serving, terminating: endpoint(
        address, uid=uid, ready=ready, serving=serving, terminating=terminating
    ),
    addresses,
    st.sampled_from(["", "pod-1", "pod-2", "pod-3", "pod-4"]),
    conditions,
    conditions,
    conditions,
)
slices = st.builds(
    lambda name, ends, port: slice_of(name, *ends, port=port),
    st.sampled_from(["s1", "s2", "s3"]),
    st.lists(endpoints, max_size=4),
    st.sampled_from([8000, 8001]),
)
moves = st.one_of(
    st.tuples(st.just("put"), slices),
    st.tuples(st.just("delete"), st.sampled_from(["s1", "s2", "s3"])),
    st.tuples(st.just("compact"), st.none()),
    st.tuples(st.just("fail"), st.sampled_from(["get", "watch", "more"])),
    st.tuples(st.just("end"), st.none()),
    st.tuples(st.just("bookmark"), st.none()),
    st.tuples(st.just("junk"), st.sampled_from([b"{", b"[]", b'{"type":"ADDED"}', b"null"])),
    st.tuples(st.just("steps"), st.integers(1, 5)),
    st.tuples(st.just("steps"), st.just(200)),
)


@pytest.mark.slow
@BUSY
@given(st.lists(moves, max_size=40))
def test_whatever_happens_the_set_is_that_of_the_list_in_the_end(
    script: list[tuple[str, object]],
) -> None:
    cluster = Cluster()
    talk = Talk(cluster)
    for move, what in script:
        _happens(talk, move, what)
    talk.fail = ""
    talk.settle()
    cluster.put(slice_of("s3", endpoint("10.0.0.9", uid="last")))
    talk.settle()

    assert list(talk.found) == oracle(cluster)


def _happens(talk: Talk, move: str, what: object) -> None:
    if isinstance(what, dict):
        talk.cluster.put(what)
    elif move == "delete":
        talk.cluster.delete(str(what))
    elif move == "compact":
        talk.cluster.compact()
    elif move == "fail":
        talk.fail = str(what)
    elif isinstance(what, int):
        for _ in range(what):
            talk.step()
    elif isinstance(talk.want, More):
        _news(talk, move, what)


def _news(talk: Talk, move: str, what: object) -> None:
    """What an open watch may tell besides what happened."""
    if move == "end":
        talk.clock_s += 240
        talk.end()
    elif move == "bookmark" and talk._version == talk.cluster.version:
        data = json.dumps(talk.cluster.bookmark()).encode()
        talk.want = talk.finding.send(Line(data=data))
    elif isinstance(what, bytes):
        talk.want = talk.finding.send(Line(data=what))
