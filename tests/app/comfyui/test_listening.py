"""What a client hears: ComfyUI's messages in ComfyUI's order, and what no client can break."""

import asyncio
import json
import socket
from urllib.parse import urlsplit

import aiohttp
import pytest
from sqlalchemy import text

from app.comfyui import sockets, watcher
from app.jobs.states import JobStatus
from tests.app.comfyui.conftest import graph, picture, serving

pytestmark = pytest.mark.timeout(60)


async def hear(web_socket, *, until, timeout_s=15):
    """Messages up to the one that ``until`` says yes to."""
    heard = []
    async with asyncio.timeout(timeout_s):
        async for message in web_socket:
            heard.append(json.loads(message.data))
            if until(heard[-1]):
                return heard
    raise AssertionError(f"the socket ended after {heard}")


def is_over(message):
    return message["type"] == "executing" and message["data"]["node"] is None


def is_idle_again(message):
    """The second time that nothing waits: the first was said when the socket opened."""
    data = message["data"]
    return "sid" not in data and data["status"]["exec_info"]["queue_remaining"] == 0


def steps(heard):
    """The order of what was said, without what depends on time."""
    named = ("executing", "executed", "progress")
    return [
        (each["type"], each["data"]["node"]) if each["type"] in named else each["type"]
        for each in heard
        if each["type"] not in {"status", "progress_state"}
    ]


WHOLE = [
    *("execution_start", "execution_cached", ("executing", "1"), ("executing", "2")),
    *(("progress", "2"), ("progress", "2"), ("executing", "3"), ("executed", "3")),
    *("execution_success", ("executing", None)),
]


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(watcher, "IDLE_S", 0.1)
    monkeypatch.setattr(watcher, "BUSY_S", 0.05)


def test_a_client_hears_its_prompt_from_start_to_end(served, workers):
    async def listen():
        async with (
            aiohttp.ClientSession(served.url) as client,
            client.ws_connect("/ws?clientId=me") as mine,
            client.ws_connect("/ws?clientId=other") as other,
        ):
            first = json.loads((await mine.receive()).data)
            assert first["data"] == {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "me"}
            prompt_id = served.prompt(graph(served.upload(picture())), client_id="me")
            [job] = workers.jobs()
            heard = await hear(mine, until=lambda each: each["type"] == "status")
            assert heard[-1]["data"] == {"status": {"exec_info": {"queue_remaining": 1}}}
            workers.start(job["id"])
            heard = await hear(mine, until=lambda each: each["type"] == "progress")
            workers.end(job["id"])
            heard += await hear(mine, until=is_over)
            assert prompt_id in served.http.get("/history").json()
            return prompt_id, heard, await hear(other, until=is_idle_again)

    prompt_id, heard, others = asyncio.run(listen())
    assert steps(heard) == WHOLE
    assert {each["data"]["prompt_id"] for each in heard if each["type"] != "status"} == {prompt_id}
    [executed] = [each["data"] for each in heard if each["type"] == "executed"]
    assert executed["output"]["images"][0]["filename"] == "dd_00001_.png"
    assert {each["type"] for each in others} == {"status"}


def test_an_error_and_an_interruption_are_told_and_end_the_prompt(served, workers):
    async def listen():
        async with (
            aiohttp.ClientSession(served.url) as client,
            client.ws_connect("/ws?clientId=me") as mine,
        ):
            heard = []
            for number, outcome in enumerate((JobStatus.FAILED, JobStatus.CANCELED)):
                served.prompt(graph(served.upload(picture(number))), client_id="me")
                job = workers.jobs()[-1]
                error = {"code": "disk_full", "detail": "No room.", "retryable": True}
                workers.end(
                    job["id"],
                    workers.start(job["id"]),
                    outcome=outcome,
                    error=error if outcome is JobStatus.FAILED else None,
                )
                heard.append(steps(await hear(mine, until=is_over)))
            return heard

    failed, interrupted = asyncio.run(listen())
    assert failed[-2:] == ["execution_error", ("executing", None)]
    assert interrupted[-2:] == ["execution_interrupted", ("executing", None)]


def test_who_comes_back_after_a_restart_hears_the_rest(served, workers, settings):
    """The prompt ended while nobody listened and while the port was another process."""
    served.prompt(graph(served.upload(picture())), client_id="me")
    workers.run(workers.jobs()[0]["id"])

    async def listen(url):
        async with aiohttp.ClientSession(url) as client:
            async with client.ws_connect("/ws?clientId=me") as mine:
                heard = await hear(mine, until=is_over)
            await asyncio.sleep(0.5)
            async with client.ws_connect("/ws?clientId=me") as again:
                await again.receive()
                with pytest.raises(TimeoutError):
                    await again.receive(timeout=0.5)
            return heard

    with serving(settings, key=served.key, tenant_id=served.tenant_id) as second:
        heard = asyncio.run(listen(second.url))
    assert steps(heard) == [step for number, step in enumerate(WHOLE) if number != 4]


