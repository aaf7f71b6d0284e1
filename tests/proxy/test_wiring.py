"""A configuration, wired: pools that outlive a reload, and those that do not."""

import ssl
from pathlib import Path

import pytest

from tests.support.certificates import make_certificates
from tests.support.plane import (
    ASKED,
    DONE,
    EVENTS,
    STREAMED,
    Plane,
    ask,
    config,
    one_backend,
    whole_answer,
)
from tests.support.raw_client import post
from tests.support.scripted import (
    LAST_CHUNK,
    ScriptedUpstream,
    chunk,
    chunked_head,
    request,
    stall,
    until_closed,
)

AGAIN = [request, whole_answer()] * 20


def test_a_reload_keeps_connections_of_backends_that_did_not_change(tmp_path: Path) -> None:
    with ScriptedUpstream(AGAIN) as up, Plane(tmp_path, one_backend(up.base_url)) as plane:
        assert ask(plane).status == 200
        pool = plane.data_plane.wiring.pools["a"]
        plane.reconfigure(one_backend(up.base_url, "timeout: {total: 7s}"))
        assert plane.data_plane.wiring.pools["a"] is pool
        assert ask(plane).status == 200
        assert len(up.connections) == 1
        first, second = plane.wait_for_records(2)
        assert first.record.policy != second.record.policy


def test_a_reload_leaves_backends_that_changed(tmp_path: Path) -> None:
    with (
        ScriptedUpstream(AGAIN) as old,
        ScriptedUpstream(AGAIN) as new,
        Plane(tmp_path, one_backend(old.base_url)) as plane,
    ):
        assert ask(plane).status == 200
        plane.reconfigure(one_backend(new.base_url))
        assert old.wait_until_finished().closed_how is not None
        assert ask(plane).status == 200
        assert (len(old.requests), len(new.requests)) == (1, 1)


def test_a_stream_under_way_ends_with_the_configuration_it_began_with(tmp_path: Path) -> None:
    script = [request, chunked_head(), chunk(EVENTS), stall(0.2), chunk(DONE) + LAST_CHUNK]
    with (
        ScriptedUpstream([*script, until_closed]) as old,
        ScriptedUpstream(AGAIN) as new,
        Plane(tmp_path, one_backend(old.base_url)) as plane,
        plane.client() as client,
    ):
        before = plane.data_plane.wiring.policy.digest
        client.send(post(STREAMED))
        answer = client.read_head()
        plane.reconfigure(one_backend(new.base_url, "timeout: {total: 7s}"))
        assert ask(plane).status == 200
        while client.read_chunk(answer):
            pass
        assert answer.is_whole
        assert answer.header("x-pointsman-policy") == before
        assert plane.wait_for_records(2)[1].record.policy == before
        assert old.wait_until_finished().closed_how is not None


def test_a_route_that_went_is_gone_for_the_next_request(tmp_path: Path) -> None:
    routes = "  extra: {candidates: [a]}\n  default: {candidates: [a]}"
    with (
        ScriptedUpstream(AGAIN) as up,
        Plane(tmp_path, config(routes, a=up.base_url)) as plane,
        plane.client() as client,
    ):
        assert client.ask({**ASKED, "model": "extra"}).header("x-pointsman-route") == "extra"
        plane.reconfigure(one_backend(up.base_url))
        assert client.ask({**ASKED, "model": "extra"}).status == 404


def test_a_limit_that_changed_holds_for_the_next_request(tmp_path: Path) -> None:
    with (
        ScriptedUpstream(AGAIN) as up,
        Plane(tmp_path, one_backend(up.base_url)) as plane,
        plane.client() as client,
    ):
        assert client.ask({**ASKED, "user": "u" * 1000}).status == 200
        plane.reconfigure(one_backend(up.base_url, top="limits: {body: 500}"))
        assert client.ask({**ASKED, "user": "u" * 1000}).status == 413


def test_trust_is_the_one_ca_file(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with ScriptedUpstream([request, whole_answer()], tls=certificates.server_context) as up:
        declared = f"adapter: openai, base_url: '{up.base_url}', tls: {{ca: ca.pem}}"
        with Plane(tmp_path, config("  default: {candidates: [a]}", a=declared)) as plane:
            assert ask(plane).status == 200


def test_a_backend_of_an_old_tls_version_is_refused(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        certificates.server_context.maximum_version = ssl.TLSVersion.TLSv1_1
    with ScriptedUpstream([until_closed], tls=certificates.server_context) as up:
        declared = f"adapter: openai, base_url: '{up.base_url}', tls: {{ca: ca.pem}}"
        with Plane(tmp_path, config("  default: {candidates: [a]}", a=declared)) as plane:
            assert ask(plane).status == 502


def test_in_flight_is_read_at_the_moment_of_asking(tmp_path: Path) -> None:
    with (
        ScriptedUpstream([request, until_closed]) as up,
        Plane(tmp_path, one_backend(up.base_url)) as plane,
    ):
        in_flight = plane.data_plane.wiring.in_flight
        assert dict(in_flight) == {"a": 0}
        with plane.client() as client:
            client.send(post(ASKED))
            plane.wait_until(lambda: up.requests)
            assert (in_flight["a"], len(in_flight)) == (1, 1)
        plane.wait_until(lambda: in_flight["a"] == 0)
