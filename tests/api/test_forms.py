"""Putting files in: `POST /upload`, a form as browsers and curl send it."""

import hashlib
import resource
from dataclasses import dataclass, replace
from itertools import pairwise

import httpx
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from drs_service.settings import Settings
from tests.api.schemas import DRS_OBJECTS, assert_refused, assert_valid
from tests.api.test_uploads import UNWANTED, repr_digest
from tests.api.traces import blob_file, blob_files, nothing_stored, rows, staged_files
from tests.support.deadline import until
from tests.support.raw_http import Answer, asked, chunk, connected, request
from tests.support.server import Service, running

MIB = 1024**2
BOUNDARY = b"----boundary"
TYPE = f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}"


@dataclass(frozen=True, slots=True)
class Part:
    content: bytes
    headers: tuple[bytes, ...]


def file(content: bytes, name: bytes = b"a.txt", *headers: bytes) -> Part:
    return Part(content, (b'Content-Disposition: form-data; name="file"; filename="%b"' % name, *headers))


def field(content: bytes) -> Part:
    return Part(content, (b'Content-Disposition: form-data; name="field"',))


def form(*parts: Part, boundary: bytes = BOUNDARY, end: bytes = b"--\r\n") -> bytes:
    written = [b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary, b"\r\n".join(part.headers), part.content) for part in parts]
    return b"".join(written) + b"--" + boundary + end


async def posted(service: Service, body: bytes, kind: str = TYPE) -> Answer:
    return await asked(service, request("POST", "/upload", kind, f"Content-Length: {len(body)}"), body)


def names(answer: Answer) -> list[str]:
    assert answer.status == 201, answer.body
    return [drs_object["name"] for drs_object in answer.json()["objects"]]


async def assert_form_refused(service: Service, body: bytes, kind: str = TYPE, code: str = "form_invalid") -> None:
    async with nothing_stored(service.settings):
        assert_refused(await posted(service, body, kind), 400, code)


async def test_any_number_of_files_in_the_order_of_the_form(client: httpx.AsyncClient, some_bytes: bytes) -> None:
    contents = [b"first", some_bytes, b"", b"last"]
    files = [("file", (f"{n}.txt", content)) for n, content in enumerate(contents)]
    answer = await client.post("/upload", files=files, data={"field": "value"})
    assert answer.status_code == 201
    assert_valid(answer.json(), DRS_OBJECTS)
    objects = answer.json()["objects"]
    assert [drs_object["name"] for drs_object in objects] == ["0.txt", "1.txt", "2.txt", "3.txt"]
    for drs_object, content in zip(objects, contents, strict=True):
        assert (await client.get(f"/data/{drs_object['id']}")).content == content


async def test_fields_may_stand_anywhere_between_the_files(service: Service) -> None:
    body = form(field(b"1"), file(b"a", b"a"), field(b"2"), file(b"b", b"b"), field(b"3"))
    assert names(await posted(service, body)) == ["a", "b"]


async def test_a_form_with_one_file_has_the_location_of_its_object(service: Service) -> None:
    answer = await posted(service, form(file(b"a")))
    [drs_object] = answer.json()["objects"]
    assert answer.headers["location"] == f"https://drs.example.org/ga4gh/drs/v1/objects/{drs_object['id']}"
    assert "location" not in (await posted(service, form(file(b"a"), file(b"b")))).headers


async def test_a_chunked_form_is_as_good_as_one_with_a_length(service: Service) -> None:
    body = form(file(b"a"))
    pieces = [chunk(body[start : start + 7]) for start in range(0, len(body), 7)]
    assert names(
        await asked(service, request("POST", "/upload", TYPE, "Transfer-Encoding: chunked"), *pieces, chunk(b""))
    )


async def test_a_part_may_state_its_digest(service: Service) -> None:
    right, wrong = repr_digest(UNWANTED).encode(), repr_digest(b"other").encode()
    await assert_form_refused(
        service,
        form(file(b"kept by nobody"), file(UNWANTED, b"b", b"Repr-Digest: " + wrong), file(b"c")),
        code="digest_mismatch",
    )
    await assert_form_refused(service, form(file(UNWANTED, b"b", b"Repr-Digest: sha-256=x")), code="digest_malformed")
    assert names(await posted(service, form(file(UNWANTED, b"b", b"repr-digest: " + right)))) == ["b"]


