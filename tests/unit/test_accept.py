"""Which media type a client would rather have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drs_service.domain.accept import preferred

ZIP, TAR = "application/zip", "application/x-tar"
CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
JAVA = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, ZIP),
        ("", ZIP),
        (" , ,", ZIP),
        ("*/*", ZIP),
        ("application/*", ZIP),
        (ZIP, ZIP),
        (TAR, TAR),
        ("Application/X-TAR", TAR),
        (f"{TAR}, {ZIP}", ZIP),  # of equals, what we would rather send
        (f"{TAR}, */*", ZIP),
        (f"{TAR}, */*;q=0.9", TAR),
        (f"{TAR};q=0.9,{ZIP};q=0.8", TAR),
        (f"{TAR};q=0.8,{ZIP};q=0.81", ZIP),
        (f"{ZIP};q=0, */*", TAR),
        (f"{ZIP};q=0.000, application/*;q=0.001", TAR),
        (f"application/*;q=0, {TAR};q=0.1", TAR),
        (f"*/*;q=0, {TAR};q=0.1", TAR),
        (f"application/*;q=0.5, {ZIP};q=0.4, */*", TAR),
        (f"{TAR} ; charset=binary ; Q=0.5 ; ext=1, {ZIP};q=0.4", TAR),
        (f'{TAR};p=";q=0,";q=1., {ZIP};q=0.4', TAR),
        (f"{TAR};", TAR),
        (f",, nonsense, {TAR},", TAR),
        (f"/, a/, /b, a/b/c, {TAR}", TAR),
        (CHROME, ZIP),
        (JAVA, ZIP),
        ("text/html", None),
        ("nonsense", None),
        ("*", None),
        ("*/*;q=0", None),
        (f"{ZIP};q=0", None),
        (f"{ZIP};q=2, {TAR};q=-1", None),
        (f"{ZIP};q=1.5, {TAR};q=x", None),
        (f"{ZIP};q=nan, {TAR};q=1e0", None),
        ("application/zip2, application/x-tar-gz, application, image/*", None),
    ],
)
def test_the_greatest_weight_of_the_most_specific_range(accept: str | None, chosen: str | None) -> None:
    assert preferred(accept, [ZIP, TAR]) == chosen


@given(st.text(st.sampled_from('a/*;q=.01,"\\ \t\xff'), max_size=60))
def test_whatever_is_sent_is_read(accept: str) -> None:
    assert preferred(accept, [ZIP, TAR]) in {ZIP, TAR, None}


def test_a_long_header_is_read_in_no_time() -> None:
    for repeated in (";q=1", "a/a;", ",", '"', 'a/a;a="\\"', "/*", " ", "a/a;q=0,"):
        preferred(repeated * 100_000, [ZIP, TAR])