def test_a_cached_result_is_said_to_be(served, workers, sessions):
    async def listen():
        async with (
            aiohttp.ClientSession(served.url) as client,
            client.ws_connect("/ws?clientId=me") as mine,
        ):
            return await hear(mine, until=is_over)

    served.prompt(graph(served.upload(picture())), client_id="me")
    [job] = workers.jobs()
    workers.run(job["id"])
    with sessions.begin() as session:
        session.execute(text("UPDATE job SET usage = usage || '{\"cached\": true}'"))
    heard = asyncio.run(listen())
    [cached] = [each["data"]["nodes"] for each in heard if each["type"] == "execution_cached"]
    assert cached == ["2"]
    assert ("executing", "2") not in steps(heard)


def test_flags_of_the_first_message_are_answered_and_nonsense_is_not(served):
    async def talk():
        async with (
            aiohttp.ClientSession(served.url) as client,
            client.ws_connect("/ws?clientId=a") as first,
            client.ws_connect("/ws") as second,
        ):
            sid = json.loads((await second.receive()).data)["data"]["sid"]
            await first.receive()
            await first.send_json({"type": "feature_flags", "data": {}})
            answer = json.loads((await first.receive(timeout=5)).data)
            for text in ("{", "[" * 5000, '{"type": 7}', "\ud83d".encode("utf-8", "replace")):
                await second.send_str(text if isinstance(text, str) else text.decode())
            return sid, answer

    sid, answer = asyncio.run(talk())
    assert len(sid) == 32
    assert answer["type"] == "feature_flags"
    assert served.http.get("/prompt").status_code == 200


@pytest.mark.parametrize(
    ("frame", "code"), [("x" * (sockets.FRAME_BYTES_MAX + 1), 1009), (b"\0" * 8, 1003)]
)
def test_a_frame_that_is_too_large_or_binary_ends_its_socket_only(frame, code, served):
    async def send():
        async with (
            aiohttp.ClientSession(served.url) as client,
            client.ws_connect("/ws?clientId=bad") as bad,
            client.ws_connect("/ws?clientId=good") as good,
        ):
            await bad.receive()
            await good.receive()
            await (bad.send_str(frame) if isinstance(frame, str) else bad.send_bytes(frame))
            await bad.receive(timeout=5)
            served.prompt(graph(served.upload(picture())))
            await hear(good, until=lambda each: each["type"] == "status")
            return bad.close_code

    assert asyncio.run(send()) == code


def test_500_idle_sockets_hold_nobody_up(served, workers):
    async def crowd():
        async with aiohttp.ClientSession(
            served.url, connector=aiohttp.TCPConnector(limit=0)
        ) as client:
            idle = [
                await client.ws_connect(f"/ws?clientId={number}", max_msg_size=0)
                for number in range(500)
            ]
            async with client.ws_connect("/ws?clientId=me") as mine:
                served.prompt(graph(served.upload(picture())), client_id="me")
                workers.run(workers.jobs()[0]["id"])
                heard = await hear(mine, until=is_over)
            for each in idle:
                each._response.close()  # gone without a word
            return heard

    assert steps(asyncio.run(crowd()))[-1] == ("executing", None)
    assert served.http.get("/system_stats").status_code == 200


def test_beyond_the_most_a_client_is_told_to_poll(served, monkeypatch):
    monkeypatch.setattr(sockets, "SOCKETS_MAX", 0)
    answer = served.http.get("/ws", headers={"Connection": "Upgrade", "Upgrade": "websocket"})
    assert (answer.status_code, "/history" in answer.text) == (503, True)


def test_who_does_not_read_is_dropped_and_holds_nobody_up(served, workers, monkeypatch):
    monkeypatch.setattr(sockets, "WAITING_MAX", 2)
    address = urlsplit(served.url)
    deaf = socket.create_connection((address.hostname, address.port))
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    deaf.sendall(
        b"GET /ws?clientId=deaf HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    served.prompt(graph(served.upload(picture())), client_id="deaf")
    workers.run(workers.jobs()[0]["id"])

    async def listen():
        async with (
            aiohttp.ClientSession(served.url) as client,
            client.ws_connect("/ws?clientId=me") as mine,
        ):
            return await hear(mine, until=lambda each: each["type"] == "status")

    assert asyncio.run(listen())
    deaf.close()