async def test_bytes_that_others_have_stored_outlive_a_form_that_fails(service: Service, some_bytes: bytes) -> None:
    await posted(service, form(file(some_bytes)))
    await assert_form_refused(
        service, form(file(some_bytes), file(b"b", b"b", b"Content-Type: nonsense")), TYPE, "media_type_invalid"
    )
    assert blob_file(service.settings, some_bytes).read_bytes() == some_bytes


async def test_a_file_beyond_the_limit_fails_the_whole_form(settings: Settings) -> None:
    async with running(replace(settings, max_upload_bytes=1000)) as service:
        async with nothing_stored(settings):
            answer = await posted(service, form(file(b"small"), file(b"x" * 1001)))
            assert_refused(answer, 413, "upload_too_large")
        # The limit is one for files: neither the form nor its fields have it.
        assert len(names(await posted(service, form(file(b"x" * 1000), field(b"x" * 5000), file(b"y" * 1000))))) == 2


async def test_the_content_type_of_a_part_is_kept_or_guessed(service: Service) -> None:
    body = form(file(b"a", b"a.json", b"Content-Type: text/x-own; v=1"), file(b"b", b"b.json"))
    objects = (await posted(service, body)).json()["objects"]
    assert [drs_object["mime_type"] for drs_object in objects] == ["text/x-own; v=1", "application/json"]


async def test_names_as_browsers_and_curl_send_them(service: Service, client: httpx.AsyncClient) -> None:
    for sent, portable, kept in (
        (b"plain.txt", "plain.txt", None),
        (b'say \\"hi\\".txt', "say_hi_.txt", "say%20%22hi%22.txt"),
        ("Zürich ☃.txt".encode(), "Zurich_.txt", "Z%C3%BCrich%20%E2%98%83.txt"),
        ("Zürich.txt".encode("latin-1"), "Zurich.txt", "Z%C3%BCrich.txt"),
        (b"C:\\x\\y.txt", "y.txt", None),
        (b"\\\\host\\share\\y.txt", "y.txt", None),
        (b"/etc/passwd", "passwd", None),
        (b"../../x", "x", None),
        (b"a;b=c.txt", "a_b_c.txt", "a%3Bb%3Dc.txt"),
    ):
        [drs_object] = (await posted(service, form(file(b"a", sent)))).json()["objects"]
        assert drs_object["name"] == portable
        disposition = (await client.head(f"/data/{drs_object['id']}")).headers["content-disposition"]
        extended = f"; filename*=UTF-8''{kept}" if kept else ""
        assert disposition == f'attachment; filename="{portable}"{extended}'


async def test_a_name_that_no_file_can_have_fails_the_whole_form(service: Service) -> None:
    for name in (b"..", b".", b"a/", b"a\x01", b"x" * 256):
        await assert_form_refused(service, form(file(UNWANTED), file(b"b", name)), code="name_invalid")


async def test_a_file_field_left_empty_is_no_file(service: Service) -> None:
    empty = file(b"", b"", b"Content-Type: application/octet-stream")
    assert names(await posted(service, form(empty, file(b"a", b"a"), empty))) == ["a"]
    await assert_form_refused(service, form(empty))


async def test_what_is_no_form_of_files_is_refused(service: Service) -> None:
    whole = form(file(UNWANTED))
    kind = "Content-Type: multipart/form-data"
    for body in (form(), form(field(b"only a field")), b"", b"\r\n", b"nonsense", b'{"json": 1}'):
        await assert_form_refused(service, body)
    for wrong in (kind, f"{kind}; boundary=", f'{kind}; boundary=""', f"{kind}; boundary={'b' * 71}", "X: none"):
        await assert_form_refused(service, whole, wrong)
    for wrong in ("application/json", "multipart/mixed; boundary=x", "application/x-www-form-urlencoded", "x"):
        await assert_form_refused(service, b'{"json": 1}', f"Content-Type: {wrong}")


async def test_a_boundary_of_70_characters_is_the_longest(service: Service) -> None:
    boundary = b"b" * 70
    kind = f'Content-Type: Multipart/Form-Data; charset=utf-8; Boundary="{boundary.decode()}"'
    assert names(await posted(service, form(file(b"a", b"a"), boundary=boundary), kind)) == ["a"]


async def test_a_form_that_is_cut_short_anywhere_stores_nothing(service: Service) -> None:
    whole = form(file(UNWANTED), file(b"another that is not wanted"), end=b"--")
    async with nothing_stored(service.settings):
        for length in range(0, len(whole) - 1, 5):
            assert_refused(await posted(service, whole[:length]), 400, "form_invalid")
        assert_refused(await posted(service, whole[:-1]), 400, "form_invalid")


async def test_a_form_that_is_broken_stores_nothing(service: Service) -> None:
    for broken in (
        form(file(UNWANTED), boundary=b"other"),
        form(file(UNWANTED), Part(b"no headers", ())),
        form(file(UNWANTED), Part(b"x", (b"Content-Type: text/plain",))),
        form(file(UNWANTED), Part(b"x", (b'Content-Disposition: attachment; filename="x"',))),
        form(file(UNWANTED), Part(b"x", (b"no colon",))),
        form(file(UNWANTED), Part(b"x", (b": no name",))),
        form(file(UNWANTED), Part(b"x", tuple(b"X-%d: y" % n for n in range(1000)))),
        form(file(UNWANTED), Part(b"x", (b"X: " + b"y" * 100_000,))),
        form(file(UNWANTED), end=b"x"),
        b"preamble\r\n" + form(file(UNWANTED)),
    ):
        await assert_form_refused(service, broken)


async def test_a_request_that_breaks_off_after_the_closing_boundary_was_not_whole(service: Service) -> None:
    body = form(file(UNWANTED))
    async with nothing_stored(service.settings), connected(service) as connection:
        await connection.send(request("POST", "/upload", TYPE, f"Content-Length: {len(body) + 1}") + body)
        await until(lambda: len(staged_files(service.settings)) > 0)
        connection.say_no_more()
        assert b" 201 " not in await connection.rest()


async def test_an_epilogue_is_read_past(service: Service) -> None:
    async with connected(service) as connection:
        body = form(file(b"a", b"a")) + b"epilogue" * 100_000
        await connection.send(request("POST", "/upload", TYPE, f"Content-Length: {len(body)}") + body)
        assert names(await connection.answer()) == ["a"]
        await connection.send(request("GET", "/livez"))
        assert (await connection.answer()).status == 200


async def test_a_form_with_too_many_fields_is_refused_where_the_limit_is_passed(service: Service) -> None:
    limit = service.settings.max_form_files
    body = form(*[field(b"x")] * 10_000)
    async with nothing_stored(service.settings), connected(service) as connection:
        # What follows the limit is never sent, and the answer is there.
        sent = body[: len(form(*[field(b"x")] * (limit + 2)))]
        await connection.send(request("POST", "/upload", TYPE, f"Content-Length: {len(body)}") + sent)
        assert_refused(await connection.answer(), 400, "form_invalid")


async def test_as_many_files_as_the_limit_allows(settings: Settings) -> None:
    limit = 200
    contents = [b"%d" % (n // 2) for n in range(limit)]
    async with running(replace(settings, max_form_files=limit)) as service:
        answer = await posted(service, form(*(file(content, b"%d" % n) for n, content in enumerate(contents))))
    assert names(answer) == [str(n) for n in range(limit)]
    digests = [drs_object["checksums"][0]["checksum"] for drs_object in answer.json()["objects"]]
    assert digests == [hashlib.sha256(content).hexdigest() for content in contents]
    assert await rows(settings) == {"blobs": limit / 2, "replicas": limit / 2, "objects": limit}
    assert len(blob_files(settings)) == limit / 2


async def test_a_huge_field_is_read_past_and_held_nowhere(service: Service) -> None:
    size = 256 * MIB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    head, tail = form(field(b"?"), file(b"a", b"a")).split(b"?")
    async with connected(service) as connection:
        length = len(head) + size + len(tail)
        await connection.send(request("POST", "/upload", TYPE, f"Content-Length: {length}") + head)
        for _ in range(size // MIB):
            await connection.send(b"x" * MIB)
            assert not staged_files(service.settings)
        await connection.send(tail)
        assert names(await connection.answer()) == ["a"]
    # Of the high-water mark, in KiB: this process is the client as well.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


async def test_a_client_that_leaves_midway_leaves_nothing_behind(service: Service, some_bytes: bytes) -> None:
    body = form(file(b"published, and not wanted"), file(some_bytes))
    for leave in ("hang_up", "say_no_more"):
        async with nothing_stored(service.settings), connected(service) as connection:
            head = request("POST", "/upload", TYPE, f"Content-Length: {len(body)}")
            await connection.send(head + body[: len(body) - 5000])
            await until(lambda: len(staged_files(service.settings)) == 2)
            getattr(connection, leave)()
            await until(lambda: not staged_files(service.settings))


async def test_a_client_that_stalls_within_a_form_is_given_up(settings: Settings) -> None:
    async with (
        running(replace(settings, upload_idle_seconds=1)) as service,
        nothing_stored(settings),
        connected(service) as connection,
    ):
        await connection.send(request("POST", "/upload", TYPE, "Content-Length: 1000") + form(file(b"a"))[:-20])
        assert_refused(await connection.answer(), 408, "upload_stalled")


async def test_an_encoded_form_is_refused(service: Service) -> None:
    async with nothing_stored(service.settings):
        body = form(file(UNWANTED))
        head = request("POST", "/upload", TYPE, f"Content-Length: {len(body)}", "Content-Encoding: gzip")
        assert_refused(await asked(service, head, body), 415, "encoding_unsupported")


LIKE_A_BOUNDARY = [
    b"\r", b"\n", b"-", b"\r\n", b"\r\n-", b"\r\n--", b"--" + BOUNDARY, b"\r\n--" + BOUNDARY[:-1], b"\n--" + BOUNDARY,
    b"\r\n--" + BOUNDARY[:-1] + b"\r\n", b"\r\r\n--", b"\r\n\r\n", BOUNDARY + b"--",
]  # fmt: skip
# No sender puts the boundary itself into a part, at the beginning of a line.
CONTENT = (
    st.lists(st.sampled_from(LIKE_A_BOUNDARY) | st.binary(max_size=50), max_size=12)
    .map(b"".join)
    .filter(lambda content: b"\r\n--" + BOUNDARY not in b"\r\n" + content)
)


@hypothesis_settings(max_examples=60, deadline=None)
@given(contents=st.lists(CONTENT, min_size=1, max_size=3), cuts=st.lists(st.integers(0, 2000), max_size=6))
async def test_any_bytes_survive_however_they_are_cut(service: Service, contents: list[bytes], cuts: list[int]) -> None:
    body = form(*map(file, contents), file(b"last"))
    edges = sorted({0, len(body), *(cut % len(body) for cut in cuts)})
    head = request("POST", "/upload", TYPE, f"Content-Length: {len(body)}")
    answer = await asked(service, head, *(body[start:end] for start, end in pairwise(edges)))
    assert answer.status == 201, answer.body
    for drs_object, content in zip(answer.json()["objects"], [*contents, b"last"], strict=True):
        assert drs_object["checksums"][0]["checksum"] == hashlib.sha256(content).hexdigest()
        assert blob_file(service.settings, content).read_bytes() == content


GARBAGE = st.lists(
    st.sampled_from(
        [b"--" + BOUNDARY, b"--", b"\r\n", b":", b";", b"=", b'"', b"Content-Disposition", b"form-data", b"filename"]
    )
    | st.binary(max_size=10),
    max_size=20,
).map(b"".join)


@hypothesis_settings(max_examples=60, deadline=None)
@given(garbage=GARBAGE)
async def test_no_form_makes_the_service_fail(service: Service, garbage: bytes) -> None:
    for body in (
        garbage,
        b"--" + BOUNDARY + b"\r\n" + garbage,
        form(file(b"a", garbage)),
        form(Part(b"a", (garbage,))),
    ):
        answer = await posted(service, body)
        assert answer.status in {201, 400}, answer.body
